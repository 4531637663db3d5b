// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each transition of a host, told to people: the history, the system's journal (P11), and the
//! logs of trials. Nothing depends on it (P8).

use flipside_core::state::journal::{self, State};
use flipside_core::state::transition::{Held, Reason};
use flipside_core::state::{Observer, Transition};
use jiff::Timestamp;

use crate::codes;
use crate::report::history::{self, Happening, HistoryFile};
use crate::report::journal::{Entry, Kind};
use crate::report::trial_log::{self, Arming, Trial};
use flipside_core::host::{Files, Root};
use flipside_image::code::Code;

/// Tells people of this host.
#[derive(Debug, Clone)]
pub struct Teller {
    root: Root,
    files: Files,
}

impl Teller {
    /// Of the host below `root`.
    pub fn new(root: &Root, files: Files) -> Self {
        Self { root: root.clone(), files }
    }

    fn superseded(&self, held: &Held<'_>, reason: &Reason) {
        let Held { slot, version, .. } = held;
        let (code, message) = match reason {
            Reason::TagMoved => (
                None,
                format!("the tag has moved: {version} in slot {slot} does not boot any more"),
            ),
            Reason::Withdrawn(reason) => (
                Some(codes::RELEASE_WITHDRAWN),
                format!(
                    "{version} in slot {slot} was withdrawn and does not boot any more: {reason}"
                ),
            ),
        };
        let told = entry(Kind::Superseded, held, message.clone());
        match code {
            Some(code) => told.code(code).send(),
            None => told.send(),
        }
        self.note(Happening::Superseded, held, code, message);
    }

    fn promotion_restored(&self, held: &Held<'_>) {
        let Held { slot, version, .. } = held;
        let message = format!(
            "the firmware undid the promotion of {version} in slot {slot}; it boots before slot {} \
             again from the next boot on",
            slot.other()
        );
        let code = codes::PROMOTION_LOST;
        entry(Kind::PromotionLost, held, message.clone()).code(code).send();
        self.note(Happening::Repaired, held, Some(code), message);
    }

    /// An entry about what happens now.
    fn entry(&self, event: Happening, message: String) -> history::Entry {
        let boot_id = Some(journal::boot_id(&self.root));
        let (time, slot, version, digest) = (Timestamp::now(), None, None, None);
        history::Entry { time, boot_id, event, slot, version, digest, code: None, message }
    }

    fn note(&self, event: Happening, held: &Held<'_>, code: Option<Code>, message: String) {
        self.append(&history::Entry {
            slot: Some(held.slot),
            version: Some(held.version.to_owned()),
            digest: held.digest,
            code: code.map(|code| code.to_string()),
            ..self.entry(event, message)
        });
    }

    /// The history is for people: losing a line of it stops nothing.
    fn append(&self, entry: &history::Entry) {
        if let Err(error) = HistoryFile::of(&self.root).append(&self.files, entry) {
            tracing::warn!("{error}");
        }
    }
}

impl Observer for Teller {
    fn transition(&self, transition: &Transition<'_>) {
        match *transition {
            Transition::Noted(entry) => {
                if let Some(entry) = history_entry(entry) {
                    self.append(&entry);
                }
            }
            Transition::FellBack { trial, running, failed } => {
                fell_back(trial, running);
                if failed {
                    digest_failed(trial);
                }
            }
            Transition::TrialOver { trial, reason, arming, boot_id } => {
                let arming = arming.map(|e| Arming { boot_id: e.boot_id.clone(), time: e.time });
                if let Some(trial) = trial_of(trial, reason) {
                    let (root, files) = (&self.root, &self.files);
                    trial_log::keep(root, files, &trial, arming.as_ref(), boot_id);
                }
            }
            Transition::TrialFailed { trial, reason } => {
                digest_failed(trial);
                let Held { slot, version, .. } = trial;
                let message = format!("{version} in slot {slot} failed its trial: {reason}");
                self.note(Happening::Failed, trial, Some(codes::DIGEST_FAILED), message);
            }
            Transition::TrialEnds { trial, reason, boot_id } => {
                if let Some(trial) = trial_of(trial, reason) {
                    trial_log::keep_own(&self.root, &self.files, &trial, boot_id);
                }
            }
            Transition::Adopted(held) => {
                let message = format!(
                    "slot {} runs {} under another manifest: no slot was written",
                    held.slot, held.version
                );
                self.note(Happening::Adopted, held, None, message);
            }
            Transition::RetryAllowed(digest) => {
                let message = format!("{} may be installed again", digest.short());
                Entry::new(Kind::RetryAllowed, &message).digest(*digest).send();
                let entry = self.entry(Happening::RetryAllowed, message);
                self.append(&history::Entry { digest: Some(*digest), ..entry });
            }
            Transition::Armed(held) => armed(held),
            Transition::Superseded(held, reason) => self.superseded(held, reason),
            Transition::Promoted(held) => promoted(held),
            Transition::RolledBack(held) => rolled_back(held),
            Transition::PromotionRestored(held) => self.promotion_restored(held),
            Transition::RollbackArmed(held) => rollback_armed(held),
        }
    }
}

