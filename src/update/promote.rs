// SPDX-License-Identifier: MIT OR Apache-2.0

//! After boot success: the running slot gets its proof and the first place, a trial that
//! fell back is counted, and what the firmware changed is put right.

use std::time::Duration;

use super::announce;
use super::deadline::note_no_deadline;
use super::journal::State;
use super::loader;
use super::lock::Lock;
use super::machine::Machine;
use super::situation::{Aftermath, Situation};
use super::transaction::put_first_in_loader;
use super::{Run, UpdateError, trial_log};
use crate::host::esp::Proof;
use crate::host::{Record, Slot};

/// What a promote found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    /// No slots here, or nothing is tracked: nothing to do.
    NotAHost,
    /// The trial succeeded: the running slot has its proof and the first place.
    Promoted(Slot),
    /// A rollback arrived: the running slot has the first place again.
    RolledBack(Slot),
    /// The running slot was proven before; entries were repaired where that was needed.
    Unchanged(Slot),
    /// The trial of the other slot was never promoted.
    FellBack {
        /// The slot that runs.
        to: Slot,
        /// Whether the digest gets no further trial by itself.
        failed: bool,
        /// The version that did not come up.
        version: String,
    },
    /// The firmware undid the promotion of the other slot; it was repaired, and the next
    /// boot is the other slot's again.
    Restored(Slot),
    /// A kernel started by kexec proves nothing: the next firmware boot is the trial.
    ByKexec,
}

/// How long a promotion waits for another run, such as a rollback that verifies a slot. A
/// trial that is not promoted is lost, and its deadline is 10 minutes by default.
const PATIENCE: Duration = Duration::from_secs(300);

/// Promotes what runs. Writes nothing where nothing is to be done.
///
/// # Errors
/// [`UpdateError`]; what was done before it stays.
pub fn promote(run: &Run) -> Result<Promotion, UpdateError> {
    if run.config.track.image.is_none() || Machine::open(run)?.is_none() {
        return Ok(Promotion::NotAHost);
    }
    let _lock = Lock::wait(&run.root, PATIENCE, &run.stop)?;
    // Whoever held it may have changed the disk.
    let Some(machine) = Machine::open(run)? else { return Ok(Promotion::NotAHost) };
    let situation = machine.situation()?;
    let aftermath = settle(run, &machine, &situation)?;
    let situation = machine.situation()?;
    let promotion = decide(run, &machine, &situation, aftermath)?;
    // Under the lock: the deadline may be waiting for it.
    note_no_deadline(&run.root);
    announce::promotion(&machine.situation()?, &promotion);
    // Boots nothing today: where it fails, the promotion stands all the same.
    if !matches!(promotion, Promotion::FellBack { .. } | Promotion::Restored(_))
        && let Err(error) = loader::keep_up_to_date(&run.root, &machine)
    {
        tracing::warn!("the removable-media loader stays as it is: {error}");
    }
    Ok(promotion)
}

fn decide(
    run: &Run,
    machine: &Machine,
    situation: &Situation,
    aftermath: Aftermath,
) -> Result<Promotion, UpdateError> {
    match aftermath {
        Aftermath::Trial if situation.by_kexec => Ok(Promotion::ByKexec),
        // A person has seen enough of it.
        Aftermath::Trial if situation.is_rollback_pending() => {
            Ok(Promotion::Unchanged(situation.running))
        }
        Aftermath::Trial => prove(run, machine, situation),
        Aftermath::FellBack { digest, version, .. } => {
            keep(machine, situation)?;
            let failed = situation.failed.has_failed(&digest);
            Ok(Promotion::FellBack { to: situation.running, failed, version })
        }
        Aftermath::Nothing => keep(machine, situation),
    }
}

/// Deals with the last arming: counts a trial that fell back (P7), durably, before anything
/// is decided on it.
pub(super) fn settle(
    run: &Run,
    machine: &Machine,
    situation: &Situation,
) -> Result<Aftermath, UpdateError> {
    let aftermath = situation.aftermath();
    if let Aftermath::FellBack { digest, version, arming } = &aftermath {
        let mut failed = situation.failed.clone();
        run.durable.phase("count")?;
        failed.count(*digest, version, arming, run.config.trial.attempts);
        machine.write_failed(&failed)?;
        announce::fell_back(situation, *digest, version, failed.has_failed(digest));
    }
    // Also where an earlier run counted, and was cut off here.
    if machine.situation()?.has_failed_target() {
        condemn(machine, situation.target())?;
    }
    if let Aftermath::FellBack { digest, version, .. } = &aftermath {
        let noted = machine.note_of(State::FellBack, situation.target(), Some(*digest), version);
        without_journal(noted);
        let failed = machine.situation()?.failed;
        let reason = failed.trial(digest).map_or("", |trial| &trial.reason);
        trial_log::keep(run, situation, *digest, version, reason);
    }
    Ok(aftermath)
}

