// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the threads of one payload end together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope};

use super::InstallError;
use crate::cancel::{Cancel, Stopped};
use flipside_image::PayloadName;

/// Raised by the first thread that fails, or by the wish to stop; every thread
/// asks between two pieces of work and wherever it waits.
#[derive(Debug)]
pub(super) struct Abort<'a> {
    stop: &'a Cancel,
    raised: AtomicBool,
    error: Mutex<Option<InstallError>>,
}

impl<'a> Abort<'a> {
    pub(super) fn new(stop: &'a Cancel) -> Self {
        Self { stop, raised: AtomicBool::new(false), error: Mutex::new(None) }
    }

    /// Runs `work` in a thread; its error aborts the others.
    pub(super) fn start<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        payload: &PayloadName,
        work: impl FnOnce() -> Result<(), InstallError> + Send + 'scope,
    ) {
        let run = move || {
            // A thread that panics must not leave the others waiting for it.
            let mut guard = RaiseOnDrop { abort: self, armed: true };
            match work() {
                Ok(()) => guard.armed = false,
                Err(error) => self.fail(error),
            }
        };
        if let Err(source) = Builder::new().name("install".to_owned()).spawn_scoped(scope, run) {
            self.fail(InstallError::Thread { payload: payload.clone(), source });
        }
    }

    /// Keeps the first error and aborts everybody. P2: what is said of a medium is kept before what
    /// is said of a source, since that may be forgiven.
    fn fail(&self, error: InstallError) {
        let mut kept = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.is_of_source() && !error.is_of_source()) {
            *kept = Some(error);
        }
        drop(kept);
        self.raised.store(true, Ordering::Release);
    }

    /// Whether to end now.
    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire) || self.stop.is_requested()
    }

    /// `Err` once it is time to end, as a [`crate::blob_source::Sink`] says it.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.is_raised() { Err(Stopped) } else { Ok(()) }
    }

    /// How it ended, after all threads did, with `left` bytes of the payload not done.
    pub(super) fn finish(&self, payload: &PayloadName, left: u64) -> Result<(), InstallError> {
        match self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            // A wish that came when everything was done has nothing to stop.
            _ if left == 0 => Ok(()),
            _ => Err(InstallError::Stopped { payload: payload.clone(), left }),
        }
    }
}

struct RaiseOnDrop<'a> {
    abort: &'a Abort<'a>,
    armed: bool,
}

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.abort.raised.store(true, Ordering::Release);
        }
    }
}
