// SPDX-License-Identifier: MIT OR Apache-2.0

//! The journal: what flipside did last, in `state.json`. It explains, and tells an
//! armed slot from one that was only installed; nothing needs it to be safe (P8).

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use flipside_image::code::{Code, Coded};
use flipside_image::unknown_fields::Extensible;
use flipside_image::{CONFIG_LIMIT, Digest};

use crate::codes;
use crate::host::Root;
use crate::host::durable::Durable;
use crate::host::open::read_at_most;
use crate::slot::Slot;
use crate::state::adopted::Adopted;

/// The state directory. It must not lie inside a slot.
pub const STATE_DIRECTORY: &str = "/var/lib/flipside";
const STATE_FILE: &str = "state.json";
const ADOPTED_FILE: &str = "adopted.json";
/// More than any journal has, in bytes; what is larger is no journal.
const LIMIT: u64 = 64 << 10;

/// Where the last transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The target is being written; it cannot boot.
    Writing,
    /// `BootNext` is about to name the target. A cut here is not taken for a trial.
    Arming,
    /// `BootNext` names the new OS.
    Armed,
    /// The same, for an OS that had its proof already.
    Returning,
    /// `BootNext` is about to name, or names, the old OS, because a person wants it.
    RollingBack,
    /// What was armed does not boot any more: the tag moved, or its publisher withdrew it.
    Superseded,
    /// The trial was never promoted.
    FellBack,
    /// The slot has proved itself: nothing is under way.
    Promoted,
}

/// The one entry of the journal: the last transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format of this file: 1.
    pub format: u32,
    /// What was reached.
    pub state: State,
    /// The slot that it is about.
    pub slot: Slot,
    /// What the slot holds, or is to hold.
    pub digest: Option<Digest>,
    /// Its version.
    pub version: String,
    /// The boot in which it happened (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When it happened, by this host's clock.
    pub time: Timestamp,
}

/// The state directory does not take what has to be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write state to {}: {source}", path.display())]
pub struct JournalError {
    /// The file or directory.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

impl Coded for JournalError {
    fn code(&self) -> Code {
        match self.source.kind() {
            io::ErrorKind::StorageFull => codes::STATE_FULL,
            _ => codes::STATE_UNWRITABLE,
        }
    }
}

/// The state directory's files.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
    durable: Durable,
}

impl Journal {
    /// The journal of the host below `root`.
    pub(crate) fn new(root: &Root, durable: &Durable) -> Self {
        Self { directory: root.path(STATE_DIRECTORY), durable: durable.clone() }
    }

    /// The last entry. A journal that is absent or cannot be understood is `None`:
    /// either way nothing is known, and nothing depends on it.
    pub fn read(&self) -> Option<Entry> {
        self.read_whole().map(|entry| entry.known)
    }

    fn read_whole(&self) -> Option<Extensible<Entry>> {
        let path = self.directory.join(STATE_FILE);
        let bytes = read_at_most(&path, LIMIT).ok()?;
        let entry: Extensible<Entry> = serde_json::from_slice(&bytes).ok()?;
        (entry.format == 1).then_some(entry)
    }

    /// Writes `entry` durably in place of the last one. What the other slot's flipside added to that
    /// one is kept, as long as the file stays short enough to be read.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let unknown = self.read_whole().map(|last| last.unknown).unwrap_or_default();
        let mut entry = Extensible { known: entry.clone(), unknown };
        let is_long = |bytes: Vec<u8>| bytes.len() as u64 > LIMIT;
        if serde_json::to_vec_pretty(&entry).is_ok_and(is_long) {
            entry.unknown.clear();
        }
        self.replace(STATE_FILE, &entry)
    }

    fn replace(&self, name: &str, value: &impl Serialize) -> Result<(), JournalError> {
        let path = self.directory.join(name);
        let failed = |source| JournalError { path: path.clone(), source };
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
        self.durable.make_directory(&self.directory).map_err(failed)?;
        self.durable.replace(&path, &bytes).map_err(failed)
    }

    /// What was adopted last; `None` also where that cannot be read.
    pub(crate) fn adopted(&self) -> Option<Adopted> {
        let bytes = read_at_most(&self.directory.join(ADOPTED_FILE), LIMIT).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Notes it, durably.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn write_adopted(&self, adopted: &Adopted) -> Result<(), JournalError> {
        self.replace(ADOPTED_FILE, adopted)
    }

    /// Forgets it, durably.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn forget_adopted(&self) -> Result<(), JournalError> {
        let Some(_) = self.adopted() else { return Ok(()) };
        let path = self.directory.join(ADOPTED_FILE);
        let failed = |source| JournalError { path: path.clone(), source };
        self.durable.unlink(&path).map_err(failed)?;
        self.durable.sync_directory(&self.directory).map_err(failed)
    }

    /// Keeps the config of `digest`, so that `verify` needs no network; configs of slots
    /// that are gone make room. It is checked by its hash when it is read, and fetched again
    /// where a power cut took it.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn keep_config(
        &self,
        digest: &Digest,
        bytes: &[u8],
        still_needed: &[Digest],
    ) -> Result<(), JournalError> {
        let directory = self.directory.join("configs");
        let path = directory.join(format!("{}.json", digest.hex()));
        let failed = |source| JournalError { path: path.clone(), source };
        if self.config(digest).is_some() {
            return Ok(());
        }
        self.durable.make_directory(&directory).map_err(failed)?;
        for old in std::fs::read_dir(&directory).map_err(failed)? {
            let old = old.map_err(failed)?.path();
            let needed = |d: &Digest| old.file_stem().is_some_and(|stem| *stem == *d.hex());
            if !still_needed.iter().any(needed) && old != path {
                self.durable.unlink(&old).map_err(failed)?;
            }
        }
        self.durable.write_unsynced(&path, bytes).map_err(|source| {
            // What came of it takes room that the journal needs.
            let _ = self.durable.unlink(&path);
            failed(source)
        })
    }

    /// The bytes of a config that was kept, if they still hash to their name.
    pub fn config(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.directory.join("configs").join(format!("{}.json", digest.hex()));
        let bytes = read_at_most(&path, CONFIG_LIMIT).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Where the state directory is, or where it will be: a directory that exists.
    pub(crate) fn existing_directory(&self) -> &Path {
        nearest_existing(&self.directory)
    }

    /// Refuses a state directory that cannot take what a transaction writes to it, before
    /// anything else is touched. Changes nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn check_writable(&self) -> Result<(), JournalError> {
        let failed = |source: io::Error| JournalError { path: self.directory.clone(), source };
        let existing = nearest_existing(&self.directory);
        access(existing, AccessFlags::W_OK).map_err(|e| failed(e.into()))?;
        let space = statvfs(existing).map_err(|e| failed(e.into()))?;
        if space.blocks_available().saturating_mul(space.fragment_size()) < ROOM {
            return Err(failed(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }
}

/// What a transaction may need in the state directory, in bytes: the journal, a line of
/// history, and the image config, which is rarely over 100 KiB.
const ROOM: u64 = 1 << 20;

fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|p| p.exists()).unwrap_or(path)
}

