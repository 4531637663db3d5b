// SPDX-License-Identifier: MIT OR Apache-2.0

//! What must not be written, because it runs (P1).

use super::partition::Identity;

/// Block devices and regions of files.
#[derive(Debug, Clone, Default)]
pub struct Protected(Vec<Identity>);

impl Protected {
    /// Takes `identity` in.
    pub fn add(&mut self, identity: Identity) {
        self.0.push(identity);
    }

    /// Whether `identity` is any of it: writing to that is what P1 forbids.
    pub fn has(&self, identity: &Identity) -> bool {
        self.0.iter().any(|protected| protected.overlaps(identity))
    }
}
