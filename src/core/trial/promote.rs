// SPDX-License-Identifier: MIT OR Apache-2.0

//! After boot success: the running slot gets its proof and the first place, a trial that
//! fell back is counted, and what the firmware changed is put right.

use std::time::Duration;

use super::deadline::note_no_deadline;
use super::loader;
use super::locked::open_locked;
use crate::error::Error;
use crate::host::Record;
use crate::host::esp::Proof;
use crate::install::put_first_in_loader;
use crate::lock::Lock;
use crate::opened::{Access, Host};
use crate::slot::Slot;
use crate::state::journal::State;
use crate::state::transition::Held;
use crate::state::{HostState, Transition, TrialOutcome};

/// What a promote found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    /// No slots here, or nothing is followed: nothing to do.
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
/// [`Error`]; what was done before it stays.
pub fn promote(access: &Access) -> Result<Promotion, Error> {
    let take = || Lock::wait(&access.root, PATIENCE, &access.stop);
    let Some((lock, host)) = open_locked(access, take)? else { return Ok(Promotion::NotAHost) };
    let (trial_outcome, host_state) = record_trial_outcome(&lock, access, &host)?;
    let promotion = decide(&host, &host_state, trial_outcome)?;
    // Under the lock: the deadline may be waiting for it.
    note_no_deadline(&access.root);
    announce(&host, &host.host_state()?, &promotion);
    // Boots nothing today: where it fails, the promotion stands all the same.
    if !matches!(promotion, Promotion::FellBack { .. } | Promotion::Restored(_))
        && let Err(error) = loader::keep_up_to_date(&access.root, &host)
    {
        tracing::warn!("the removable-media loader stays as it is: {error}");
    }
    Ok(promotion)
}

/// What became of it, for whoever watches.
fn announce(host: &Host, host_state: &HostState, promotion: &Promotion) {
    let held = |slot| Held::of(slot, host_state.slot(slot));
    match promotion {
        Promotion::Promoted(slot) => host.tell(&Transition::Promoted(&held(*slot))),
        Promotion::RolledBack(slot) => host.tell(&Transition::RolledBack(&held(*slot))),
        Promotion::Restored(slot) => host.tell(&Transition::PromotionRestored(&held(*slot))),
        _ => {}
    }
}

fn decide(
    host: &Host,
    host_state: &HostState,
    trial_outcome: TrialOutcome,
) -> Result<Promotion, Error> {
    match trial_outcome {
        TrialOutcome::Trial if host_state.by_kexec => Ok(Promotion::ByKexec),
        // A person has seen enough of it.
        TrialOutcome::Trial if host_state.is_rollback_pending() => {
            Ok(Promotion::Unchanged(host_state.running))
        }
        TrialOutcome::Trial => prove(host, host_state),
        TrialOutcome::FellBack { digest, version, .. } => {
            keep(host, host_state)?;
            let failed = host_state.failed.has_failed(&digest);
            Ok(Promotion::FellBack { to: host_state.running, failed, version })
        }
        TrialOutcome::Nothing | TrialOutcome::Forgotten { .. } => keep(host, host_state),
    }
}

/// Deals with the last arming: counts a trial that fell back (P7), or that the firmware forgot,
/// durably, before anything is decided on it. Returns what became of that arming, and the facts as they are now.
///
/// # Errors
/// [`Error`]; what was done before it stays.
pub fn record_trial_outcome(
    _lock: &Lock,
    access: &Access,
    host: &Host,
) -> Result<(TrialOutcome, HostState), Error> {
    let before = host.host_state()?;
    let trial_outcome = before.trial_outcome();
    let mut failed = before.counted(access.settings.attempts);
    if let TrialOutcome::FellBack { digest, version, .. } = &trial_outcome {
        host.durable.phase("count")?;
        failed.unarmed = Some(*digest);
        host.write_failed(&failed)?;
        let trial = Held { slot: before.target(), digest: Some(*digest), version };
        let running = Held::of(before.running, before.running_slot());
        let failed = failed.has_failed(digest);
        host.tell(&Transition::FellBack { trial: &trial, running: &running, failed });
    }
    if let TrialOutcome::Forgotten { digest, version, .. } = &trial_outcome {
        host.durable.phase("count")?;
        tracing::warn!(
            "the firmware forgot its boot entries, and that {version} was to be tried: it was not, \
             and that counts for nothing"
        );
        failed.unarmed = Some(*digest);
        host.write_failed(&failed)?;
    }
    let counted = HostState { failed, ..before.clone() };
    // Also where an earlier run counted, and was cut off here.
    let is_condemned = counted.has_failed_target();
    if is_condemned {
        condemn(host, before.target())?;
    }
    if let TrialOutcome::FellBack { digest, version, .. } = &trial_outcome {
        let noted = host.note_of(State::FellBack, before.target(), Some(*digest), version);
        without_journal(noted);
        let reason = counted.failed.trial(digest).map_or("", |trial| &trial.reason);
        let trial = Held { slot: before.target(), digest: Some(*digest), version };
        let arming = before.entry_about(before.target(), *digest);
        let boot_id = &before.boot_id;
        host.tell(&Transition::TrialOver { trial: &trial, reason, arming, boot_id });
    }
    let has_counted =
        matches!(trial_outcome, TrialOutcome::FellBack { .. } | TrialOutcome::Forgotten { .. });
    let has_changed = is_condemned || has_counted;
    let now = if has_changed { host.host_state()? } else { before };
    Ok((trial_outcome, now))
}

