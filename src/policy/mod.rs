// SPDX-License-Identifier: MIT OR Apache-2.0

//! May this host update now? Whatever is asked answers with a [`Decision`]; nothing
//! here touches the host.
//!
//! Asked in the order in which the answers become known: signature, version
//! rules, rollout and windows have their place here, before the [`hooks`].

use serde::{Deserialize, Serialize};

pub mod hooks;

/// An answer to the question whether to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Decision {
    /// Go on.
    Allow,
    /// Not now: ask again next time.
    Defer {
        /// The stable code.
        code: &'static str,
        /// One sentence for people, naming who says so.
        reason: String,
    },
    /// Not until something changes.
    Block {
        /// The stable code.
        code: &'static str,
        /// One sentence for people, naming who says so.
        reason: String,
    },
}

impl Decision {
    /// Whether to go on.
    pub fn is_allow(&self) -> bool {
        *self == Self::Allow
    }
}

/// Why an update is made: by the timer or by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiative {
    /// The timer's.
    Automatic,
    /// A person's.
    Manual,
}