/// This boot's identity; empty where the kernel gives none.
pub fn boot_id(root: &Root) -> String {
    std::fs::read_to_string(root.path("/proc/sys/kernel/random/boot_id"))
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_flipside_added_to_the_journal_is_kept() {
        let (directory, journal) = journal();
        let path = directory.path().join("var/lib/flipside/state.json");
        let entry = |state, version: &str| Entry {
            format: 1,
            state,
            slot: Slot::A,
            digest: None,
            version: version.to_owned(),
            boot_id: String::new(),
            time: Timestamp::UNIX_EPOCH,
        };
        journal.write(&entry(State::Promoted, "1")).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let later = |more: &str| written.replacen('{', &format!("{{{more},"), 1);
        std::fs::write(&path, later(r#""adopted": {"digest": "x", "n": 1.50}"#)).unwrap();
        journal.write(&entry(State::Writing, "2")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""adopted": {"digest": "x", "n": 1.50}"#), "{text}");
        assert_eq!(journal.read().unwrap(), entry(State::Writing, "2"));
        // But never so much of it that nothing would be read any more.
        let longest = usize::try_from(LIMIT).unwrap() - written.len() - 16;
        std::fs::write(&path, later(&format!(r#""more":"{}""#, "x".repeat(longest)))).unwrap();
        assert!(journal.read().is_some());
        let long = "2".repeat(200);
        journal.write(&entry(State::Writing, &long)).unwrap();
        assert_eq!(journal.read().unwrap(), entry(State::Writing, &long));
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::new(&Root::new(directory.path()), &Durable::new());
        (directory, journal)
    }

    #[test]
    fn the_last_entry_is_read_back() {
        let (_directory, journal) = journal();
        assert_eq!(journal.read(), None);
        let mut entry = Entry {
            format: 1,
            state: State::Writing,
            slot: Slot::B,
            digest: Some(Digest::of(b"x")),
            version: "2".into(),
            boot_id: "b".into(),
            time: Timestamp::UNIX_EPOCH,
        };
        journal.write(&entry).unwrap();
        entry.state = State::Armed;
        journal.write(&entry).unwrap();
        assert_eq!(journal.read(), Some(entry));
    }

    #[test]
    fn a_damaged_journal_is_none() {
        let (directory, journal) = journal();
        let path = directory.path().join("var/lib/flipside/state.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in ["", "{", "{\"format\":2}", &"x".repeat(LIMIT as usize + 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(journal.read(), None);
        }
    }

    #[test]
    fn configs_are_kept_while_a_slot_needs_them() {
        let (directory, journal) = journal();
        let (one, two, three) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
        journal.keep_config(&one, b"1", &[]).unwrap();
        journal.keep_config(&two, b"2", &[one]).unwrap();
        assert_eq!(journal.config(&one).unwrap(), b"1");
        journal.keep_config(&three, b"3", &[two]).unwrap();
        assert_eq!(journal.config(&one), None);
        assert_eq!(journal.config(&two).unwrap(), b"2");
        let path = directory.path().join(format!("var/lib/flipside/configs/{}.json", two.hex()));
        std::fs::write(path, b"damaged").unwrap();
        assert_eq!(journal.config(&two), None);
    }
}
