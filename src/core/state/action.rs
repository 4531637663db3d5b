// SPDX-License-Identifier: MIT OR Apache-2.0

//! What to do about the digest that the tag has: one pure decision, from the facts.

use flipside_image::{ContentId, Digest};

use super::host_state::{HostState, TrialOutcome};
use super::journal::State;
use crate::codes;
use crate::host::boot::{Next, Nvram};
use crate::refusal::Refusal;

/// What an update run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The running slot holds what the tag names.
    UpToDate,
    /// The tag names another manifest of the content that runs: that is noted, and nothing written.
    Adopt,
    /// The target holds what the tag names, and boots at the next reboot.
    Waiting,
    /// The running slot holds what the tag names, and something else is armed: the tag
    /// went back, so that must not boot any more.
    Unarm,
    /// The target holds what the tag names, whole; it only has to be booted.
    Arm,
    /// The target has to be written.
    Install,
    /// Not now, or not at all.
    Refuse(Refusal),
}

/// Decides about `tag`, the digest that the tag has now, and about its content once that is known.
/// Call it after the trial outcome of the last arming was dealt with.
pub fn decide(host_state: &HostState, tag: &Digest, content: Option<ContentId>) -> Action {
    let running = host_state.running_slot();
    let target = host_state.target_slot();
    if running.is_of(tag) {
        return stay(host_state);
    }
    let refuse = || content.and_then(|content| refuse_content(host_state, tag, content));
    if let Some(refusal) = refuse_digest(host_state, tag).or_else(refuse) {
        return Action::Refuse(refusal);
    }
    // P6: one trial at a time.
    if waits_for_trial(host_state, tag) {
        return Action::Refuse(Refusal::defer(
            codes::TRIAL_RUNNING,
            format!(
                "slot {} runs {} and has not proved itself yet",
                host_state.running,
                running.version()
            ),
        ));
    }
    if is_persons_rollback(host_state) {
        return Action::Refuse(Refusal::defer(
            codes::ROLLBACK_PENDING,
            format!("a rollback to slot {} waits for the next reboot", host_state.target()),
        ));
    }
    if content.is_some() && running.content_id() == content {
        return Action::Adopt;
    }
    let holds_tag = target.is_of(tag) && target.is_installed();
    if holds_tag && host_state.is_armed() {
        if host_state.is_boot_next_ignored() {
            return Action::Refuse(Refusal::defer(
                codes::BOOTNEXT_IGNORED,
                format!(
                    "slot {} was to boot once before this boot, and the machine did not boot it",
                    host_state.target()
                ),
            ));
        }
        return Action::Waiting;
    }
    if let Next::Foreign { number, description } = &host_state.next {
        return Action::Refuse(Refusal::defer(
            codes::BOOTNEXT_TAKEN,
            format!("BootNext names {number} ({description:?}), which is not flipside's"),
        ));
    }
    match refuse_host(host_state, holds_tag) {
        Some(refusal) => Action::Refuse(refusal),
        None if holds_tag => Action::Arm,
        None => Action::Install,
    }
}

/// What stands against a trial on this host, whatever is to be tried. What is installed already
/// (`is_installed`) may be all that boots where the running slot does not, and is armed.
fn refuse_host(host_state: &HostState, is_installed: bool) -> Option<Refusal> {
    let forgotten = host_state.failed.forgotten.as_ref();
    let forgotten = forgotten.filter(|f| f.refused && host_state.nvram != Nvram::Unused);
    if let Some(forgotten) = forgotten {
        return Some(Refusal::block(
            codes::NVRAM_NOT_KEPT,
            format!(
                "the firmware forgot its boot entries {} times before a trial could start, last of {} ({}); \
                 set boot.backend = \"systemd-boot\", which needs none, or `flipside retry {}` to try \
                 once more",
                forgotten.count,
                forgotten.version,
                forgotten.digest.short(),
                forgotten.digest
            ),
        ));
    }
    let obstacles = &host_state.obstacles;
    let running_slot = obstacles.running_slot.as_ref().filter(|_| !is_installed);
    running_slot.or(obstacles.boot.as_ref()).cloned()
}

