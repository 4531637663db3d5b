// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status of a host: the one document that `flipside status`, the file in `/run`
//! and D-Bus show. `docs/status.md` describes every field.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::progress::RunProgress;
use flipside_core::host::Slot;
use flipside_core::refusal::Severity;
use flipside_image::Digest;

mod slots;
mod updates;

pub use slots::{BootEntry, BootFile, BootTarget, SlotState, SlotStatus};
pub use updates::{
    Available, Blocked, Check, CheckResult, CommandFailure, EndOfLife, Failed, Failure, HoldStatus,
    NextReboot, PolicyStatus, RuleStatus, SignatureStatus, Withdrawn, cost,
};

/// Version of the document; grows only where a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// What a host runs, follows and waits for. Fields without a value are `null`, never absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When this was found out.
    pub time: Timestamp,
    /// The machine.
    pub host: Machine,
    /// What is followed (`track.image`); `None` where nothing is.
    pub follows: Option<String>,
    /// Where the host stands between two systems.
    pub state: State,
    /// The running slot, and how it is known.
    pub running: Running,
    /// Slot A, then slot B; empty where the host has no slots.
    pub slots: Vec<SlotStatus>,
    /// What the tag pointed to at the last check, where that is not installed.
    pub available: Option<Available>,
    /// Why the update on offer is not made.
    pub blocked: Option<Blocked>,
    /// What the rules said about it when they were asked last, in their order.
    #[serde(default)]
    pub policy: Option<PolicyStatus>,
    /// Whether images have to be signed, and by whom.
    #[serde(default)]
    pub signatures: SignatureStatus,
    /// Whether the firmware asks for signatures of boot files: `on`, `setup` or `off`; `None` where it
    /// says nothing about that.
    #[serde(default)]
    pub secure_boot: Option<String>,
    /// The last look at the source.
    pub last_check: Option<Check>,
    /// When the timer looks again.
    pub next_check: Option<Timestamp>,
    /// The last error, until a run succeeds.
    pub last_error: Option<Failure>,
    /// What the last command met that makes no update, until the same one succeeds.
    #[serde(default)]
    pub last_command: Option<CommandFailure>,
    /// Digests that are not tried again by themselves (P7).
    pub failed: Vec<Failed>,
    /// The digest that a rollback left: not installed again until the tag names other content.
    pub left_by_rollback: Option<Digest>,
    /// What slots hold although its publisher withdrew it.
    #[serde(default)]
    pub withdrawn: Vec<Withdrawn>,
    /// That automatic updates are paused, and until when.
    #[serde(default)]
    pub hold: Option<HoldStatus>,
    /// Until when the running system is cared for, where its image says so.
    #[serde(default)]
    pub end_of_life: Option<EndOfLife>,
    /// The firmware's boot order, first to last.
    pub boot_order: Vec<BootEntry>,
    /// The entry that boots once at the next boot (`BootNext`): four hex digits.
    pub boot_next: Option<String>,
    /// Whether a reboot is needed for what is installed to run, or to be tried after kexec.
    pub reboot_required: bool,
    /// When flipside or somebody else reboots, where that is known.
    pub next_reboot: Option<NextReboot>,
    /// How far the present run is; `None` while none runs.
    pub progress: Option<RunProgress>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Its host name.
    pub name: Option<String>,
    /// What it is (`x86_64`, `aarch64`), and so which images suit it.
    pub architecture: Option<String>,
}

/// Where a host stands between two systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The running system is proven, and nothing is under way.
    Idle,
    /// An update is being written.
    Writing,
    /// An update is written, and does not boot by itself yet.
    Installed,
    /// The other slot boots once at the next boot.
    Armed,
    /// The other slot boots once at the next boot, because a person goes back to it.
    RollingBack,
    /// The running system has not proved itself yet.
    Trial,
    /// The last trial was not promoted, and the old system runs again.
    FellBack,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// The running slot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Running {
    /// The slot; `None` where it cannot be told.
    pub slot: Option<Slot>,
    /// The facts that say so, the strongest first, each a sentence.
    pub evidence: Vec<String>,
    /// Why it cannot be told, or, where it can, what keeps it from booting again.
    pub problem: Option<Problem>,
}

/// Something that is wrong, with its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
}

impl Status {
    /// A host of which nothing is known at `time`.
    pub fn unknown(time: Timestamp) -> Self {
        Self {
            version: VERSION,
            time,
            host: Machine::default(),
            follows: None,
            state: State::Unknown,
            running: Running::default(),
            slots: Vec::new(),
            available: None,
            blocked: None,
            policy: None,
            signatures: SignatureStatus::default(),
            secure_boot: None,
            last_check: None,
            next_check: None,
            last_error: None,
            last_command: None,
            failed: Vec::new(),
            left_by_rollback: None,
            withdrawn: Vec::new(),
            hold: None,
            end_of_life: None,
            boot_order: Vec::new(),
            boot_next: None,
            reboot_required: false,
            next_reboot: None,
            progress: None,
        }
    }

    /// A run writes `version` into `slot`, which holds nothing whole from now on.
    pub fn begin_writing(&mut self, slot: Slot, version: &str) {
        self.state = State::Writing;
        for written in self.slots.iter_mut().filter(|status| status.slot == slot) {
            (written.state, written.boot_file) = (SlotState::Writing, BootFile::Absent);
            written.version = Some(version.to_owned());
            (written.digest, written.signed_by, written.since) = (None, None, None);
        }
        self.withdrawn.retain(|withdrawn| withdrawn.slot != slot);
        (self.boot_next, self.reboot_required) = (None, false);
    }

    /// A command that makes no update ended: with `failure`, or well, and then what it met before is
    /// over.
    pub fn note_command(&mut self, command: &str, failure: Option<CommandFailure>) {
        match failure {
            Some(failure) => self.last_command = Some(failure),
            None => drop(self.last_command.take_if(|last| last.command == command)),
        }
    }

    /// Notes what is followed. What was found elsewhere says nothing about this.
    pub fn follow(&mut self, image: Option<&str>) {
        if self.follows.as_deref().is_some_and(|before| Some(before) != image) {
            (self.available, self.blocked) = (None, None);
            (self.policy, self.last_check) = (None, None);
            self.withdrawn.clear();
        }
        self.follows = image.map(str::to_owned);
    }

    /// A run ended with a refusal or an error; the same one as before keeps its beginning.
    pub fn note(&mut self, severity: Severity, code: String, message: String, time: Timestamp) {
        if severity == Severity::Error {
            let before = self.last_error.as_ref().filter(|before| before.code == code);
            let since = before.and_then(|before| before.since).or(Some(time));
            self.last_error = Some(Failure { code, message, time, since });
        } else {
            let before = self.blocked.as_ref().filter(|before| before.code == code);
            let since = before.and_then(|before| before.since).or(Some(time));
            self.blocked = Some(Blocked { severity, code, message, since });
        }
    }

    /// What boots next although its publisher withdrew it.
    pub fn withdrawn_next(&self) -> Option<&Withdrawn> {
        let next = self.running.slot.filter(|_| self.state == State::Armed)?.other();
        self.withdrawn(next)
    }

    /// Why what `slot` holds was withdrawn, where it was.
    pub fn withdrawn(&self, slot: Slot) -> Option<&Withdrawn> {
        self.withdrawn.iter().find(|withdrawn| withdrawn.slot == slot)
    }

    /// The status of `slot`, where the host has slots.
    pub fn slot(&self, slot: Slot) -> Option<&SlotStatus> {
        self.slots.iter().find(|status| status.slot == slot)
    }
}
