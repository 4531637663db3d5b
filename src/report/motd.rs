// SPDX-License-Identifier: MIT OR Apache-2.0

//! The login message, shown by pam_motd(8) while something on this host needs a person.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;

use super::known_code::KnownCode;
use super::status::{Blocked, CheckResult, Failed, SlotState, State, Status, Withdrawn};
use flipside_core::host::{Root, Slot};
use flipside_core::refusal::Severity;
use flipside_image::printable;

/// Where the message is. A directory of which login services show every file.
pub const PATH: &str = "/run/motd.d/flipside";

/// How long a refusal that waits for a change may last before people are bothered, in seconds.
const BLOCKED_FOR: i64 = 24 * 3600;
/// The same for an error, such as a registry that does not answer.
const FAILING_FOR: i64 = 72 * 3600;

/// What `status` asks of a person, a line for each; `None` where it asks nothing.
/// `reboots_by_itself`: flipside makes the reboot that an update waits for.
pub fn message(status: &Status, reboots_by_itself: bool, now: Timestamp) -> Option<String> {
    let lines: Vec<String> = [
        problem(status),
        withdrawn(status),
        failed(status),
        dead_end(status),
        blocked(status, now),
        failing(status, now),
        end_of_life(status, now),
        waits(status).filter(|_| !reboots_by_itself && status.next_reboot.is_none()),
    ]
    .into_iter()
    .flatten()
    .map(|line| format!("flipside: {line}\n"))
    .collect();
    (!lines.is_empty()).then(|| lines.concat())
}

fn shown(text: &str) -> String {
    printable::line(text, 200)
}

fn problem(status: &Status) -> Option<String> {
    let problem = status.running.problem.as_ref()?;
    let message = shown(&problem.message);
    Some(format!("this host takes no updates: {message}; `flipside status` tells more."))
}

/// A reboot before the next run would boot it.
fn withdrawn(status: &Status) -> Option<String> {
    let Withdrawn { slot, version, reason, .. } = status.withdrawn_next()?;
    let (version, reason) = (shown(version), shown(reason));
    Some(format!(
        "slot {slot} holds a withdrawn release ({version}: {reason}); `flipside update` takes it back."
    ))
}

/// Nothing is asked for where the tag names what runs.
fn failed(status: &Status) -> Option<String> {
    if status.last_check.as_ref().is_some_and(|check| check.result == CheckResult::UpToDate) {
        return None;
    }
    let is_refused = refusal(status) == Some(KnownCode::DigestFailed);
    let in_slot = status.slots.iter().find(|slot| slot.state == SlotState::Failed);
    let known = |digest| status.failed.iter().find(|failed| failed.digest == digest);
    let failed = match in_slot {
        Some(slot) => known(slot.digest?)?,
        None => status.failed.last().filter(|_| is_refused)?,
    };
    let Failed { version, digest, reason, .. } = failed;
    let version = version.as_ref().map_or_else(|| digest.short(), |version| shown(version));
    Some(format!(
        "{version} failed on this host ({}) and is not tried again by itself; \
         `flipside history --log` shows what it left, `flipside retry {digest}` lets it be \
         tried once more.",
        shown(reason)
    ))
}

/// What refuses the update on offer.
fn refusal(status: &Status) -> Option<KnownCode> {
    status.blocked.as_ref().map(|blocked| KnownCode::of(&blocked.code))
}

fn lasts(since: Option<Timestamp>, seconds: i64, now: Timestamp) -> bool {
    since.is_some_and(|since| now.as_second().saturating_sub(since.as_second()) >= seconds)
}

/// Nothing goes on by itself from there, so that there is nothing to wait for.
fn dead_end(status: &Status) -> Option<String> {
    let is_dead_end = refusal(status) == Some(KnownCode::DeadEnd);
    let Blocked { message, .. } = status.blocked.as_ref().filter(|_| is_dead_end)?;
    Some(format!("this host takes no more updates by itself: {}.", shown(message)))
}

fn blocked(status: &Status, now: Timestamp) -> Option<String> {
    let Blocked { severity, code, message, since } = status.blocked.as_ref()?;
    let is_due = match KnownCode::of(code) {
        // Said in other words, or a person's wish.
        KnownCode::DigestFailed | KnownCode::DigestRolledBack | KnownCode::DeadEnd => false,
        // At once: nothing outlives a reboot by which to tell how long it has lasted.
        KnownCode::MayBeAttack => true,
        _ => *severity == Severity::Block && lasts(*since, BLOCKED_FOR, now),
    };
    is_due.then(|| {
        let message = shown(message);
        format!("an update is refused: {message} [{code}]; `flipside status` tells more.")
    })
}

