// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is the case on this host: facts from the ESP, the firmware and the journal, read
//! once, and what follows from them. Pure, so that every case stands in a table of tests.

use flipside_image::{ContentId, Digest, ImageConfig, Payload};

use super::failed::FailedDigests;
use super::journal::{Entry, State};
use crate::host::Record;
use crate::host::boot::{Next, Nvram, SlotProof};
use crate::host::esp::{BootFileState, Proof};
use crate::host::running::Evidence;
use crate::refusal::Refusal;
use crate::slot::Slot;

/// What the ESP says of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFacts {
    /// What it holds; `None` also where the record cannot be read, which proves nothing.
    pub record: Option<Record>,
    /// The manifest that was adopted for what it holds since; only of the slot that runs.
    pub adopted: Option<Record>,
    /// What has booted to success in it.
    pub proof: Option<Proof>,
    /// Whether firmware could start it.
    pub boot_file: BootFileState,
    /// Whether its loader entry is there, and if so whether it sorts first.
    pub loader_entry: Option<bool>,
}

impl SlotFacts {
    /// Whether what the slot holds has booted to success.
    pub fn is_proven(&self) -> bool {
        match (&self.record, &self.proof) {
            (Some(record), Some(proof)) => proof.is_of(record),
            _ => false,
        }
    }

    /// Whether the slot holds a whole OS that can boot: the boot file is completed last.
    pub fn is_installed(&self) -> bool {
        self.record.is_some() && self.has_boot_file()
    }

    /// Whether firmware could start its boot file, whole or not.
    pub fn has_boot_file(&self) -> bool {
        self.boot_file == BootFileState::Bootable
    }

    /// The same, for boot managers.
    pub fn proof(&self) -> SlotProof {
        if self.is_proven() { SlotProof::Present } else { SlotProof::Absent }
    }

    /// The digest of what the slot holds, where it is known: by that it was proven, or failed.
    pub fn digest(&self) -> Option<Digest> {
        self.record.as_ref()?.digest
    }

    /// What the slot holds, by the manifest that was adopted last.
    pub fn release(&self) -> Option<&Record> {
        self.adopted.as_ref().or(self.record.as_ref())
    }

    /// Its version.
    pub fn version(&self) -> &str {
        self.release().map_or("unknown", |release| &release.version)
    }

    /// Its digest, and that of its index.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.release().into_iter().flat_map(Record::digests)
    }

    /// Whether a tag that points to `digest` points to it.
    pub fn is_of(&self, digest: &Digest) -> bool {
        self.digests().any(|one| one == *digest)
    }

    /// What was written to it, where that is known.
    pub fn content_id(&self) -> Option<ContentId> {
        self.record.as_ref()?.content_id
    }
}

/// All facts that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    /// The slot that runs.
    pub running: Slot,
    /// How that is known.
    pub evidence: Vec<Evidence>,
    /// Slot A's facts.
    pub a: SlotFacts,
    /// Slot B's facts.
    pub b: SlotFacts,
    /// What `BootNext` names.
    pub next: Next,
    /// The first of flipside's slots in `BootOrder`.
    pub first: Option<Slot>,
    /// Whether what flipside told the firmware still stands there.
    pub nvram: Nvram,
    /// The digests that failed, and the one that a rollback left.
    pub failed: FailedDigests,
    /// The last transition.
    pub journal: Option<Entry>,
    /// This boot.
    pub boot_id: String,
    /// Whether the kernel was started by kexec, which proves nothing.
    pub by_kexec: bool,
    /// The payloads that this host takes, by name.
    pub payloads: Vec<String>,
    /// What stands against an install here, whatever the image, where somebody looked
    /// ([`Host::look_for_obstacles`](crate::Host::look_for_obstacles)).
    pub obstacles: Obstacles,
}

/// What stands against each install on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Obstacles {
    /// The running slot may not boot again: the other one may be all that does, and is not written.
    pub running_slot: Option<Refusal>,
    /// A slot could not be tried.
    pub boot: Option<Refusal>,
}

