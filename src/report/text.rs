// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status for people.

use jiff::Timestamp;

use super::ago::{ago, until};
use super::progress::{RunProgress, bytes};
use super::status::{
    CheckResult, CommandFailure, EndOfLife, SlotState, SlotStatus, State, Status, Withdrawn, cost,
};
use super::wrap::{short_digests, wrap};
use flipside_core::refusal::Severity;
use flipside_image::printable;

mod slots;

/// The most characters that are shown of what others chose.
const SHOWN: usize = 200;

/// Where texts begin, behind their labels.
const COLUMN: usize = 10;

/// What a piece of text says about the host.
#[derive(Debug, Clone, Copy)]
enum Tone {
    Plain,
    Good,
    Waiting,
    Bad,
    Faint,
}

impl Tone {
    /// ECMA-48, section 8.3.117 (SGR).
    fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            _ if !colour || text.is_empty() => return text.to_owned(),
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Waiting => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `status` as `flipside status` prints it, without a last line feed. Times are seen from
/// now; the rest of the text depends on `status` alone.
pub fn status_text(status: &Status, style: PageStyle) -> String {
    Page { status, now: Timestamp::now(), style, lines: Vec::new() }.write()
}

/// How the status is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageStyle {
    /// With colours.
    pub colour: bool,
    /// How many characters a line may have; `None` where nobody counts them.
    pub width: Option<usize>,
    /// With all boot entries, whole digests, and who signed what.
    pub verbose: bool,
}

struct Page<'a> {
    status: &'a Status,
    now: Timestamp,
    style: PageStyle,
    lines: Vec<String>,
}

