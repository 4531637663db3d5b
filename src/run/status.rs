// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status document, from the facts of the host and from what the last runs said.

use flipside_core::state::action::is_persons_rollback;
use flipside_core::state::journal::State as Noted;
use flipside_core::state::{HostState, SlotFacts, TrialOutcome};
use flipside_core::{Error as CoreError, Host};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::announce;
use super::next_check::next_check;
use super::{Error, Run};
use crate::config::{RebootStrategy, SignatureMode};
use crate::report::journal::{Entry, Kind};
use crate::report::motd::{self, Motd};
use crate::report::status as report;
use crate::report::status::{
    Available, Blocked, BootEntry, BootFile, BootTarget, Check, CheckResult, CommandFailure,
    Failed, HoldStatus, PolicyStatus, Problem, RuleStatus, SignatureStatus, SlotState, SlotStatus,
    State, Status,
};
use crate::report::{KnownCode, reboot_required};
use crate::rules::{self, Explanation};
use crate::system::zone_of;
use flipside_core::host::boot::{self, EntryKind, EntryName};
use flipside_core::host::esp::BootFileState;
use flipside_core::host::{Root, Slot};
use flipside_image::code::{Coded as _, sentence};
use flipside_image::constraints::EndOfLife;
use flipside_image::delta::Download;
use flipside_image::redact::redact;
use flipside_image::{Architecture, Digest};

/// The status now: the facts are read, what only a run knows is taken from the last one.
pub fn status(run: &Run) -> Status {
    let mut status = run.follow.status();
    refresh(run, &mut status);
    status
}

/// Ends a run: what it came to, and the facts as they are now, go to the status file, and to
/// who logs in where that needs a person.
pub fn finish(run: &Run, error: Option<&Error>) {
    run.follow.change(|status| {
        status.progress = None;
        match error {
            Some(error) => {
                announce::refused(run, error, status);
                note_error(status, error);
            }
            None => {
                status.blocked = None;
                status.last_error = None;
            }
        }
        refresh(run, status);
    });
    show_status(run);
}

/// Tells other programs, and who logs in.
fn show_status(run: &Run) {
    reboot_required::tell(&run.root, run.follow.status().reboot_required);
    let reboots_by_itself = run.config.reboot.strategy != RebootStrategy::None;
    let message = motd::message(&run.follow.status(), reboots_by_itself, Timestamp::now());
    Motd::of(&run.root).show(message.as_deref());
}

/// Ends a command that makes no update: what it met goes to the status beside what blocks updates.
pub fn finish_command(run: &Run, command: &str, error: Option<&Error>) {
    let failure = error.map(|error| CommandFailure {
        command: command.to_owned(),
        severity: error.severity(),
        code: error.code().to_string(),
        message: sentence(error),
        time: Timestamp::now(),
    });
    if let (Some(error), Some(CommandFailure { severity, message, .. })) = (error, &failure) {
        Entry::new(Kind::of(*severity), message).code(error.code()).send();
    }
    run.follow.change(|status| {
        status.progress = None;
        status.note_command(command, failure);
        refresh(run, status);
    });
    show_status(run);
}

/// What a look at the source came to: whether `tag` leads to anything new.
pub(super) fn note_check(run: &Run, tag: &Digest, version: Option<&str>, is_new: bool) {
    let note = |status: &mut Status| {
        let result = if is_new { CheckResult::Available } else { CheckResult::UpToDate };
        status.last_check = Some(Check { time: Timestamp::now(), result });
        let before = status.available.take().filter(|before| before.digest == *tag);
        let was_known = before.as_ref().is_some_and(|before| before.version.is_some());
        let known = before.as_ref().and_then(|before| before.version.clone());
        let version = version.map(str::to_owned).or(known);
        let download = before.and_then(|before| before.download);
        status.available = is_new.then_some(Available { version, digest: *tag, download });
        // Once, not at every look: the last status tells what was said in this boot.
        if let Some(candidate) = &status.available
            && candidate.version.is_some()
            && !was_known
        {
            announce::available(candidate);
        }
    };
    // What hooks may take their time about is seen at once.
    match is_new {
        true => run.follow.change(note),
        false => run.follow.note(note),
    }
}

