// SPDX-License-Identifier: MIT OR Apache-2.0

//! The trial that runs has failed: a health check or the deadline says so. P7: its digest is
//! not tried again by itself, from now on.

use std::time::Duration;

use flipside_image::Digest;

use super::deadline::note_no_deadline;
use crate::error::Error;
use crate::lock::Lock;
use crate::opened::{Access, Host};
use crate::slot::Slot;
use crate::state::transition::Held;
use crate::state::{HostState, Transition};

/// A trial that was recorded as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// The slot that runs.
    pub slot: Slot,
    /// What it holds, where that is known.
    pub digest: Option<Digest>,
    /// Its version.
    pub version: String,
    /// The slot that boots next.
    pub back_to: Slot,
}

/// How long another run is waited for. The deadline does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Records on the ESP that what runs, unproven, has failed, because of `reason` (a sentence
/// without its full stop), and sees to it that the other slot boots next. Does not reboot. `None`
/// where no reboot is to follow: this is no trial, there is nothing to go back to, or an earlier
/// boot of it failed already and the host came here again.
///
/// # Errors
/// [`Error`].
pub fn fail_trial(access: &Access, reason: &str) -> Result<Option<FailedRun>, Error> {
    let _lock = Lock::wait(&access.root, PATIENCE, &access.stop)?;
    let Some(host) = Host::open(access)? else { return Ok(None) };
    let host_state = host.host_state()?;
    if !host_state.is_trial_with_a_way_back() {
        return Ok(None);
    }
    host.durable.phase("fail")?;
    // Before the record, by which a later boot of it knows that this was done; and also where the
    // ESP takes no record.
    let leads_back = lead_back(&host, &host_state);
    record(&host, &host_state, reason).and(leads_back)?;
    let (running, target) = (host_state.running, host_state.target());
    if host_state.had_failed() {
        // The firmware cannot boot the other slot, or does not: it would come back for ever.
        let (slot, version) = (running, host_state.running_slot().version());
        tracing::warn!(
            "{version} in slot {slot} had failed before, and was booted again: it stays"
        );
        note_no_deadline(&access.root);
        return Ok(None);
    }
    let slot = host_state.running_slot();
    let (trial, boot_id) = (Held::of(running, slot), &host_state.boot_id);
    host.tell(&Transition::TrialEnds { trial: &trial, reason, boot_id });
    Ok(Some(FailedRun {
        slot: running,
        digest: slot.digest(),
        version: slot.version().to_owned(),
        back_to: target,
    }))
}

/// Whatever the firmware made of the trial: some does not consume `BootNext`, and some moves what it
/// booted to the front.
fn lead_back(host: &Host, host_state: &HostState) -> Result<(), Error> {
    let backend = host.boot()?;
    let disarmed = backend.disarm(host_state.running);
    backend.secure(host_state.target())?;
    Ok(disarmed?)
}

/// P7, on the ESP. The journal keeps saying that the slot was armed, by which the old slot sees that
/// it was fallen back to.
fn record(host: &Host, host_state: &HostState, reason: &str) -> Result<(), Error> {
    let slot = host_state.running_slot();
    let (digest, version) = (slot.digest(), slot.version());
    let mut failed = host_state.failed.clone();
    // What has no digest cannot come back by itself.
    let Some(digest) =
        digest.filter(|digest| failed.fail(*digest, version, reason, &host_state.boot_id))
    else {
        return Ok(());
    };
    failed.set_content(&digest, slot.content_id());
    host.write_failed(&failed)?;
    let trial = Held { slot: host_state.running, digest: Some(digest), version };
    host.tell(&Transition::TrialFailed { trial: &trial, reason });
    Ok(())
}