impl Page<'_> {
    fn write(mut self) -> String {
        self.follows();
        self.signatures();
        self.firmware();
        self.slots();
        self.running();
        self.next();
        self.run();
        self.checked();
        self.end_of_life();
        self.hold();
        self.trouble();
        self.boots();
        self.lines.join("\n")
    }

    /// A label and what it says; labels are a column.
    fn line(&mut self, label: &str, text: &str) {
        let label = Tone::Faint.paint(&format!("{label:<9}"), self.style.colour);
        self.lines.push(format!("{label} {text}").trim_end().to_owned());
    }

    fn said(&mut self, label: &str, tone: Tone, text: &str) {
        let text = if self.style.verbose { text.to_owned() } else { short_digests(text) };
        let mut text = printable::line(&text, 2 * SHOWN);
        if let Some(width) = self.style.width {
            text = wrap(&text, width.saturating_sub(COLUMN), 0);
            text = text.replace('\n', &format!("\n{:COLUMN$}", ""));
        }
        let text = tone.paint(&text, self.style.colour);
        self.line(label, &text);
    }

    fn follows(&mut self) {
        match &self.status.follows {
            Some(image) => self.said("follows", Tone::Plain, image),
            None => self.said("follows", Tone::Plain, "nothing (track.image is not set)"),
        }
    }

    fn signatures(&mut self) {
        let signatures = &self.status.signatures;
        if self.status.follows.is_none() || signatures.mode.is_none() {
            return;
        }
        let (tone, text) = match &signatures.problem {
            Some(problem) => (
                Tone::Bad,
                format!("cannot be held to anything: {} [{}]", problem.message, problem.code),
            ),
            None if signatures.required => {
                (Tone::Good, format!("have to be signed by {}", signatures.keys.join(" or ")))
            }
            None if signatures.mode.as_deref() == Some("off") => {
                (Tone::Waiting, "need no signature (policy.signature.mode is \"off\")".to_owned())
            }
            None => (Tone::Waiting, "need no signature: this host has no key".to_owned()),
        };
        self.said("images", tone, &text);
    }

    fn firmware(&mut self) {
        let (tone, text) = match self.status.secure_boot.as_deref() {
            Some("on") => (Tone::Good, "Secure Boot is on: boot files are held against its keys"),
            Some("setup") => {
                (Tone::Waiting, "Secure Boot is in setup mode: no boot file is checked")
            }
            Some("off") => (Tone::Plain, "Secure Boot is off: no boot file is checked"),
            _ => return,
        };
        self.said("firmware", tone, text);
    }

    fn running(&mut self) {
        if let Some(problem) = &self.status.running.problem {
            let what = match self.status.running.slot {
                None => "unknown",
                Some(_) => "damaged",
            };
            let text = format!("{what}: {} [{}]", problem.message, problem.code);
            self.said("running", Tone::Bad, &text);
        }
    }

    fn next(&mut self) {
        if let Some((tone, text)) = self.next_step() {
            self.said("next", tone, &text);
        }
    }

    fn next_step(&self) -> Option<(Tone, String)> {
        let status = self.status;
        let other = status.running.slot.and_then(|slot| status.slot(slot.other()));
        if let Some(Withdrawn { slot, .. }) = status.withdrawn_next() {
            let text =
                format!("slot {slot} holds a withdrawn release; `flipside update` takes it back");
            return Some((Tone::Bad, text));
        }
        let held = |slot: &SlotStatus| {
            let version = slot.version.as_deref().unwrap_or("what");
            format!("{version} in slot {}", slot.slot)
        };
        let text = match (status.state, other) {
            (State::Writing, _) if status.progress.is_none() => {
                "an update was cut off; the next run finishes it".to_owned()
            }
            (State::Idle | State::Installed, Some(slot))
                if status.withdrawn(slot.slot).is_some() =>
            {
                format!("nothing: {} is withdrawn", held(slot))
            }
            (State::Idle, Some(slot)) if slot.state == SlotState::Superseded => {
                format!("nothing: {} does not boot any more", held(slot))
            }
            (State::Installed, _) => "the update is installed and waits to be armed".to_owned(),
            (State::Trial, _) if status.reboot_required => {
                "the trial, at the next boot by the firmware".to_owned()
            }
            (State::Trial, _) => "promote, or fall back at the next boot".to_owned(),
            (State::FellBack, Some(slot)) if !self.is_refused(slot) => {
                let version = slot.version.as_deref().unwrap_or("it");
                format!("the last trial fell back; the next run tries {version} once more")
            }
            (State::FellBack, _) => "nothing: the last trial fell back".to_owned(),
            (State::Armed, other) => self.reboot(
                &other
                    .map_or("reboot".to_owned(), |slot| format!("reboot into slot {}", slot.slot)),
            ),
            (State::RollingBack, other) => {
                self.reboot(&other.map_or("a rollback".to_owned(), |slot| {
                    format!("a rollback to {}", held(slot))
                }))
            }
            _ if status.reboot_required => "reboot".to_owned(),
            _ => return None,
        };
        Some((Tone::Waiting, text))
    }

    /// Whether what the slot holds is not tried again by itself.
    fn is_refused(&self, slot: &SlotStatus) -> bool {
        self.status.failed.iter().any(|failed| Some(failed.digest) == slot.digest)
    }

    /// What a reboot does, and when it comes as far as that is planned.
    fn reboot(&self, what: &str) -> String {
        let Some(next) = &self.status.next_reboot else { return what.to_owned() };
        let until = until(next.time, self.now);
        match &next.window {
            Some(window) => format!("{what} in the window {window} ({until})"),
            None => format!("{what} {until}"),
        }
    }

    fn run(&mut self) {
        if let Some(progress) = &self.status.progress {
            let text = run_text(progress);
            self.said("now", Tone::Waiting, &text);
        }
    }

    fn checked(&mut self) {
        let again = self.status.next_check.map(|time| until(time, self.now));
        let text = match (&self.status.last_check, again) {
            (None, None) => return,
            (None, Some(again)) => format!("not yet, next {again}"),
            (Some(check), again) => {
                let mut text = ago(check.time, self.now);
                if check.result == CheckResult::Failed {
                    text.push_str(", without an answer");
                }
                match again {
                    Some(again) => format!("{text}, again {again}"),
                    None => text,
                }
            }
        };
        self.said("checked", Tone::Plain, &text);
    }

    fn trouble(&mut self) {
        let status = self.status;
        if let Some(available) = &status.available {
            let version = available.version.as_deref().unwrap_or("an update");
            let mut text = format!("{version} ({})", available.digest.short());
            if let Some(download) = &available.download {
                text.push_str(&format!(": {}", cost(download)));
            }
            self.said("available", Tone::Plain, &text);
        }
        if let Some(blocked) = &status.blocked {
            let (label, tone) = match blocked.severity {
                Severity::Defer => ("deferred", Tone::Waiting),
                Severity::Block | Severity::Error => ("blocked", Tone::Bad),
            };
            let since = blocked
                .since
                .map(|since| format!(" ({})", ago(since, self.now)))
                .unwrap_or_default();
            self.said(label, tone, &format!("{} [{}]{since}", blocked.message, blocked.code));
        }
        if let Some(error) = &status.last_error {
            let since = ago(error.time, self.now);
            let text = format!("{} [{}] ({since})", error.message, error.code);
            self.said("error", Tone::Bad, &text);
        }
        if let Some(last) = &status.last_command {
            let CommandFailure { command, message, code, .. } = last;
            let tone = if last.severity == Severity::Defer { Tone::Waiting } else { Tone::Bad };
            self.said(command, tone, &format!("{message} [{code}] ({})", ago(last.time, self.now)));
        }
        for failed in &status.failed {
            let version =
                failed.version.as_ref().map(|version| format!("{version}, ")).unwrap_or_default();
            let text = format!("{version}{}: {}", failed.digest.short(), failed.reason);
            self.said("failed", Tone::Bad, &text);
        }
        if let Some(left) = &status.left_by_rollback {
            let text =
                format!("{}: not installed again until the tag names other content", left.short());
            self.said("left", Tone::Waiting, &text);
        }
    }

    fn hold(&mut self) {
        if let Some(hold) = &self.status.hold {
            let until = hold.until.map(|time| format!(", over {}", until(time, self.now)));
            let reason = hold.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let text = format!("automatic updates are held{}{reason}", until.unwrap_or_default());
            self.said("hold", Tone::Waiting, &text);
        }
    }

    fn end_of_life(&mut self) {
        let told = |end: &&EndOfLife| end.is_told(self.now);
        if let Some(end) = self.status.end_of_life.as_ref().filter(told) {
            let text = end.sentence(self.now);
            self.said("support", Tone::Waiting, &text);
        }
    }
}