/// What the update on offer costs.
pub(super) fn note_download(run: &Run, download: Download) {
    run.follow.change(|status| {
        if let Some(available) = &mut status.available {
            available.download = Some(download);
        }
    });
}

/// What the rules said.
pub(super) fn note_rules(run: &Run, explanation: &Explanation) {
    let results = explanation.results().iter().map(|result| {
        let refusal = result.verdict.refusal();
        RuleStatus {
            rule: result.rule.to_string(),
            observed: result.observed.clone(),
            decision: result.verdict.word().to_owned(),
            code: refusal.map(|refusal| refusal.code.to_string()),
            reason: refusal.map(|refusal| refusal.message.clone()),
        }
    });
    let policy = PolicyStatus { time: Timestamp::now(), rules: results.collect() };
    run.follow.note(|status| status.policy = Some(policy));
}

fn note_error(status: &mut Status, error: &Error) {
    let (code, message) = (error.code().to_string(), sentence(error));
    let time = Timestamp::now();
    if error.is_of_source() {
        status.last_check = Some(Check { time, result: CheckResult::Failed });
    }
    status.note(error.severity(), code, message, time);
}

/// The settings were changed, by a command that updates nothing.
pub fn note_settings(run: &Run) {
    run.follow.change(|status| {
        let is_hold = |of: &mut Blocked| KnownCode::of(&of.code) == KnownCode::UpdatesHeld;
        if !run.config.update.is_held {
            status.blocked.take_if(is_hold);
        }
        refresh(run, status);
    });
}

fn refresh(run: &Run, status: &mut Status) {
    status.time = Timestamp::now();
    status.follow(run.config.track.image.as_deref());
    status.next_check = next_check(run, status.time);
    let zone = zone_of(&run.root);
    let hold = run.config.update.hold().filter(|hold| hold.holds(status.time, &zone));
    status.hold = hold.map(|hold| HoldStatus {
        until: hold.until.as_ref().map(|until| until.time(&zone)),
        reason: hold.reason.as_deref().map(redact),
    });
    status.signatures = signatures(run);
    status.host.name = host_name(&run.root);
    status.host.architecture = Architecture::of_this_build().map(|a| a.to_string());
    status.running = Default::default();
    status.slots.clear();
    status.boot_order.clear();
    status.failed.clear();
    (status.state, status.left_by_rollback, status.boot_next) = (State::Unknown, None, None);
    (status.end_of_life, status.secure_boot) = (None, None);
    status.reboot_required = false;
    let host = match Host::open(&run.access()) {
        Ok(Some(host)) => host,
        Ok(None) => return,
        Err(error) => return set_problem(status, &error),
    };
    let mode = host.secure_boot().ok().and_then(|firmware| firmware.mode.word());
    status.secure_boot = mode.map(str::to_owned);
    match host.host_state() {
        Ok(mut host_state) => {
            let looked = host.look_for_obstacles(&mut host_state, &run.stop);
            describe(status, &host, &host_state, &zone);
            if let Err(error) = looked {
                set_problem(status, &error);
            }
        }
        Err(error) => set_problem(status, &error),
    }
}

fn set_problem(status: &mut Status, error: &CoreError) {
    let (code, message) = (error.code().to_string(), sentence(error));
    status.running.problem = Some(Problem { code, message });
}