/// What happened to the last arming, seen from the running slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialOutcome {
    /// Nothing that has to be dealt with.
    Nothing,
    /// The running slot has not proved itself yet.
    Trial,
    /// The firmware lost what it was told: the other slot was not booted.
    Forgotten {
        /// What it holds.
        digest: Digest,
        /// Its version.
        version: String,
        /// Names the arming, so that it counts once.
        arming: String,
    },
    /// The other slot was booted and did not get to boot success.
    FellBack {
        /// What it holds.
        digest: Digest,
        /// Its version.
        version: String,
        /// Names the arming, so that it counts once.
        arming: String,
    },
}

impl HostState {
    /// The facts of `slot`.
    pub fn slot(&self, slot: Slot) -> &SlotFacts {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// The facts of the running slot.
    pub fn running_slot(&self) -> &SlotFacts {
        self.slot(self.running)
    }

    /// The slot that an update writes.
    pub fn target(&self) -> Slot {
        self.running.other()
    }

    /// The facts of the target slot.
    pub fn target_slot(&self) -> &SlotFacts {
        self.slot(self.target())
    }

    /// Whether `BootNext` names the target.
    pub fn is_armed(&self) -> bool {
        self.next == Next::Slot(self.target())
    }

    /// Whether what runs was started by kexec and is still to be tried, by the next boot that the
    /// firmware makes.
    pub fn awaits_firmware(&self) -> bool {
        let is_next = self.next == Next::Slot(self.running);
        self.by_kexec && is_next && !self.running_slot().is_proven()
    }

    /// The slot that a reboot is due for.
    pub fn waits_for_reboot(&self) -> Option<Slot> {
        match (self.is_armed(), self.awaits_firmware()) {
            (true, _) => Some(self.target()),
            (_, true) => Some(self.running),
            _ => None,
        }
    }

    /// The journal's entry, where it is about what the target holds.
    fn entry_of_target(&self) -> Option<&Entry> {
        let about_target =
            |e: &&Entry| e.slot == self.target() && e.digest == self.target_slot().digest();
        self.journal.as_ref().filter(about_target)
    }

    /// The journal's entry, where it is about `digest` in `slot`.
    pub fn entry_about(&self, slot: Slot, digest: Digest) -> Option<&Entry> {
        let about = |e: &&Entry| e.slot == slot && e.digest == Some(digest);
        self.journal.as_ref().filter(about)
    }

    /// What became of the last arming.
    ///
    /// `BootNext` still set means not tried. The journal tells a slot that was armed from
    /// one that was installed and not armed; without a journal it counts as tried, unless the ESP
    /// says that it was not armed since, so that a host whose state is lost at each boot does not
    /// try for ever. Where nothing is left in NVRAM of what flipside wrote there, the firmware
    /// started nothing by it.
    pub fn trial_outcome(&self) -> TrialOutcome {
        if !self.running_slot().is_proven() {
            return TrialOutcome::Trial;
        }
        let target = self.target_slot();
        let Some(digest) = target.digest() else { return TrialOutcome::Nothing };
        if !target.is_installed() || self.is_armed() {
            return TrialOutcome::Nothing;
        }
        // A person left it by a rollback: it was not tried to its end.
        if !target.is_proven() && self.has_rolled_back() {
            return TrialOutcome::Nothing;
        }
        // What was armed as a trial and has its proof by now did succeed.
        let was_armed_as = if target.is_proven() { State::Returning } else { State::Armed };
        // Where the kernel gives no boot ID, BootNext that is gone has to be enough.
        let is_over = |e: &Entry| e.boot_id != self.boot_id || self.boot_id.is_empty();
        let arming = match self.entry_of_target() {
            Some(e) if e.state == was_armed_as && is_over(e) => format!("{} {}", e.time, e.boot_id),
            Some(_) => return TrialOutcome::Nothing,
            // A proven slot needs the journal's word to have failed.
            None if target.is_proven() => return TrialOutcome::Nothing,
            // It was dealt with, in which boot nobody knows.
            None if self.failed.has_failed(&digest) => return TrialOutcome::Nothing,
            None if self.failed.unarmed == Some(digest) => return TrialOutcome::Nothing,
            None => self.boot_id.clone(),
        };
        let forgotten = self.failed.forgotten.as_ref();
        if self.failed.trial(&digest).is_some_and(|t| t.arming == arming)
            || forgotten.is_some_and(|f| f.digest == digest && f.arming == arming)
        {
            return TrialOutcome::Nothing;
        }
        let version = target.version().to_owned();
        // A trial that failed at once was started, whatever became of NVRAM since.
        match self.nvram == Nvram::Lost && !self.failed.has_failed(&digest) {
            true => TrialOutcome::Forgotten { digest, version, arming },
            false => TrialOutcome::FellBack { digest, version, arming },
        }
    }

    /// What failed, once what became of the last arming has been counted; from `limit` trials on that
    /// is a failure.
    pub fn counted(&self, limit: u32) -> FailedDigests {
        let mut failed = self.failed.clone();
        match self.trial_outcome() {
            TrialOutcome::FellBack { digest, version, arming } => {
                let content = self.target_slot().content_id();
                failed.count_content(digest, &version, content, &arming, limit);
            }
            TrialOutcome::Forgotten { digest, version, arming } => {
                failed.count_forgotten(digest, &version, &arming, limit);
            }
            TrialOutcome::Nothing | TrialOutcome::Trial => {}
        }
        failed
    }

    /// What an image with this config would put on this host.
    pub fn content_of(&self, config: &ImageConfig) -> ContentId {
        let takes = |of: &&Payload| self.payloads.iter().any(|name| of.name.as_str() == name);
        ContentId::of(config.payloads.iter().filter(takes))
    }

    /// Whether a rollback brought the running slot up: it left the other one.
    pub fn has_rolled_back(&self) -> bool {
        let left = self.target_slot().digest();
        left.is_some() && left == self.failed.left_by_rollback
    }

    /// Whether the running slot, proven before, was armed: the tag or a person went back to it.
    pub fn has_returned(&self) -> bool {
        let running = self.running_slot().digest();
        running.is_some() && running == self.failed.returning_to && !self.by_kexec
    }

    /// Whether a person wants the other slot at the next boot.
    pub fn is_rollback_pending(&self) -> bool {
        let target = self.target_slot();
        self.is_armed() && target.is_proven() && self.failed.returning_to == target.digest()
    }

    /// Whether this boot is a trial that firmware would end by going back: what runs is to
    /// prove itself, and the other slot has.
    pub fn is_trial_with_a_way_back(&self) -> bool {
        let target = self.target_slot();
        self.trial_outcome() == TrialOutcome::Trial
            && !self.by_kexec
            && !self.is_rollback_pending()
            && target.is_installed()
            && target.is_proven()
    }

    /// Whether a reboot at the trial's deadline would lead to nothing better, whatever the firmware's
    /// order says: what runs is proven and nobody armed it, or the other slot cannot boot. A
    /// machine that is rebooted all the same comes back here each time.
    pub fn has_nowhere_to_go(&self) -> bool {
        let belongs_here = self.running_slot().is_proven() && !self.has_returned();
        belongs_here || !self.target_slot().has_boot_file()
    }

    /// Whether what runs had failed before this boot: the reboot that was to leave it led here.
    pub fn had_failed(&self) -> bool {
        let trial = self.running_slot().digest().and_then(|d| self.failed.trial(&d).cloned());
        trial.is_some_and(|trial| trial.failed && trial.arming != self.boot_id)
    }

    /// Whether the target holds a digest that failed and could still boot, and what runs boots
    /// without it.
    pub fn has_failed_target(&self) -> bool {
        let (running, target) = (self.running_slot(), self.target_slot());
        let has_failed = target.digest().is_some_and(|digest| self.failed.has_failed(&digest));
        let is_dispensable = running.is_proven() && running.has_boot_file();
        has_failed && target.has_boot_file() && !target.is_proven() && is_dispensable
    }

    /// Whether the target was armed before this boot, and the firmware did not follow.
    pub fn is_boot_next_ignored(&self) -> bool {
        let before = |e: &Entry| {
            matches!(e.state, State::Armed | State::Returning | State::RollingBack)
                && e.boot_id != self.boot_id
        };
        self.is_armed() && !self.by_kexec && self.entry_of_target().is_some_and(before)
    }

    /// The slot that is to boot when nothing else is asked for: the running one once it is
    /// proven, unless the other was promoted after it and no rollback left it. That order
    /// stands on the ESP, in the loader entries, because firmware loses its own.
    pub fn preferred(&self) -> Slot {
        let target = self.target_slot();
        let target_was_promoted_last = target.loader_entry == Some(true)
            && self.running_slot().loader_entry != Some(true)
            && target.is_proven()
            && target.is_installed();
        let target_failed = target.digest().is_some_and(|d| self.failed.has_failed(&d));
        let is_meant_to_run = self.has_rolled_back() || self.has_returned();
        if target_was_promoted_last && !is_meant_to_run && !target_failed {
            self.target()
        } else {
            self.running
        }
    }

    /// Whether the firmware undid a promotion (`promotion-lost`): the other slot was
    /// promoted last and no longer comes first in `BootOrder`.
    pub fn is_promotion_lost(&self) -> bool {
        self.preferred() == self.target() && self.first != Some(self.target())
    }
}

#[cfg(test)]
pub(super) mod example {
    use super::*;
    use flipside_image::ChunkSize;

