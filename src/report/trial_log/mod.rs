// SPDX-License-Identifier: MIT OR Apache-2.0

//! What trials left that were not promoted: the end of their journals and the kernel's last
//! words, kept where the old slot can show them (`flipside history --log`). The trial keeps
//! its own before it reboots by itself; the old slot keeps what the persistent journal has.
//!
//! A record for people (P8): nothing depends on it, and nothing stops where it cannot be kept.

mod file;
mod journalctl;
mod pstore;

pub use file::{Kept, KeptLogs};

use jiff::Timestamp;

use flipside_core::host::{Files, Root, Slot};
use flipside_image::Digest;

/// The most bytes of a log.
const LIMIT: usize = 256 << 10;
/// Of these, for the kernel's last words.
const PSTORE_LIMIT: usize = 64 << 10;
/// How many logs are kept; the oldest makes room.
const COUNT: usize = 4;

/// Which trial it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial<'a> {
    /// The image.
    pub digest: Digest,
    /// Its version.
    pub version: &'a str,
    /// The slot that it was tried in.
    pub slot: Slot,
    /// Why it was not promoted, in a sentence.
    pub reason: &'a str,
}

/// When a trial was armed, and in which boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arming {
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When, by this host's clock.
    pub time: Timestamp,
}

/// Keeps the journal of this boot, a trial that is about to end. Returns whether it did.
pub fn keep_own(root: &Root, files: &Files, trial: &Trial<'_>, boot_id: &str) -> bool {
    let text = journalctl::of_this_boot(root, boot_id, LIMIT);
    text.is_some_and(|text| KeptLogs::of(root).keep(files, trial, Some(boot_id), &text))
}

/// Keeps what the last trial left, seen from the old slot in `this_boot`. Returns whether there
/// was anything to keep; where there is not, nothing is written.
pub fn keep(
    root: &Root,
    files: &Files,
    trial: &Trial<'_>,
    arming: Option<&Arming>,
    this_boot: &str,
) -> bool {
    let logs = KeptLogs::of(root);
    let (mut boot_id, mut text) = (None, Vec::new());
    if let Some((id, journal)) = journalctl::of_trial(root, arming, this_boot, LIMIT) {
        (boot_id, text) = (Some(id), journal);
    } else if let Some(own) = logs.find(&trial.digest.to_string()).ok().flatten()
        && arming.is_some_and(|arming| own.kept > arming.time)
    {
        // What the trial kept itself is better than nothing.
        (boot_id, text) = (own.boot_id, own.text.into_bytes());
    }
    let last_words =
        arming.map(|arming| pstore::since(root, arming.time, PSTORE_LIMIT)).unwrap_or_default();
    let has_journal = !text.is_empty();
    if !last_words.is_empty() {
        text.drain(..(text.len() + PSTORE_LIMIT).saturating_sub(LIMIT).min(text.len()));
        text.extend_from_slice(b"\n-- the kernel's last words (pstore)\n");
        text.extend_from_slice(&last_words);
    } else if !has_journal {
        return false;
    }
    logs.keep(files, trial, boot_id.as_deref(), &text)
}