fn failing(status: &Status, now: Timestamp) -> Option<String> {
    // It does not go away by itself.
    let is_lasting = |code: &str| KnownCode::of(code) == KnownCode::EspDamaged;
    let of_run = status.last_error.as_ref();
    let of_run = of_run.filter(|e| is_lasting(&e.code) || lasts(e.since, FAILING_FOR, now));
    let of_command = status.last_command.as_ref().filter(|last| is_lasting(&last.code));
    let of_run = of_run.map(|error| (&error.code, &error.message));
    let (code, message) = of_run.or(of_command.map(|last| (&last.code, &last.message)))?;
    let is_known = status.running.problem.as_ref().is_some_and(|problem| problem.code == *code);
    (!is_known).then(|| {
        let message = shown(message);
        format!("this host cannot update: {message} [{code}]; `flipside status` tells more.")
    })
}

fn end_of_life(status: &Status, now: Timestamp) -> Option<String> {
    let end = status.end_of_life.as_ref().filter(|end| end.is_told(now))?;
    let slot = status.running.slot.and_then(|slot| status.slot(slot));
    let version = slot.and_then(|slot| slot.version.as_deref()).map_or("this system".into(), shown);
    Some(format!("support of {version} {}.", end.sentence(now).trim_end_matches('.')))
}

fn waits(status: &Status) -> Option<String> {
    if !status.reboot_required || status.withdrawn_next().is_some() {
        return None;
    }
    let target = status.running.slot.map(Slot::other)?;
    let version = status.slot(target)?.version.as_deref().map(shown);
    let waits = match status.state {
        State::Armed => {
            format!("{} is installed and waits", version.as_deref().unwrap_or("an update"))
        }
        State::RollingBack => {
            format!("a rollback to {} waits", version.unwrap_or(format!("slot {target}")))
        }
        _ => return None,
    };
    Some(format!("{waits} for a reboot: `systemctl reboot`."))
}

/// The file of a host. It lives in `/run`: a boot begins without one.
#[derive(Debug, Clone)]
pub struct Motd {
    path: PathBuf,
    new: PathBuf,
}

impl Motd {
    /// The message of the host in `root`.
    pub fn of(root: &Root) -> Self {
        let new = format!("/run/flipside/motd.{}", std::process::id());
        Self { path: root.path(PATH), new: root.path(new) }
    }