/// P8: the journal is no authority; one that takes no entry is told and stops nothing.
pub(super) fn without_journal(noted: Result<(), Error>) {
    if let Err(error) = noted {
        tracing::warn!("{error}");
    }
}

/// P7: what failed is not tried again, not even by a firmware that lost the running slot's
/// entry and takes the next one it finds. The partitions and the record stay.
fn condemn(host: &Host, target: Slot) -> Result<(), Error> {
    host.durable.phase("condemn")?;
    host.esp.remove_loader_entry(target)?;
    if let Ok(backend) = host.boot() {
        backend.disarm(target)?;
    }
    host.esp.make_unbootable(target)?;
    Ok(())
}

/// The proof, the loader's order, then the firmware's: cut anywhere, a slot that comes first
/// is a proven one.
fn prove(host: &Host, host_state: &HostState) -> Result<Promotion, Error> {
    let running = host_state.running;
    host.durable.phase("prove")?;
    // It was about the other slot, which may come to hold the same digest again.
    without_journal(host.journal.forget_adopted().map_err(Error::from));
    let record = match &host_state.running_slot().record {
        Some(record) => record.clone(),
        // A host that flipside did not install: known by its version, digest unknown.
        None => {
            let record = Record { version: host.os_version(), ..Record::default() };
            host.esp.write_record(running, &record)?;
            record
        }
    };
    host.esp.write_proof(running, &Proof::of(&record))?;
    forgive(host, host_state, &record, true)?;
    set_default(host, host_state)?;
    if host_state.target_slot().is_installed() {
        // With NVRAM wiped, the slot that was left has no entry either.
        host.boot()?.add(host_state.target(), host_state.target_slot().proof())?;
    }
    let noted = host.note_of(State::Promoted, running, record.digest, &record.version);
    without_journal(noted);
    Ok(Promotion::Promoted(running))
}

/// An attempt that failed before this success counts no more. A hold on what runs is void, and
/// one on what gave way to something newer: the tag has moved. So is the wish to return. Firmware
/// that brought what was armed (`has_arrived`) did not forget it.
fn forgive(
    host: &Host,
    host_state: &HostState,
    record: &Record,
    has_arrived: bool,
) -> Result<(), Error> {
    let mut failed = host_state.failed.clone();
    failed.returning_to = None;
    failed.forgotten.take_if(|_| has_arrived);
    failed.unarmed.take_if(|unarmed| Some(*unarmed) == record.digest);
    if let Some(digest) = &record.digest {
        failed.retry(digest);
    }
    if host_state.target_slot().digest().is_some_and(|left| failed.left_by_rollback != Some(left)) {
        failed.left_by_rollback = None;
    }
    if failed == host_state.failed { Ok(()) } else { host.write_failed(&failed) }
}

/// The running slot first, in the loader and in the firmware.
fn set_default(host: &Host, host_state: &HostState) -> Result<(), Error> {
    let running = host_state.running;
    host.durable.phase("prefer")?;
    put_first_in_loader(host, running)?;
    let backend = host.boot()?;
    backend.set_default(running, host_state.target_slot().proof())?;
    // Firmware that does not consume BootNext would boot by it for ever.
    backend.disarm(running)?;
    Ok(())
}

/// The running slot was proven before. Nothing is written where everything is in order.
fn keep(host: &Host, host_state: &HostState) -> Result<Promotion, Error> {
    let running = host_state.running;
    let target = host_state.target();
    let pending_rollback = host_state.is_armed() && host_state.target_slot().is_proven();
    if pending_rollback {
        return Ok(Promotion::Unchanged(running));
    }
    if host_state.preferred() == target {
        return restore(host, host_state);
    }
    let rolled_back = host_state.has_rolled_back() && host_state.target_slot().is_proven();
    let arrived = host_state.has_returned() || (rolled_back && host_state.first != Some(running));
    set_default(host, host_state)?;
    if host_state.target_slot().is_installed() {
        if host_state.target_slot().loader_entry.is_none() {
            host.esp.write_loader_entry(target, &host.title(target), false)?;
        }
        host.boot()?.add(target, host_state.target_slot().proof())?;
    }
    // Last: until it has the first place, being here is explained by what is forgotten now.
    if let Some(record) = &host_state.running_slot().record {
        forgive(host, host_state, record, arrived)?;
    }
    if arrived {
        without_journal(host.note(State::Promoted, running, host_state.running_slot()));
        return Ok(match rolled_back {
            true => Promotion::RolledBack(running),
            false => Promotion::Promoted(running),
        });
    }
    Ok(Promotion::Unchanged(running))
}

/// `promotion-lost`: the other slot was promoted last, but the firmware came here. Its
/// first place is put back; the image is not to blame.
fn restore(host: &Host, host_state: &HostState) -> Result<Promotion, Error> {
    let target = host_state.target();
    if !host_state.is_promotion_lost() {
        return Ok(Promotion::Unchanged(host_state.running));
    }
    host.durable.phase("restore")?;
    let backend = host.boot()?;
    backend.secure(host_state.running)?;
    backend.set_default(target, host_state.running_slot().proof())?;
    Ok(Promotion::Restored(target))
}
