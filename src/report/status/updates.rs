// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts of the status: the update on offer, what keeps it back, what came of others.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::report::ago::{ago, until};
use crate::report::progress::bytes;
use flipside_core::host::Slot;
use flipside_core::refusal::Severity;
use flipside_image::Digest;
use flipside_image::delta::Download;
use flipside_image::printable;

/// From how long before the end of life on people are told, in seconds.
const TOLD_BEFORE: i64 = 30 * 86_400;

/// An update on offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// Its version; `None` where it was not looked up.
    pub version: Option<String>,
    /// Its digest.
    pub digest: Digest,
    /// What it costs; `None` where that was not looked up.
    #[serde(default)]
    pub download: Option<Download>,
}

/// For people: `14.5 MiB to download (delta from 2.1; 184 MiB in full)`.
pub fn cost(download: &Download) -> String {
    let (cost, full) = (bytes(download.bytes), bytes(download.full));
    match &download.delta_from {
        Some(version) => {
            let version = printable::line(version, 80);
            format!("{cost} to download (delta from {version}; {full} in full)")
        }
        None if download.bytes < download.full => format!("{cost} to download ({full} in full)"),
        None => format!("{cost} to download"),
    }
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
    pub rules: Vec<RuleStatus>,
}

/// What one rule saw and said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Its name.
    pub rule: String,
    /// What it went by.
    pub observed: String,
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
    /// `policy.signature.mode`: `auto`, `require` or `off`; `None` where nothing is known yet.
    pub mode: Option<String>,
    /// Whether an image without a valid signature is refused.
    pub required: bool,
    /// The names of the keys of which any suffices.
    pub keys: Vec<String>,
    /// Why it cannot be told: nothing is installed before that is put right.
    pub problem: Option<Problem>,
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

/// What a command met that makes no update: `flipside rollback`, `retry` or `reboot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFailure {
    /// The command.
    pub command: String,
    /// How bad it is.
    pub severity: Severity,
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// When.
    pub time: Timestamp,
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

/// A release that a slot holds although its publisher withdrew it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The slot.
    pub slot: Slot,
    /// The version in it.
    pub version: String,
    /// The digest of what it holds; `None` where that is not known.
    pub digest: Option<Digest>,
    /// The publisher's reason.
    pub reason: String,
}

/// A pause of automatic updates (`flipside hold`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Until when; `None`: until somebody lifts it.
    pub until: Option<Timestamp>,
    /// Why, for people.
    pub reason: Option<String>,
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

impl EndOfLife {
    /// Whether people are to be told at `now`.
    pub fn is_told(&self, now: Timestamp) -> bool {
        self.time.as_second().saturating_sub(now.as_second()) <= TOLD_BEFORE
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_an_update_is_said_with_what_it_would_be_in_full() {
        let cost = |bytes, full, delta_from: Option<&str>| {
            cost(&Download { bytes, full, delta_from: delta_from.map(str::to_owned) })
        };
        let full = 184 << 20;
        let delta = "14.5 MiB to download (delta from 2.1; 184.0 MiB in full)";
        assert_eq!(cost(15_204_352, full, Some("2.1")), delta);
        assert_eq!(cost(0, full, None), "0 B to download (184.0 MiB in full)");
        assert_eq!(cost(full, full, None), "184.0 MiB to download");
    }

    #[test]
    fn people_are_told_from_thirty_days_before_the_end_and_after_it() {
        let time = "2027-06-30T00:00Z".parse().unwrap();
        let end = EndOfLife { time, day: "2027-06-30".to_owned(), text: String::new() };
        for (now, told) in [
            ("2027-05-30T23:59:59Z", false),
            ("2027-05-31T00:00:00Z", true),
            ("2027-06-30T00:00:00Z", true),
            ("2031-01-01T00:00:00Z", true),
        ] {
            assert_eq!(end.is_told(now.parse().unwrap()), told, "{now}");
        }
    }
}