/// Whether nothing but the trial that goes on keeps this host from `tag` (P6).
pub fn waits_for_trial(host_state: &HostState, tag: &Digest) -> bool {
    host_state.trial_outcome() == TrialOutcome::Trial
        && !host_state.running_slot().is_of(tag)
        && refuse_digest(host_state, tag).is_none()
}

/// What to do where what runs is what is wanted: whatever else was armed must not boot, except what
/// a person wants.
pub fn stay(host_state: &HostState) -> Action {
    // With the journal lost, a proven target that is armed may be a rollback.
    let is_the_tags = !host_state.target_slot().is_proven()
        || noted(host_state, &[State::Arming, State::Returning]);
    match host_state.is_armed() && is_the_tags {
        true => Action::Unarm,
        false => Action::UpToDate,
    }
}

/// Whether what is armed is a rollback, a person's wish. What it leaves is noted by its digest. If
/// that is unknown, the journal knows.
pub fn is_persons_rollback(host_state: &HostState) -> bool {
    let running = host_state.running_slot().digest();
    let was_left = running.is_some() && host_state.failed.left_by_rollback == running;
    let is_a_return = host_state.is_armed() && host_state.target_slot().is_proven();
    is_a_return && (was_left || noted(host_state, &[State::RollingBack]))
}

/// Whether the journal's last word is one of `states`, of what the target holds.
fn noted(host_state: &HostState, states: &[State]) -> bool {
    let target = host_state.target_slot();
    host_state.journal.as_ref().is_some_and(|entry| {
        states.contains(&entry.state)
            && entry.slot == host_state.target()
            && entry.digest == target.digest()
    })
}

/// P7: digests that are not tried by themselves. Asked with the tag's digest, and again
/// with the manifest's where the tag names an index.
pub fn refuse_digest(host_state: &HostState, tag: &Digest) -> Option<Refusal> {
    let target = host_state.target_slot();
    let in_target = target.digest().filter(|_| target.is_of(tag));
    let digest = in_target.unwrap_or(*tag);
    if let Some(trial) = host_state.failed.trial(&digest).filter(|t| t.failed) {
        return Some(Refusal::block(
            codes::DIGEST_FAILED,
            format!(
                "{} ({}) failed on this host: {}; `flipside retry {digest}` lets it be tried again",
                trial.version,
                digest.short(),
                trial.reason
            ),
        ));
    }
    if host_state.failed.left_by_rollback == Some(digest) {
        return Some(Refusal::block(
            codes::DIGEST_ROLLED_BACK,
            format!(
                "{} was left by a rollback, and is not installed again until the tag names other content; `flipside retry {digest}` allows it",
                digest.short()
            ),
        ));
    }
    None
}

