// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an update came to.

use flipside_core::Slot;
use flipside_core::state::{Action, HostState};
use flipside_image::Digest;

use super::Error;

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No slots are recognised here, or `track.image` is not set.
    NothingToDo(&'static str),
    /// The running slot holds what the tag names.
    UpToDate {
        /// The running version.
        version: String,
        /// What the tag points to.
        tag: Digest,
    },
    /// The tag names another manifest of what runs, which is noted.
    Adopted {
        /// The version in it.
        version: String,
        /// What the tag points to.
        tag: Digest,
    },
    /// The target holds what the tag names and boots at the next reboot.
    Armed {
        /// The target.
        slot: Slot,
        /// The version in it.
        version: String,
        /// What the tag points to.
        tag: Digest,
        /// Whether an earlier run did it.
        before: bool,
    },
    /// The tag went back to what runs: what was armed does not boot any more.
    Unarmed {
        /// The target.
        slot: Slot,
        /// The version in it.
        version: String,
    },
}

/// The outcome of an action that touches nothing; `None` for one that needs the lock.
///
/// # Errors
/// The refusal.
pub(super) fn without_lock(
    host_state: &HostState,
    tag: &Digest,
    action: &Action,
) -> Result<Option<Outcome>, Error> {
    match action {
        Action::UpToDate => Ok(Some(Outcome::UpToDate {
            version: host_state.running_slot().version().to_owned(),
            tag: *tag,
        })),
        Action::Waiting => Ok(Some(Outcome::Armed {
            slot: host_state.target(),
            version: host_state.target_slot().version().to_owned(),
            tag: *tag,
            before: true,
        })),
        Action::Refuse(refusal) => Err(refusal.clone().into()),
        Action::Adopt | Action::Unarm | Action::Arm | Action::Install => Ok(None),
    }
}
