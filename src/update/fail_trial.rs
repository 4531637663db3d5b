// SPDX-License-Identifier: MIT OR Apache-2.0

//! The trial that runs has failed: a health check or the deadline says so. P7: its digest is
//! not tried again by itself, from now on.

use std::time::Duration;

use jiff::Timestamp;

use super::announce;
use super::deadline::note_no_deadline;
use super::journal;
use super::lock::Lock;
use super::machine::Machine;
use super::situation::Situation;
use super::{Run, UpdateError, trial_log};
use crate::host::Slot;
use crate::image::Digest;
use crate::report::history::{self, Happening, HistoryFile};

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
/// boot of it failed already and the machine came here again.
///
/// # Errors
/// [`UpdateError`].
pub fn fail_trial(run: &Run, reason: &str) -> Result<Option<FailedRun>, UpdateError> {
    let _lock = Lock::wait(&run.root, PATIENCE, &run.stop)?;
    let Some(machine) = Machine::open(run)? else { return Ok(None) };
    let situation = machine.situation()?;
    if !situation.is_trial_with_a_way_back() {
        return Ok(None);
    }
    run.durable.phase("fail")?;
    // Before the record, by which a later boot of it knows that this was done; and also where the
    // ESP takes no record.
    let leads_back = lead_back(&machine, &situation);
    record(run, &machine, &situation, reason).and(leads_back)?;
    let (running, target) = (situation.running, situation.target());
    if situation.had_failed() {
        // The firmware cannot boot the other slot, or does not: it would come back for ever.
        let (slot, version) = (running, situation.running_slot().version());
        tracing::warn!(
            "{version} in slot {slot} had failed before, and was booted again: it stays"
        );
        note_no_deadline(&run.root);
        return Ok(None);
    }
    trial_log::keep_own(run, &situation, reason);
    let slot = situation.running_slot();
    Ok(Some(FailedRun {
        slot: running,
        digest: slot.digest(),
        version: slot.version().to_owned(),
        back_to: target,
    }))
}

/// Whatever the firmware made of the trial: some does not consume `BootNext`, and some moves what it
/// booted to the front.
fn lead_back(machine: &Machine, situation: &Situation) -> Result<(), UpdateError> {
    let backend = machine.boot()?;
    let disarmed = backend.disarm(situation.running);
    backend.secure(situation.target())?;
    Ok(disarmed?)
}

/// The history is written here, where the reason is known; the journal keeps saying that the
/// slot was armed, by which the old slot sees that it was fallen back to.
fn record(
    run: &Run,
    machine: &Machine,
    situation: &Situation,
    reason: &str,
) -> Result<(), UpdateError> {
    let slot = situation.running_slot();
    let (digest, version) = (slot.digest(), slot.version());
    let mut failed = situation.failed.clone();
    // What has no digest cannot come back by itself.
    let Some(digest) =
        digest.filter(|digest| failed.fail(*digest, version, reason, &situation.boot_id))
    else {
        return Ok(());
    };
    machine.write_failed(&failed)?;
    announce::digest_failed(situation.running, digest, version);
    let entry = history::Entry {
        time: Timestamp::now(),
        boot_id: Some(journal::boot_id(&run.root)),
        event: Happening::Failed,
        slot: Some(situation.running),
        version: Some(version.to_owned()),
        digest: Some(digest),
        code: None,
        message: format!("{version} in slot {} failed its trial: {reason}", situation.running),
    };
    if let Err(error) = HistoryFile::of(&run.root).append(&run.durable, &entry) {
        tracing::warn!("{error}");
    }
    Ok(())
}
