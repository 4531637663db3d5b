// SPDX-License-Identifier: MIT OR Apache-2.0

//! The wish to stop: asked wherever work can pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by everything that runs; cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

/// The run was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped by request")]
pub struct Stopped;

impl Cancel {
    /// A wish that nobody has yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What raises the wish when it is set, for whoever is told of signals.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Raises the wish.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop now.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Err` once the wish was raised, for use with `?`.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_requested() { Err(Stopped) } else { Ok(()) }
    }
}