fn describe(status: &mut Status, host: &Host, host_state: &HostState, zone: &TimeZone) {
    status.running.slot = Some(host_state.running);
    status.running.problem = host_state.obstacles.running_slot.as_ref().map(|refusal| {
        let (code, message) = (refusal.code.to_string(), refusal.message.clone());
        Problem { code, message }
    });
    status.running.evidence = host_state.evidence.iter().map(|e| e.fact.clone()).collect();
    let entries = host.boot_entries();
    for slot in Slot::BOTH {
        let entry = entries.iter().find(|e| e.kind == EntryKind::Slot(slot));
        status.slots.push(describe_slot(host_state, slot, entry));
    }
    status.boot_next = match &host_state.next {
        boot::Next::Nothing => None,
        boot::Next::Slot(slot) => status.slot(*slot).and_then(|s| s.boot_entry.clone()),
        boot::Next::Foreign { number, .. } => Some(EntryName::Number(*number).to_string()),
    };
    status.boot_order = entries.iter().filter(|e| e.is_listed).map(describe_entry).collect();
    status.left_by_rollback = host_state.failed.left_by_rollback;
    status.failed = host_state
        .failed
        .trials
        .iter()
        .filter(|trial| trial.failed)
        .map(|trial| Failed {
            digest: trial.digest,
            version: Some(trial.version.clone()),
            reason: trial.reason.clone(),
            attempts: trial.attempts,
        })
        .collect();
    let still_holds = |of: &mut report::Withdrawn| {
        let held = host_state.slot(of.slot);
        held.release().and_then(|release| release.digest) == of.digest
            && held.version() == of.version
    };
    status.withdrawn.retain_mut(still_holds);
    status.end_of_life = end_of_life(host_state, zone);
    status.reboot_required = host_state.waits_for_reboot().is_some();
    status.next_reboot.take_if(|_| host_state.waits_for_reboot().is_none());
    let is_installed =
        |digest: &Digest| Slot::BOTH.into_iter().any(|slot| host_state.slot(slot).is_of(digest));
    status.available.take_if(|available| is_installed(&available.digest));
    status.state = state(host_state);
}

/// What the image said of itself when it was installed or adopted; that may have been by a later
/// flipside.
fn end_of_life(host_state: &HostState, zone: &TimeZone) -> Option<report::EndOfLife> {
    let text = host_state.running_slot().release()?.end_of_life.as_deref()?;
    let EndOfLife { at, text } = EndOfLife::parse(text).ok()?;
    Some(report::EndOfLife { time: at.time(zone), day: at.text(zone), text })
}

fn state(host_state: &HostState) -> State {
    let target = host_state.target_slot();
    let noted = host_state.journal.as_ref().map(|entry| entry.state);
    if is_persons_rollback(host_state) {
        State::RollingBack
    } else if host_state.trial_outcome() == TrialOutcome::Trial {
        State::Trial
    } else if host_state.is_armed() {
        State::Armed
    } else if !target.is_proven() && is_noted(host_state, host_state.target(), Noted::FellBack) {
        State::FellBack
    } else if target.is_installed() && !target.is_proven() {
        let was_tried = target.digest().is_some_and(|d| host_state.failed.trial(&d).is_some());
        let is_unarmed = !was_tried && host_state.failed.unarmed == target.digest();
        match noted {
            Some(Noted::Superseded) => State::Idle,
            Some(Noted::Writing | Noted::Arming) => State::Installed,
            None if is_unarmed => State::Installed,
            _ => State::FellBack,
        }
    } else if noted == Some(Noted::Writing) && !target.is_installed() {
        State::Writing
    } else {
        State::Idle
    }
}