fn run_text(progress: &RunProgress) -> String {
    let title = progress.phase.title();
    match &progress.payload {
        Some(payload) if progress.write_total > 0 => format!(
            "{title}: {payload}, {} of {} written",
            bytes(progress.written),
            bytes(progress.write_total)
        ),
        _ => title.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{NOW, before, full};
    use crate::report::status::{
        BootFile, NextReboot, Running, SignatureStatus, SlotState, VERSION,
    };
    use flipside_core::host::Slot;
    use flipside_image::Digest;

    fn page(status: &Status, style: PageStyle) -> String {
        let now = Timestamp::from_second(NOW).unwrap();
        Page { status, now, style, lines: Vec::new() }.write()
    }

    fn text(status: &Status) -> String {
        page(status, PageStyle::default())
    }

    fn calm() -> Status {
        Status {
            running: Running { slot: Some(Slot::A), ..Running::default() },
            available: None,
            blocked: None,
            last_error: None,
            last_command: None,
            failed: Vec::new(),
            left_by_rollback: None,
            hold: None,
            signatures: SignatureStatus {
                keys: vec!["release".into(), "vendor".into()],
                problem: None,
                ..full().signatures
            },
            end_of_life: None,
            withdrawn: Vec::new(),
            secure_boot: None,
            progress: None,
            ..full()
        }
    }

    #[test]
    fn an_armed_host() {
        let expected = "\
follows   registry.example.com/acme/edge:stable
images    have to be signed by release or vendor
slot A    2026.11.1   running, proven 3 weeks ago   sha256:1
slot B    2026.11.2   armed 2 h ago, boots once     sha256:2
next      reboot into slot B in the window Sat 22:00–24:00 Europe/Berlin (in 3 h)
checked   2 h ago, again in 19 h
boots     slot B once, then slot A (2 others)";
        let mut shown = text(&calm());
        for (slot, version) in [("1", "2026.11.1"), ("2", "2026.11.2")] {
            let short = Digest::of(version.as_bytes()).short();
            shown = shown.replace(&short, &format!("sha256:{slot}"));
        }
        assert_eq!(shown, expected);
        let all = page(&calm(), PageStyle { verbose: true, ..PageStyle::default() });
        assert!(all.ends_with("\nboots     slot B once, then slot A, slot B, UiApp"), "{all}");
        assert_eq!(all.matches(", signed by release\n").count(), 2, "{all}");
    }

    /// What stands before the first slot boots before it.
    #[test]
    fn others_that_boot_before_the_slots_are_named() {
        let mut status = calm();
        status.boot_next = None;
        status.boot_order.rotate_right(1);
        status.boot_order[1].active = false;
        assert!(text(&status).ends_with("\nboots     UiApp, slot A (off), slot B"));
        status.boot_order.truncate(1);
        assert!(text(&status).ends_with("\nboots     UiApp"));
    }

    #[test]
    fn on_a_terminal_no_line_is_longer_than_it() {
        let mut status = full();
        let long = format!("it failed here: `flipside retry {}` allows it", Digest::of(b"x"));
        for text in [&mut status.blocked.as_mut().unwrap().message, &mut status.failed[0].reason] {
            *text = long.clone();
        }
        let shown = page(&status, PageStyle { width: Some(80), ..PageStyle::default() });
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(shown.contains(&Digest::of(b"x").short()), "{shown}");
        let begins = |line: &str| line.starts_with(&" ".repeat(COLUMN));
        assert!(shown.lines().filter(|line| begins(line)).count() > 2, "{shown}");
    }

    #[test]
    fn it_says_whether_images_have_to_be_signed() {
        for (mode, required, line) in [
            ("auto", false, "images    need no signature: this host has no key"),
            ("off", false, "images    need no signature (policy.signature.mode is \"off\")"),
            ("require", true, "images    have to be signed by release or vendor"),
        ] {
            let mut status = calm();
            status.signatures.required = required;
            status.signatures.mode = Some(mode.to_owned());
            let shown = text(&status);
            assert!(shown.lines().any(|shown| shown == line), "{shown}");
        }
    }

    #[test]
    fn it_says_whether_secure_boot_is_on() {
        for (mode, line) in [
            (Some("on"), "firmware  Secure Boot is on: boot files are held against its keys"),
            (Some("setup"), "firmware  Secure Boot is in setup mode: no boot file is checked"),
            (Some("off"), "firmware  Secure Boot is off: no boot file is checked"),
            (Some("a later word"), ""),
            (None, ""),
        ] {
            let status = Status { secure_boot: mode.map(str::to_owned), ..calm() };
            let shown = text(&status);
            let found = shown.lines().find(|line| line.starts_with("firmware"));
            assert_eq!(found.unwrap_or_default(), line);
        }
    }

    #[test]
    fn the_next_reboot_is_said_as_far_as_it_is_planned() {
        let mut status = calm();
        let mut next = |next| {
            status.next_reboot = next;
            let shown = text(&status);
            let line = shown.lines().find_map(|line| line.strip_prefix("next      ")).unwrap();
            line.to_owned()
        };
        assert_eq!(next(None), "reboot into slot B");
        let time = Timestamp::from_second(NOW + 600).unwrap();
        let soon = next(Some(NextReboot { time, window: None }));
        assert_eq!(soon, "reboot into slot B in 10 min");
    }

    #[test]
    fn everything_that_is_wrong_is_said_with_its_code() {
        let shown = text(&full());
        for line in [
            "images    cannot be held to anything: m [signature-key-unusable]",
            "running   damaged: m [running-slot-damaged]",
            "deferred  hook 50-maintenance: until 18:00 [hook-deferred] (60 min ago)",
            "error     the tag does not exist [not-found] (26 h ago)",
            "rollback  slot B holds nothing that has booted to success [slot-not-proven] (3 h ago)",
            "now       writing",
            "support   ends on 2026-12-01 (in 12 days): move on to edge 3",
            "hold      automatic updates are held, over in 2 days: a trade fair",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        for label in ["available ", "failed ", "left "] {
            assert!(shown.lines().any(|line| line.starts_with(label)), "{label}");
        }
        let mut unknown = full();
        unknown.running.slot = None;
        let line = "running   unknown: m [running-slot-damaged]";
        assert!(text(&unknown).lines().any(|shown| shown == line));
    }

    #[test]
    fn a_host_that_follows_nothing_is_one_line() {
        let status = Status::unknown(before(0));
        assert_eq!(text(&status), "follows   nothing (track.image is not set)");
        assert_eq!(status.version, VERSION);
    }

    #[test]
    fn an_entry_without_a_name_is_called_by_its_number() {
        let mut status = calm();
        status.boot_order[2].description = " \u{202e}".into();
        status.boot_order[2].active = false;
        let shown = page(&status, PageStyle { verbose: true, ..PageStyle::default() });
        assert!(shown.ends_with(", entry 0000 (off)"), "{shown}");
    }

    #[test]
    fn a_slot_that_should_boot_and_cannot_is_seen() {
        let mut status = calm();
        status.slots[0].boot_file = BootFile::Absent;
        status.slots[1].state = SlotState::Writing;
        status.slots[1].boot_file = BootFile::Unbootable;
        let shown = text(&status);
        assert!(shown.contains("running, proven 3 weeks ago, no boot file "), "{shown}");
        assert!(shown.contains("written in part, does not boot "), "{shown}");
    }

    #[test]
    fn colours_change_nothing_but_colours_and_nobody_else_brings_them() {
        let mut status = full();
        status.slots[1].version = Some("2\x1b[31m\n\u{202e}".into());
        status.boot_order[2].description = "Ui\x1b]0;App\x07".into();
        let painted = page(&status, PageStyle { colour: true, ..PageStyle::default() });
        let mut bare = String::new();
        for (at, piece) in painted.split("\x1b[").enumerate() {
            bare.push_str(if at == 0 { piece } else { piece.split_once('m').unwrap().1 });
        }
        let bare: Vec<&str> = bare.lines().map(str::trim_end).collect();
        let plain = text(&status);
        assert!(!plain.contains('\x1b'));
        assert_eq!(bare, plain.lines().collect::<Vec<_>>());
        assert_ne!(painted, plain);
    }
}
