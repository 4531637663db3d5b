// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the system's journal is told of a run (P11): what is on offer, and each refusal, once.

use super::retry::is_made_again;
use super::{Error, Run};
use crate::report::Status;
use crate::report::journal::{Entry, Kind};
use crate::report::status::Available;
use flipside_image::code::{Coded as _, sentence};

/// The tag points to something new.
pub(super) fn available(candidate: &Available) {
    let version = candidate.version.as_deref().unwrap_or("unknown");
    let message = format!("{version} ({}) is available", candidate.digest.short());
    Entry::new(Kind::UpdateAvailable, message).version(version).digest(candidate.digest).send();
}

/// A run ended with `error`; `status` tells what it was about.
pub(super) fn refused(run: &Run, error: &Error, status: &Status) {
    let mut entry = Entry::new(Kind::of(error.severity()), sentence(error)).code(error.code());
    if is_made_again(run, error) {
        entry = entry.made_again();
    }
    if let Some(Available { version, digest, .. }) = &status.available {
        entry = entry.digest(*digest);
        if let Some(version) = version {
            entry = entry.version(version);
        }
    }
    entry.send();
}