fn describe_slot(
    host_state: &HostState,
    slot: Slot,
    entry: Option<&boot::BootEntry>,
) -> SlotStatus {
    let facts = host_state.slot(slot);
    let journal = host_state.journal.as_ref().filter(|e| e.slot == slot);
    let release = facts.release();
    SlotStatus {
        slot,
        running: slot == host_state.running,
        version: release.map(|release| release.version.clone()),
        digest: release.and_then(|release| release.digest),
        signed_by: release.and_then(|release| release.signed_by.clone()),
        state: slot_state(host_state, slot, facts),
        since: journal.filter(|e| e.digest == facts.digest()).map(|e| e.time),
        boot_file: match facts.boot_file {
            BootFileState::Absent => BootFile::Absent,
            BootFileState::Unbootable => BootFile::Unbootable,
            BootFileState::Bootable => BootFile::Bootable,
        },
        loader_entry: Some(facts.loader_entry.is_some()),
        boot_entry: entry.map(|entry| entry.name.to_string()),
    }
}

fn slot_state(host_state: &HostState, slot: Slot, facts: &SlotFacts) -> SlotState {
    let has_failed = facts.digest().is_some_and(|d| host_state.failed.has_failed(&d));
    let is_next = host_state.next == boot::Next::Slot(slot) && slot != host_state.running;
    match facts {
        _ if is_next => SlotState::Armed,
        facts if facts.is_proven() => SlotState::Proven,
        _ if slot == host_state.running => SlotState::Trial,
        _ if has_failed => SlotState::Failed,
        // It may be tried again, and is written anew for that.
        facts if !facts.is_installed() && is_noted(host_state, slot, Noted::FellBack) => {
            SlotState::Failed
        }
        facts if facts.is_installed() && is_noted(host_state, slot, Noted::Superseded) => {
            SlotState::Superseded
        }
        facts if facts.is_installed() => SlotState::Installed,
        facts if facts.record.is_some() || facts.boot_file != BootFileState::Absent => {
            SlotState::Writing
        }
        _ => match &host_state.journal {
            Some(entry) if entry.state == Noted::Writing && entry.slot == slot => {
                SlotState::Writing
            }
            _ => SlotState::Empty,
        },
    }
}

/// Whether the journal's last word about what `slot` holds is `state`.
fn is_noted(host_state: &HostState, slot: Slot, state: Noted) -> bool {
    let digest = host_state.slot(slot).digest();
    let entry = digest.and_then(|digest| host_state.entry_about(slot, digest));
    entry.is_some_and(|entry| entry.state == state)
}

fn describe_entry(entry: &boot::BootEntry) -> BootEntry {
    BootEntry {
        number: entry.name.to_string(),
        description: entry.description.clone(),
        what: match entry.kind {
            EntryKind::Slot(Slot::A) => BootTarget::SlotA,
            EntryKind::Slot(Slot::B) => BootTarget::SlotB,
            EntryKind::Removable => BootTarget::Removable,
            EntryKind::Foreign => BootTarget::Foreign,
            EntryKind::Missing => BootTarget::Missing,
        },
        active: entry.is_active,
    }
}

fn signatures(run: &Run) -> SignatureStatus {
    let mode = match run.config.policy.signature.mode {
        SignatureMode::Auto => "auto",
        SignatureMode::Require => "require",
        SignatureMode::Off => "off",
    };
    let mode = Some(mode.to_owned());
    match rules::signature::open(&run.root, &run.config) {
        Ok(verifier) => SignatureStatus {
            mode,
            required: verifier.is_required(),
            keys: verifier.keys().iter().map(|key| key.name.clone()).collect(),
            problem: None,
        },
        Err(error) => {
            let (code, message) = (error.code().to_string(), sentence(&error));
            let problem = Some(Problem { code, message });
            SignatureStatus { mode, required: true, keys: Vec::new(), problem }
        }
    }
}

fn host_name(root: &Root) -> Option<String> {
    let text = std::fs::read_to_string(root.path("/proc/sys/kernel/hostname")).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Where the status of a run that is about to begin starts from: the last run's.
pub fn last_status(root: &Root) -> Status {
    let now = Timestamp::now();
    let last = crate::report::StatusFile::of(root).read().ok().flatten();
    let mut status = last.unwrap_or_else(|| Status::unknown(now));
    status.progress = None;
    status
}