/// P7: `tag` is the same content as what is refused under another digest: of what failed that is
/// noted, of what a rollback left the target's record knows it.
fn refuse_content(host_state: &HostState, tag: &Digest, content: ContentId) -> Option<Refusal> {
    let target = host_state.target_slot();
    let in_target = target.digest().filter(|_| target.content_id() == Some(content));
    let mut known = host_state.failed.failed_with(content).into_iter().chain(in_target);
    let mut refusal = known.find_map(|digest| refuse_digest(host_state, &digest))?;
    refusal.message = format!("{} is the same content: {}", tag.short(), refusal.message);
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Record;
    use crate::host::efi::BootNumber;
    use crate::host::esp::Proof;
    use crate::slot::Slot;
    use crate::state::host_state::example::{Is, content, digest, entry, host_state};

    fn code(action: &Action) -> &'static str {
        match action {
            Action::UpToDate => "up-to-date",
            Action::Adopt => "adopt",
            Action::Waiting => "waiting",
            Action::Unarm => "unarm",
            Action::Arm => "arm",
            Action::Install => "install",
            Action::Refuse(refusal) => refusal.code.name(),
        }
    }

    fn armed(mut facts: HostState) -> HostState {
        facts.next = Next::Slot(Slot::B);
        facts
    }

    #[test]
    fn each_state_of_the_slots_has_its_course() {
        // Slot A runs "1"; what B holds, whether it is armed, and the tag's digest.
        for (b, armed, tag, expected) in [
            (Is::Empty, false, "1", "up-to-date"),
            (Is::Empty, false, "2", "install"),
            (Is::Cut("2"), false, "2", "install"),
            (Is::Installed("2"), false, "2", "arm"),
            (Is::Installed("2"), true, "2", "waiting"),
            (Is::Installed("2"), true, "3", "install"),
            (Is::Installed("2"), true, "1", "unarm"),
            (Is::Installed("2"), false, "1", "up-to-date"),
            (Is::Proven("2"), false, "2", "arm"),
            (Is::Proven("2"), true, "2", "waiting"),
            (Is::Proven("2"), false, "3", "install"),
            (Is::Proven("2"), true, "1", "up-to-date"),
        ] {
            let mut facts = host_state(Is::Proven("1"), b);
            if armed {
                facts.next = Next::Slot(Slot::B);
            }
            assert_eq!(code(&decide(&facts, &digest(tag), None)), expected, "{b:?} {armed} {tag}");
        }
    }

    #[test]
    fn what_the_tag_armed_gives_way_to_what_runs_and_a_persons_rollback_does_not() {
        for (b, state, expected) in [
            (Is::Installed("2"), Some(State::Armed), "unarm"),
            (Is::Proven("2"), Some(State::Arming), "unarm"),
            (Is::Proven("2"), Some(State::Returning), "unarm"),
            (Is::Proven("2"), Some(State::RollingBack), "up-to-date"),
            (Is::Proven("2"), None, "up-to-date"),
        ] {
            let mut facts = armed(host_state(Is::Proven("1"), b));
            facts.journal = state.map(|state| entry(state, "2", "now"));
            assert_eq!(code(&decide(&facts, &digest("1"), None)), expected, "{b:?} {state:?}");
            // Of something else, which the target held before.
            facts.journal = state.map(|state| entry(state, "3", "now"));
            let expected = if matches!(b, Is::Proven(_)) { "up-to-date" } else { "unarm" };
            assert_eq!(code(&decide(&facts, &digest("1"), None)), expected, "{b:?} {state:?}");
        }
    }

    #[test]
    fn a_rollback_from_what_has_no_digest_is_known_by_the_journal() {
        for (state, tag, expected) in [
            (State::RollingBack, "3", "rollback-pending"),
            (State::RollingBack, "2", "rollback-pending"),
            (State::Returning, "3", "install"),
            (State::Returning, "2", "waiting"),
        ] {
            let mut facts = armed(host_state(Is::Proven("1"), Is::Proven("2")));
            if let Some(record) = &mut facts.a.record {
                record.digest = None;
                facts.a.proof = Some(Proof::of(record));
            }
            facts.journal = Some(entry(state, "2", "now"));
            assert_eq!(code(&decide(&facts, &digest(tag), None)), expected, "{state:?} {tag}");
        }
    }

    #[test]
    fn p6_a_trial_takes_no_update_and_is_up_to_date_with_itself() {
        let facts = host_state(Is::Installed("1"), Is::Proven("0"));
        assert_eq!(code(&decide(&facts, &digest("1"), None)), "up-to-date");
        assert_eq!(code(&decide(&facts, &digest("2"), None)), "trial-running");
        assert_eq!(code(&decide(&facts, &digest("0"), None)), "trial-running");
        let waits = ["0", "1", "2"].map(|tag| waits_for_trial(&facts, &digest(tag)));
        assert_eq!(waits, [true, false, true]);
    }

    #[test]
    fn p7_what_failed_or_was_left_is_refused_also_under_its_index_digest() {
        let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
        facts.failed.count(digest("2"), "2", "boot", 1);
        assert_eq!(code(&decide(&facts, &digest("2"), None)), "digest-failed");
        assert_eq!(code(&decide(&facts, &digest("3"), None)), "install");
        let index = digest("an index of 2");
        if let Some(record) = &mut facts.b.record {
            record.index_digest = Some(index);
        }
        assert_eq!(code(&decide(&facts, &index, None)), "digest-failed");
        // Not even a trial that goes on is what it waits for.
        facts.a.proof = None;
        assert_eq!(code(&decide(&facts, &index, None)), "digest-failed");
        assert!(!waits_for_trial(&facts, &index));

        let mut facts = host_state(Is::Proven("1"), Is::Proven("2"));
        facts.failed.left_by_rollback = Some(digest("2"));
        assert_eq!(code(&decide(&facts, &digest("2"), None)), "digest-rolled-back");
        assert_eq!(code(&decide(&facts, &digest("3"), None)), "install");
    }

    #[test]
    fn what_stands_against_each_install_refuses_nothing_else() {
        for (b, armed, tag, damaged, unbootable) in [
            (Is::Empty, false, "2", "running-slot-damaged", "loader-too-old"),
            (Is::Installed("2"), false, "2", "arm", "loader-too-old"),
            (Is::Installed("2"), true, "2", "waiting", "waiting"),
            (Is::Installed("2"), false, "1", "up-to-date", "up-to-date"),
        ] {
            let mut facts = host_state(Is::Proven("1"), b);
            if armed {
                facts.next = Next::Slot(Slot::B);
            }
            facts.obstacles.running_slot = Some(Refusal::block(codes::RUNNING_SLOT_DAMAGED, ""));
            assert_eq!(code(&decide(&facts, &digest(tag), None)), damaged, "{b:?} {tag}");
            facts.obstacles.running_slot = None;
            facts.obstacles.boot = Some(Refusal::block(codes::LOADER_TOO_OLD, ""));
            assert_eq!(code(&decide(&facts, &digest(tag), None)), unbootable, "{b:?} {tag}");
        }
    }

    #[test]
    fn firmware_that_forgets_is_refused_where_it_is_needed() {
        for (nvram, limit, expected) in [
            (Nvram::Lost, 1, "nvram-not-kept"),
            (Nvram::Kept, 1, "nvram-not-kept"),
            (Nvram::Unused, 1, "install"),
            (Nvram::Lost, 2, "install"),
        ] {
            let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
            facts.nvram = nvram;
            facts.failed.count_forgotten(digest("2"), "2", "x", limit);
            assert_eq!(code(&decide(&facts, &digest("3"), None)), expected, "{nvram:?} {limit}");
            assert_eq!(code(&decide(&facts, &digest("1"), None)), "up-to-date");
        }
    }

    #[test]
    fn a_pending_rollback_and_a_next_boot_of_others_are_respected() {
        let mut facts = host_state(Is::Proven("2"), Is::Proven("1"));
        facts.next = Next::Slot(Slot::B);
        facts.failed.left_by_rollback = Some(digest("2"));
        assert_eq!(code(&decide(&facts, &digest("3"), None)), "rollback-pending");

        let mut facts = host_state(Is::Proven("1"), Is::Empty);
        facts.next = Next::Foreign { number: BootNumber(7), description: "Windows".to_owned() };
        assert_eq!(code(&decide(&facts, &digest("2"), None)), "bootnext-taken");
        assert_eq!(code(&decide(&facts, &digest("1"), None)), "up-to-date");
    }

    #[test]
    fn another_manifest_of_what_runs_is_adopted_and_of_what_the_other_slot_holds_installed() {
        let one = Is::Proven("1");
        for (a, b, armed, same_as, expected) in [
            (one, Is::Empty, false, "1", "adopt"),
            (one, Is::Installed("2"), false, "1", "adopt"),
            // What is armed is dealt with by the digest, in the next step.
            (one, Is::Installed("2"), true, "1", "adopt"),
            // The record there is to name what is tried.
            (one, Is::Installed("2"), false, "2", "install"),
            (one, Is::Installed("2"), true, "2", "install"),
            (one, Is::Proven("2"), false, "2", "install"),
            (one, Is::Cut("2"), false, "2", "install"),
            (one, Is::Installed("2"), false, "3", "install"),
            // P6.
            (Is::Installed("1"), Is::Proven("2"), false, "1", "trial-running"),
        ] {
            let mut facts = host_state(a, b);
            if armed {
                facts.next = Next::Slot(Slot::B);
            }
            let action = decide(&facts, &digest("new"), Some(content(same_as)));
            assert_eq!(code(&action), expected, "{a:?} {b:?} {armed} {same_as}");
        }
    }

    #[test]
    fn what_was_adopted_runs_and_nobody_knows_the_content_of_an_older_flipsides_slot() {
        let mut facts = host_state(Is::Proven("1"), Is::Empty);
        facts.a.adopted = facts.a.record.clone().map(|record| Record {
            digest: Some(digest("new")),
            index_digest: Some(digest("an index")),
            version: "1.1".to_owned(),
            ..record
        });
        for tag in ["new", "an index"] {
            assert_eq!(code(&decide(&facts, &digest(tag), None)), "up-to-date", "{tag}");
        }
        // The tag went back: that is adopted as well.
        let action = decide(&facts, &digest("1"), Some(content("1")));
        assert_eq!(code(&action), "adopt");
        assert_eq!((facts.a.version(), facts.a.digest()), ("1.1", Some(digest("1"))));
        facts.a.adopted = None;
        if let Some(record) = &mut facts.a.record {
            record.content_id = None;
        }
        let action = decide(&facts, &digest("new"), Some(content("1")));
        assert_eq!(code(&action), "install");
    }

    #[test]
    fn p7_the_content_that_failed_or_was_left_is_refused_under_each_digest() {
        let decided = |facts: &HostState, same_as: &str| {
            decide(facts, &digest("new"), Some(content(same_as)))
        };
        let mut facts = host_state(Is::Proven("1"), Is::Empty);
        facts.failed.count(digest("2"), "2", "boot", 1);
        facts.failed.set_content(&digest("2"), Some(content("2")));
        assert_eq!(code(&decided(&facts, "2")), "digest-failed");
        assert_eq!(code(&decided(&facts, "3")), "install");
        facts.failed.retry(&digest("2"));
        assert_eq!(code(&decided(&facts, "2")), "install");

        // The record in the target knows the content, also where an older flipside noted the digest.
        for (is_left, expected) in [(false, "digest-failed"), (true, "digest-rolled-back")] {
            let mut facts = host_state(Is::Proven("1"), Is::Installed("2"));
            match is_left {
                false => _ = facts.failed.count(digest("2"), "2", "boot", 1),
                true => facts.failed.left_by_rollback = Some(digest("2")),
            }
            let action = decided(&facts, "2");
            assert_eq!(code(&action), expected);
            let Action::Refuse(refusal) = action else { panic!("{action:?}") };
            let begin = format!("{} is the same content: ", digest("new").short());
            assert!(refusal.message.starts_with(&begin), "{}", refusal.message);
            assert!(refusal.message.contains(&digest("2").to_string()), "{}", refusal.message);
            assert_eq!(code(&decided(&facts, "3")), "install");
            facts.failed.retry(&digest("2"));
            assert_eq!(code(&decided(&facts, "2")), "install");
        }
    }
}