    /// What a slot holds.
    #[derive(Debug, Clone, Copy)]
    pub enum Is {
        Empty,
        /// An install that was cut off before its boot file.
        Cut(&'static str),
        Installed(&'static str),
        Proven(&'static str),
    }

    pub fn digest(version: &str) -> Digest {
        Digest::of(version.as_bytes())
    }

    /// Of an image that holds no more than its version.
    pub fn content(version: &str) -> ContentId {
        let size = version.len() as u64;
        let chunk_size = ChunkSize::new(size).unwrap();
        let (name, chunks) = ("system".parse().unwrap(), vec![digest(version)]);
        let payload = Payload { name, size, chunk_size, chunks, frames: None, partition: None };
        ContentId::of([payload].iter())
    }

    fn slot(is: Is) -> SlotFacts {
        let record = |version: &str| Record {
            digest: Some(digest(version)),
            version: version.to_owned(),
            content_id: Some(content(version)),
            ..Record::default()
        };
        let (version, boot_file) = match is {
            Is::Empty => (None, BootFileState::Absent),
            Is::Cut(version) => (Some(version), BootFileState::Unbootable),
            Is::Installed(version) | Is::Proven(version) => {
                (Some(version), BootFileState::Bootable)
            }
        };
        SlotFacts {
            record: version.map(record),
            adopted: None,
            proof: version
                .filter(|_| matches!(is, Is::Proven(_)))
                .map(|v| Proof::Digest(digest(v))),
            loader_entry: (boot_file == BootFileState::Bootable).then_some(false),
            boot_file,
        }
    }

    /// The journal's word about slot B.
    pub fn entry(state: State, version: &str, boot_id: &str) -> Entry {
        Entry {
            format: 1,
            state,
            slot: Slot::B,
            digest: Some(digest(version)),
            version: version.to_owned(),
            boot_id: boot_id.to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    /// Slot A runs, in boot "now"; no journal, nothing armed, nothing failed.
    pub fn host_state(a: Is, b: Is) -> HostState {
        HostState {
            running: Slot::A,
            evidence: Vec::new(),
            a: slot(a),
            b: slot(b),
            next: Next::Nothing,
            first: Some(Slot::A),
            nvram: Nvram::Kept,
            failed: FailedDigests::default(),
            journal: None,
            boot_id: "now".to_owned(),
            by_kexec: false,
            payloads: vec!["system".to_owned()],
            obstacles: Obstacles::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::example::{Is, digest, entry, host_state};
    use super::*;

    fn counts(host_state: &HostState) -> bool {
        matches!(host_state.trial_outcome(), TrialOutcome::FellBack { .. })
    }

    #[test]
    fn p7_a_trial_counts_when_it_was_started_and_never_promoted() {
        for (b, state, boot_id, expected) in [
            (Is::Installed("2"), State::Armed, "before", true),
            // In this very boot: nothing was rebooted since.
            (Is::Installed("2"), State::Armed, "now", false),
            (Is::Installed("2"), State::Arming, "before", false),
            (Is::Installed("2"), State::Writing, "before", false),
            (Is::Installed("2"), State::FellBack, "before", false),
            (Is::Cut("2"), State::Armed, "before", false),
            // Promoted, then left again: that trial succeeded.
            (Is::Proven("2"), State::Armed, "before", false),
            (Is::Proven("2"), State::Returning, "before", true),
            (Is::Proven("2"), State::RollingBack, "before", false),
        ] {
            let mut facts = host_state(Is::Proven("1"), b);
            facts.journal = Some(entry(state, "2", boot_id));
            assert_eq!(counts(&facts), expected, "{b:?} {state:?} {boot_id}");
            // Still set: not tried.
            facts.next = Next::Slot(Slot::B);
            assert!(!counts(&facts), "{b:?} {state:?} {boot_id}");
        }
    }

    #[test]
    fn p8_without_a_journal_an_unproven_target_counts_once_per_boot() {
        let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
        assert!(counts(&facts));
        facts.failed.count(digest("2"), "2", "now", 2);
        assert!(!counts(&facts));
        facts.boot_id = "later".to_owned();
        assert!(counts(&facts));
        assert!(!counts(&host_state(Is::Proven("1"), Is::Proven("2"))));
    }

    #[test]
    fn p8_without_a_journal_what_was_not_armed_since_is_no_trial() {
        let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
        facts.failed.unarmed = Some(digest("2"));
        assert!(!counts(&facts));
        facts.failed.unarmed = Some(digest("3"));
        assert!(counts(&facts), "of what the slot held before");
        // The journal knows more.
        facts.failed.unarmed = Some(digest("2"));
        facts.journal = Some(entry(State::Armed, "2", "before"));
        assert!(counts(&facts));
    }

    #[test]
    fn a_trial_that_the_firmware_forgot_is_not_counted_as_tried() {
        let is_forgotten =
            |facts: &HostState| matches!(facts.trial_outcome(), TrialOutcome::Forgotten { .. });
        for (nvram, expected) in [(Nvram::Lost, true), (Nvram::Kept, false), (Nvram::Unused, false)]
        {
            let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
            facts.nvram = nvram;
            assert_eq!((is_forgotten(&facts), counts(&facts)), (expected, !expected), "{nvram:?}");
            facts.journal = Some(entry(State::Armed, "2", "before"));
            assert_eq!((is_forgotten(&facts), counts(&facts)), (expected, !expected), "{nvram:?}");
            facts.journal = Some(entry(State::Writing, "2", "before"));
            assert!(!is_forgotten(&facts), "{nvram:?}: it was not armed");
        }
        let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
        (facts.nvram, facts.journal) = (Nvram::Lost, Some(entry(State::Armed, "2", "before")));
        let TrialOutcome::Forgotten { arming, .. } = facts.trial_outcome() else { panic!() };
        facts.failed.count_forgotten(digest("2"), "2", &arming, 2);
        assert_eq!(facts.trial_outcome(), TrialOutcome::Nothing, "once per arming");
        facts.failed.forgotten = None;
        facts.failed.fail(digest("2"), "2", "health check x failed", "the trial's");
        assert!(counts(&facts), "it was started");
    }

    #[test]
    fn p7_a_trial_that_failed_at_once_is_told_once_by_the_old_slot() {
        let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
        facts.failed.fail(digest("2"), "2", "health check x failed", "the trial's");
        assert!(!counts(&facts), "without a journal there is nothing to tell");
        facts.journal = Some(entry(State::Armed, "2", "before"));
        let TrialOutcome::FellBack { arming, .. } = facts.trial_outcome() else { panic!() };
        facts.failed.count(digest("2"), "2", &arming, 2);
        assert!(!counts(&facts));
    }

    #[test]
    fn a_trial_can_be_failed_where_there_is_something_to_go_back_to() {
        for (a, b, expected) in [
            (Is::Installed("2"), Is::Proven("1"), true),
            (Is::Proven("2"), Is::Proven("1"), false),
            (Is::Installed("2"), Is::Installed("1"), false),
            (Is::Installed("2"), Is::Empty, false),
        ] {
            let mut facts = host_state(a, b);
            assert_eq!(facts.is_trial_with_a_way_back(), expected, "{a:?} {b:?}");
            facts.by_kexec = true;
            assert!(!facts.is_trial_with_a_way_back(), "{a:?} {b:?}");
        }
        let mut facts = host_state(Is::Installed("2"), Is::Proven("1"));
        (facts.next, facts.failed.returning_to) = (Next::Slot(Slot::B), Some(digest("1")));
        assert!(!facts.is_trial_with_a_way_back(), "a person goes back");
    }

    #[test]
    fn a_late_boot_is_ended_only_where_that_leads_elsewhere() {
        for (a, b, returned, expected) in [
            (Is::Installed("2"), Is::Proven("1"), false, false),
            // It boots, and the firmware would take it.
            (Is::Installed("2"), Is::Installed("1"), false, false),
            (Is::Installed("2"), Is::Cut("1"), false, true),
            (Is::Installed("2"), Is::Empty, false, true),
            (Is::Proven("2"), Is::Proven("1"), false, true),
            (Is::Proven("2"), Is::Proven("1"), true, false),
            (Is::Proven("2"), Is::Empty, true, true),
        ] {
            let mut facts = host_state(a, b);
            facts.failed.returning_to = returned.then(|| digest("2"));
            assert_eq!(facts.has_nowhere_to_go(), expected, "{a:?} {b:?} {returned}");
        }
    }

    #[test]
    fn what_failed_in_another_boot_had_failed() {
        let mut facts = host_state(Is::Installed("2"), Is::Proven("1"));
        assert!(!facts.had_failed());
        facts.failed.fail(digest("2"), "2", "health check x failed", "now");
        assert!(!facts.had_failed(), "in this boot");
        facts.boot_id = "later".to_owned();
        assert!(facts.had_failed());
    }

    #[test]
    fn a_reboot_is_due_for_what_is_armed_and_for_a_trial_that_kexec_put_off() {
        use Slot::{A, B};
        for (a, next, by_kexec, expected) in [
            (Is::Proven("1"), Next::Slot(B), false, Some(B)),
            (Is::Proven("1"), Next::Slot(B), true, Some(B)),
            (Is::Installed("1"), Next::Slot(A), true, Some(A)),
            (Is::Installed("1"), Next::Nothing, true, None),
            // Firmware that does not consume it.
            (Is::Installed("1"), Next::Slot(A), false, None),
            (Is::Proven("1"), Next::Slot(A), true, None),
        ] {
            let mut facts = host_state(a, Is::Proven("0"));
            (facts.next, facts.by_kexec) = (next.clone(), by_kexec);
            assert_eq!(facts.waits_for_reboot(), expected, "{a:?} {next:?} {by_kexec}");
        }
    }

    #[test]
    fn a_failed_target_is_given_up_only_where_what_runs_boots_again() {
        for (a, expected) in [(Is::Proven("1"), true), (Is::Installed("1"), false)] {
            let mut facts = host_state(a, Is::Installed("2"));
            facts.failed.count(digest("2"), "2", "before", 1);
            assert_eq!(facts.has_failed_target(), expected, "{a:?}");
            facts.a.boot_file = BootFileState::Unbootable;
            assert!(!facts.has_failed_target(), "{a:?}");
        }
    }

    #[test]
    fn a_running_slot_without_proof_is_a_trial() {
        let facts = host_state(Is::Installed("1"), Is::Proven("0"));
        assert_eq!(facts.trial_outcome(), TrialOutcome::Trial);
        let mut facts = host_state(Is::Proven("1"), Is::Empty);
        facts.a.proof = Some(Proof::Digest(digest("another")));
        assert_eq!(facts.trial_outcome(), TrialOutcome::Trial);
    }

    #[test]
    fn the_slot_promoted_last_is_preferred_unless_a_rollback_left_it() {
        let mut facts = host_state(Is::Proven("1"), Is::Proven("2"));
        assert_eq!(facts.preferred(), Slot::A);
        facts.b.loader_entry = Some(true);
        assert_eq!(facts.preferred(), Slot::B);
        assert!(facts.is_promotion_lost());
        facts.first = Some(Slot::B);
        assert!(!facts.is_promotion_lost());
        facts.failed.left_by_rollback = Some(digest("2"));
        assert_eq!(facts.preferred(), Slot::A);
        facts.failed.left_by_rollback = None;
        facts.a.loader_entry = Some(true);
        assert_eq!(facts.preferred(), Slot::A);
    }
}
