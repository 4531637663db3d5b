// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether an update waits for the trial of what kexec started. A run of `update` or `check` finds
//! that out, and another process reboots for it: a file in `/run` tells that process, and goes with
//! the boot that it is about.

use std::io;

use super::Run;
use flipside_core::host::{Marker, Root};

/// Where it stands that an update waits.
const TRIAL_DUE: Marker = Marker("trial-due");

/// Says to [`is_trial_due`] whether an update waits. Writes nothing where that is said already. A
/// place that cannot be written is no reason to end a run.
pub(super) fn note_trial_due(root: &Root, is_due: bool) {
    if TRIAL_DUE.is_set(root) == is_due {
        return;
    }
    let changed = match is_due {
        true => TRIAL_DUE.set(root),
        false => TRIAL_DUE.clear(root),
    };
    let path = TRIAL_DUE.path(root);
    match changed {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::debug!("cannot change {}: {error}", path.display());
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!("the reboot behind this run goes by an older one: {path}: {error}");
        }
        Ok(()) => {}
    }
}

/// Whether an update of what is followed was put off until what kexec started has had its trial.
pub(super) fn is_trial_due(run: &Run) -> bool {
    run.config.track.image.is_some() && TRIAL_DUE.is_set(&run.root)
}
