// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status of a host: the one document that `flipside status`, the file in `/run`
//! and D-Bus show. `docs/status.md` describes every field.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ago::{ago, until};
use super::progress::Phase;
use crate::host::Slot;
use crate::image::Digest;
use crate::printable;
use crate::refusal::Severity;

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
    /// The last look at the source.
    pub last_check: Option<Check>,
    /// When the timer looks again.
    pub next_check: Option<Timestamp>,
    /// The last error, until a run succeeds.
    pub last_error: Option<Failure>,
    /// Digests that are not tried again by themselves (P7).
    pub failed: Vec<Failed>,
    /// The digest that a rollback left: not installed again until the tag moves.
    pub held: Option<Digest>,
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
    /// Why it cannot be told.
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

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Which.
    pub slot: Slot,
    /// Whether it is the running one.
    pub running: bool,
    /// The version of the OS in it.
    pub version: Option<String>,
    /// The digest of the image in it; `None` on a host that flipside did not install.
    pub digest: Option<Digest>,
    /// The key that it was signed with, where signatures were required when it was installed.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// What it is good for.
    pub state: SlotState,
    /// Since when it is in that state, where that is recorded.
    pub since: Option<Timestamp>,
    /// Its boot file on the ESP.
    pub boot_file: BootFile,
    /// Whether the loader on the ESP has an entry for it; `None` where it cannot be told.
    pub loader_entry: Option<bool>,
    /// Its entry in the firmware: four hex digits; `None` where there is none.
    pub boot_entry: Option<String>,
}

/// What a slot is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// Nothing is in it.
    Empty,
    /// It is being written, or a run that wrote it was cut off.
    Writing,
    /// It is whole, and has not booted yet.
    Installed,
    /// It boots once at the next boot.
    Armed,
    /// It runs, and has not proved itself yet.
    Trial,
    /// It has booted to success.
    Proven,
    /// What is in it failed its trial.
    Failed,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// A slot's boot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootFile {
    /// There is none.
    Absent,
    /// There is one without a valid first sector: it cannot boot (P2).
    Unbootable,
    /// There is one.
    Bootable,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// An update on offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// Its version; `None` where it was not looked up.
    pub version: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

/// Why an update is not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// `defer`: tried again by itself; `block`: refused until something changes.
    pub severity: Severity,
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// What the rules said about the update on offer (`docs/policy.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// When they were asked.
    pub time: Timestamp,
    /// What each said that was asked, in their order.
    pub rulings: Vec<RulingStatus>,
}

/// A pause of automatic updates (`flipside hold`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Until when; `None`: until somebody lifts it.
    pub until: Option<Timestamp>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// The end of the running system's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOfLife {
    /// When; a day is its midnight on this host.
    pub time: Timestamp,
    /// The same for people.
    pub day: String,
    /// What the image tells people; may be empty.
    pub text: String,
}

/// What one rule saw and said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulingStatus {
    /// Its name.
    pub rule: String,
    /// What it went by.
    pub saw: String,
    /// `allow`, `defer` or `block`.
    pub decision: String,
    /// The stable code, where it does not allow.
    pub code: Option<String>,
    /// One sentence, where it does not allow.
    pub reason: Option<String>,
}

/// Whether images have to be signed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SignatureStatus {
    /// `policy.signature.mode`: `auto`, `require` or `off`.
    pub mode: String,
    /// Whether an image without a valid signature is refused.
    pub required: bool,
    /// The names of the keys of which any suffices.
    pub keys: Vec<String>,
    /// Why it cannot be told: nothing is installed before that is put right.
    pub problem: Option<Problem>,
}

/// A reboot to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextReboot {
    /// When this host's turn is.
    pub time: Timestamp,
    /// The window that it lies in, such as `Sat 22:00–24:00 Europe/Berlin`; `None` for a
    /// reboot that only waits for people who are logged in.
    pub window: Option<String>,
}

/// A look at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// When.
    pub time: Timestamp,
    /// What it came to.
    pub result: CheckResult,
}

/// What a look at the source came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// The tag points to what runs or is installed.
    UpToDate,
    /// The tag points to something else.
    Available,
    /// The source did not say.
    Failed,
}

/// An error that ended a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// When.
    pub time: Timestamp,
    /// Since when it is the same one.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

/// A digest that failed (P7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The digest.
    pub digest: Digest,
    /// Its version, where it is known.
    pub version: Option<String>,
    /// Why it counts as failed; one sentence.
    pub reason: String,
    /// How many of its trials were started and never promoted.
    pub attempts: u32,
}

/// A firmware boot entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// Its number: four hex digits; the name of its file, where the loader has the entries.
    pub number: String,
    /// What the firmware calls it.
    pub description: String,
    /// What it boots.
    pub what: BootTarget,
    /// Whether the firmware may boot it (the attribute `LOAD_OPTION_ACTIVE`).
    pub active: bool,
}

/// What a boot entry boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootTarget {
    /// Slot A.
    SlotA,
    /// Slot B.
    SlotB,
    /// The removable-media loader on this host's ESP.
    Removable,
    /// Something that is not flipside's.
    Foreign,
    /// Nothing: `BootOrder` lists a number without an entry.
    Missing,
}

/// How far a run is. Byte counts are sums over the payloads so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// What it is doing.
    pub phase: Phase,
    /// The payload that it is at.
    pub payload: Option<String>,
    /// Compressed bytes that came in.
    pub fetched: u64,
    /// Compressed bytes that have to come in.
    pub fetch_total: u64,
    /// Bytes that were verified and written.
    pub written: u64,
    /// Bytes that have to be written.
    pub write_total: u64,
    /// Bytes that were read back.
    pub read_back: u64,
    /// Bytes that have to be read back.
    #[serde(default)]
    pub read_back_total: u64,
}

impl RunProgress {
    /// The beginning of a phase.
    pub fn at(phase: Phase) -> Self {
        Self {
            phase,
            payload: None,
            fetched: 0,
            fetch_total: 0,
            written: 0,
            write_total: 0,
            read_back: 0,
            read_back_total: 0,
        }
    }

    /// How much the present phase has done and has to do, in bytes; `None` where bytes
    /// are no measure of it.
    pub fn share(&self) -> Option<(u64, u64)> {
        match self.phase {
            Phase::Writing => Some((self.written, self.write_total)),
            Phase::ReadingBack => Some((self.read_back, self.read_back_total)),
            _ => None,
        }
    }
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
            last_check: None,
            next_check: None,
            last_error: None,
            failed: Vec::new(),
            held: None,
            hold: None,
            end_of_life: None,
            boot_order: Vec::new(),
            boot_next: None,
            reboot_required: false,
            next_reboot: None,
            progress: None,
        }
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

    /// The status of `slot`, where the host has slots.
    pub fn slot(&self, slot: Slot) -> Option<&SlotStatus> {
        self.slots.iter().find(|status| status.slot == slot)
    }
}

impl EndOfLife {
    /// For people at `now`, without what ends: `ends on 2027-06-30 (in 12 days): move on`.
    pub fn sentence(&self, now: Timestamp) -> String {
        let (word, when) = match self.time > now {
            true => ("ends", until(self.time, now)),
            false => ("ended", ago(self.time, now)),
        };
        let text = printable::line(&self.text, 200);
        let text = if text.is_empty() { text } else { format!(": {text}") };
        format!("{word} on {} ({when}){text}", self.day)
    }
}