/// A log without a digest could not be found again.
fn trial_of<'a>(held: &Held<'a>, reason: &'a str) -> Option<Trial<'a>> {
    let Held { slot, digest, version } = *held;
    Some(Trial { digest: digest?, version, slot, reason })
}

/// A slot, and what is in it.
fn entry(kind: Kind, held: &Held<'_>, message: String) -> Entry {
    Entry::new(kind, message).slot(held.slot).version(held.version).digest(held.digest)
}

fn armed(held: &Held<'_>) {
    let Held { slot, version, .. } = held;
    let message = format!("{version} is whole in slot {slot} and boots once at the next boot");
    entry(Kind::Armed, held, message).send();
}

fn promoted(held: &Held<'_>) {
    let Held { slot, version, .. } = held;
    let message = format!(
        "{version} in slot {slot} has proved itself and boots before slot {} from now on",
        slot.other()
    );
    entry(Kind::Promoted, held, message).send();
}

fn rolled_back(held: &Held<'_>) {
    let Held { slot, version, .. } = held;
    let message =
        format!("rolled back: {version} in slot {slot} boots before slot {} again", slot.other());
    entry(Kind::RolledBack, held, message).send();
}

fn rollback_armed(held: &Held<'_>) {
    let Held { slot, version, .. } = held;
    let message = format!("back to {version} in slot {slot} at the next boot");
    entry(Kind::RollbackArmed, held, message).send();
}

fn fell_back(trial: &Held<'_>, running: &Held<'_>) {
    let message = format!(
        "{} in slot {} was started and never promoted: slot {} with {} runs",
        trial.version, trial.slot, running.slot, running.version,
    );
    entry(Kind::FellBack, trial, message).send();
}

/// P7: it is not tried again by itself.
fn digest_failed(trial: &Held<'_>) {
    let Some(digest) = trial.digest else { return };
    let message = format!(
        "{} ({}) failed on this host and is not tried again by itself; \
         `flipside retry {digest}` allows it",
        trial.version,
        digest.short()
    );
    entry(Kind::DigestFailed, trial, message).code(codes::DIGEST_FAILED).send();
}

fn history_entry(entry: &journal::Entry) -> Option<history::Entry> {
    let journal::Entry { slot, version, .. } = entry;
    let (event, message) = match entry.state {
        State::Arming => (Happening::Installed, format!("{version} is whole in slot {slot}")),
        State::Writing => (Happening::Writing, format!("{version} is written to slot {slot}")),
        State::Armed | State::Returning => {
            (Happening::Armed, format!("{version} in slot {slot} boots once at the next boot"))
        }
        State::RollingBack => {
            (Happening::RolledBack, format!("back to {version} in slot {slot} at the next boot"))
        }
        // Told with its reason (`Transition::Superseded`).
        State::Superseded => return None,
        State::FellBack => (
            Happening::FellBack,
            format!("{version} in slot {slot} was started and never promoted"),
        ),
        State::Promoted => (Happening::Promoted, format!("{version} in slot {slot} is proven")),
    };
    Some(history::Entry {
        time: entry.time,
        boot_id: Some(entry.boot_id.clone()),
        event,
        slot: Some(*slot),
        version: Some(version.clone()),
        digest: entry.digest,
        code: None,
        message,
    })
}