/// P8: the journal is no authority; one that takes no entry is told and stops nothing.
pub(super) fn without_journal(noted: Result<(), UpdateError>) {
    if let Err(error) = noted {
        tracing::warn!("{error}");
    }
}

/// P7: what failed is not tried again, not even by a firmware that lost the running slot's
/// entry and takes the next one it finds. The partitions and the record stay.
fn condemn(machine: &Machine, target: Slot) -> Result<(), UpdateError> {
    machine.durable.phase("condemn")?;
    machine.esp.remove_loader_entry(target)?;
    if let Ok(backend) = machine.boot() {
        backend.disarm(target)?;
    }
    machine.esp.make_unbootable(target)?;
    Ok(())
}

/// The proof, the loader's order, then the firmware's: cut anywhere, a slot that comes first
/// is a proven one.
fn prove(run: &Run, machine: &Machine, situation: &Situation) -> Result<Promotion, UpdateError> {
    let running = situation.running;
    run.durable.phase("prove")?;
    let record = match &situation.running_slot().record {
        Some(record) => record.clone(),
        None => record_by_os_release(machine, running)?,
    };
    machine.esp.write_proof(running, &Proof::of(&record))?;
    forgive(machine, situation, &record)?;
    prefer(machine, situation)?;
    if situation.target_slot().is_installed() {
        // With NVRAM wiped, the slot that was left has no entry either.
        machine.boot()?.add(situation.target(), situation.target_slot().standing())?;
    }
    let noted = machine.note_of(State::Promoted, running, record.digest, &record.version);
    without_journal(noted);
    Ok(Promotion::Promoted(running))
}

/// On a host that flipside did not install: recorded by its version, digest unknown.
fn record_by_os_release(machine: &Machine, running: Slot) -> Result<Record, UpdateError> {
    let record = Record {
        digest: None,
        index_digest: None,
        version: machine.os_version(),
        config_digest: None,
        repository: None,
        signed_by: None,
        end_of_life: None,
        towards: None,
    };
    machine.esp.write_record(running, &record)?;
    Ok(record)
}

/// An attempt that failed before this success counts no more. A hold on what runs is void, and
/// one on what gave way to something newer: the tag has moved. So is the wish to return.
fn forgive(machine: &Machine, situation: &Situation, record: &Record) -> Result<(), UpdateError> {
    let mut failed = situation.failed.clone();
    failed.wanted = None;
    if let Some(digest) = &record.digest {
        failed.release(digest);
    }
    if situation.target_slot().digest().is_some_and(|left| failed.held != Some(left)) {
        failed.held = None;
    }
    if failed == situation.failed { Ok(()) } else { machine.write_failed(&failed) }
}

/// The running slot first, in the loader and in the firmware.
fn prefer(machine: &Machine, situation: &Situation) -> Result<(), UpdateError> {
    let running = situation.running;
    machine.durable.phase("prefer")?;
    put_first_in_loader(machine, running)?;
    let backend = machine.boot()?;
    backend.prefer(running, situation.target_slot().standing())?;
    // Firmware that does not consume BootNext would boot by it for ever.
    backend.disarm(running)?;
    Ok(())
}

/// The running slot was proven before. Nothing is written where everything is in order.
fn keep(machine: &Machine, situation: &Situation) -> Result<Promotion, UpdateError> {
    let running = situation.running;
    let target = situation.target();
    let pending_rollback = situation.is_armed() && situation.target_slot().is_proven();
    if pending_rollback {
        return Ok(Promotion::Unchanged(running));
    }
    if situation.preferred() == target {
        return restore(machine, situation);
    }
    let rolled_back = situation.has_rolled_back() && situation.target_slot().is_proven();
    let arrived = situation.has_returned() || (rolled_back && situation.first != Some(running));
    prefer(machine, situation)?;
    if situation.target_slot().is_installed() {
        if situation.target_slot().loader_entry.is_none() {
            machine.esp.write_loader_entry(target, &machine.title(target), false)?;
        }
        machine.boot()?.add(target, situation.target_slot().standing())?;
    }
    // Last: until it has the first place, being here is explained by what is forgotten now.
    if let Some(record) = &situation.running_slot().record {
        forgive(machine, situation, record)?;
    }
    if arrived {
        without_journal(machine.note(State::Promoted, running, situation.running_slot()));
        return Ok(match rolled_back {
            true => Promotion::RolledBack(running),
            false => Promotion::Promoted(running),
        });
    }
    Ok(Promotion::Unchanged(running))
}

/// `promotion-lost`: the other slot was promoted last, but the firmware came here. Its
/// first place is put back; the image is not to blame.
fn restore(machine: &Machine, situation: &Situation) -> Result<Promotion, UpdateError> {
    let target = situation.target();
    if !situation.is_promotion_lost() {
        return Ok(Promotion::Unchanged(situation.running));
    }
    machine.durable.phase("restore")?;
    let backend = machine.boot()?;
    backend.secure(situation.running)?;
    backend.prefer(target, situation.running_slot().standing())?;
    Ok(Promotion::Restored(target))
}