    /// Shows `message` from here on, or none. Nothing is written where it is shown already.
    /// A place that cannot be written is no reason to end a run.
    pub fn show(&self, message: Option<&str>) {
        let shown = std::fs::read_to_string(&self.path).ok();
        if shown.as_deref() == message {
            return;
        }
        let changed = match message {
            Some(message) => self.write(message),
            None => std::fs::remove_file(&self.path),
        };
        match changed {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!("cannot change {}: {error}", self.path.display());
            }
            Err(error) => tracing::warn!("cannot change {}: {error}", self.path.display()),
            Ok(()) => {}
        }
    }

    /// Made elsewhere: a login shows every file of that directory.
    fn write(&self, message: &str) -> io::Result<()> {
        for directory in [&self.path, &self.new].into_iter().filter_map(|path| path.parent()) {
            std::fs::create_dir_all(directory)?;
        }
        let written = std::fs::write(&self.new, message)
            .and_then(|()| std::fs::set_permissions(&self.new, Permissions::from_mode(0o644)))
            .and_then(|()| std::fs::rename(&self.new, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&self.new);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{before, full};
    use crate::report::status::{Failure, Problem};

    /// Nothing asks for a person.
    fn calm() -> Status {
        let mut status = full();
        status.running.problem = None;
        (status.state, status.reboot_required) = (State::Idle, false);
        (status.blocked, status.last_error, status.last_check) = (None, None, None);
        (status.failed, status.next_reboot, status.end_of_life) = (Vec::new(), None, None);
        status.withdrawn.clear();
        status.last_command = None;
        status.slots[1].state = SlotState::Proven;
        status
    }

    fn said(change: impl FnOnce(&mut Status)) -> String {
        let mut status = calm();
        change(&mut status);
        message(&status, false, before(0)).unwrap_or_default()
    }

    fn refused(code: &str, severity: Severity, hours: i64) -> Option<Blocked> {
        let since = Some(before(hours));
        Some(Blocked { severity, code: code.into(), message: "no\nway".into(), since })
    }

    fn error(code: &str, hours: i64) -> Option<Failure> {
        let since = Some(before(hours));
        Some(Failure { code: code.into(), message: "gone".into(), time: before(0), since })
    }

    #[test]
    fn a_host_that_needs_nobody_says_nothing() {
        assert_eq!(said(|_| {}), "");
        assert_eq!(said(|s| s.blocked = refused("hook-deferred", Severity::Defer, 999)), "");
        assert_eq!(said(|s| s.blocked = refused("hook-blocked", Severity::Block, 23)), "");
        assert_eq!(said(|s| s.blocked = refused("digest-rolled-back", Severity::Block, 99)), "");
        assert_eq!(said(|s| s.last_error = error("not-found", 71)), "");
        // It ran once and failed since, and another image took its place.
        assert_eq!(said(|s| s.failed = full().failed), "");
    }

    #[test]
    fn what_needs_a_person_says_so_in_a_line_with_the_command() {
        let failed = |s: &mut Status| {
            s.slots[1].state = SlotState::Failed;
            s.failed = full().failed;
            s.failed[0].version = Some("2026.11.2".into());
            s.slots[1].digest = Some(s.failed[0].digest);
        };
        let text = said(failed);
        let expected = "flipside: 2026.11.2 failed on this host (two trials were not promoted) and";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("`flipside history --log`"), "{text}");
        assert!(text.contains("`flipside retry sha256:"), "{text}");
        let text = said(|s| s.blocked = refused("hook-blocked", Severity::Block, 25));
        let expected = "flipside: an update is refused: no way [hook-blocked]; `flipside status`";
        assert!(text.starts_with(expected), "{text}");
        let text = said(|s| s.blocked = refused("policy-document-replayed", Severity::Defer, 0));
        let expected = "flipside: an update is refused: no way [policy-document-replayed]; ";
        assert!(text.starts_with(expected), "{text}");
        let text = said(|s| s.last_error = error("not-found", 73));
        assert!(text.starts_with("flipside: this host cannot update: gone [not-found]"), "{text}");
        assert!(!said(|s| s.last_error = error("esp-damaged", 0)).is_empty());
        let problem = Problem { code: "running-slot-unclear".into(), message: "both".into() };
        let text = said(|s| s.running.problem = Some(problem));
        assert!(text.starts_with("flipside: this host takes no updates: both;"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_failed_image_is_no_matter_where_the_tag_has_gone_back_to_what_runs() {
        let is = |result| {
            said(|s| {
                s.slots[1].state = SlotState::Failed;
                s.failed = full().failed;
                s.slots[1].digest = Some(s.failed[0].digest);
                s.last_check =
                    full().last_check.map(|check| super::super::status::Check { result, ..check });
            })
        };
        assert!(!is(CheckResult::Available).is_empty());
        assert_eq!(is(CheckResult::UpToDate), "");
    }

    #[test]
    fn the_end_of_life_is_told_from_thirty_days_before_it() {
        let ends_in = |days: i64| {
            said(|s| {
                s.end_of_life = full().end_of_life;
                if let Some(end) = &mut s.end_of_life {
                    end.time = before(-24 * days);
                }
            })
        };
        assert_eq!(ends_in(31), "");
        let text = ends_in(30);
        let expected =
            "flipside: support of 2026.11.1 ends on 2026-12-01 (in 4 weeks): move on to edge 3.\n";
        assert_eq!(text, expected);
        let text = ends_in(-1);
        assert!(text.contains(" ended on 2026-12-01 (24 h ago): move on"), "{text}");
    }

    #[test]
    fn a_reboot_is_asked_for_where_nobody_else_makes_it() {
        let mut status = calm();
        (status.state, status.reboot_required) = (State::Armed, true);
        let text = message(&status, false, before(0)).unwrap();
        assert_eq!(
            text,
            "flipside: 2026.11.2 is installed and waits for a reboot: `systemctl reboot`.\n"
        );
        assert_eq!(message(&status, true, before(0)), None);
        status.state = State::RollingBack;
        assert_eq!(
            message(&status, false, before(0)).unwrap(),
            "flipside: a rollback to 2026.11.2 waits for a reboot: `systemctl reboot`.\n"
        );
    }

    #[test]
    fn the_file_comes_changes_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let motd = Motd::of(&root);
        let path = root.path(PATH);
        motd.show(None);
        assert!(!root.path("/run").exists());
        for text in ["one\n", "two\n"] {
            motd.show(Some(text));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        motd.show(None);
        assert!(!path.exists());
    }
}
