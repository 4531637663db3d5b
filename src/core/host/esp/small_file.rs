// SPDX-License-Identifier: MIT OR Apache-2.0

//! The small files: records and proofs.

use std::io::{self, Read as _};
use std::path::Path;

use super::{Esp, EspError};
use crate::host::open::{is_link, open_to_read};
use crate::host::{Record, Slot};
use flipside_image::Digest;

/// More than any of these files has, in bytes; what is longer is none of ours.
pub const MAX_SIZE: u64 = 64 << 10;

/// What a small file holds. A power cut may leave one empty, cut short or zeroed, and that is
/// neither absence nor a failure to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored<T> {
    /// There is no such file.
    Absent,
    /// There is one and it says nothing; why, for people. To be treated as absent, and told.
    Unreadable(String),
    /// What it says.
    Present(T),
}

impl<T> Stored<T> {
    /// What it says, if it says anything.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// The same by reference.
    pub const fn as_present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// Whether there is no such file.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn and_then<U>(self, read: impl FnOnce(T) -> Result<U, String>) -> Stored<U> {
        match self {
            Self::Absent => Stored::Absent,
            Self::Unreadable(why) => Stored::Unreadable(why),
            Self::Present(value) => read(value).map_or_else(Stored::Unreadable, Stored::Present),
        }
    }
}

/// That what a slot holds has booted to success (P5): the image that it held then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The image's digest.
    Digest(Digest),
    /// The version, on a host where the digest is unknown.
    Version(String),
}

impl Proof {
    /// The proof of what `record` says.
    pub fn of(record: &Record) -> Self {
        match record.digest {
            Some(digest) => Self::Digest(digest),
            None => Self::Version(record.version.clone()),
        }
    }

    /// Whether this proves what `record` says: a proof of another image proves nothing.
    pub fn is_of(&self, record: &Record) -> bool {
        match self {
            Self::Digest(digest) => record.digest.as_ref() == Some(digest),
            Self::Version(version) => {
                record.digest.is_none() && one_line(&record.version) == one_line(version)
            }
        }
    }

    fn to_line(&self) -> String {
        match self {
            Self::Digest(digest) => format!("{digest}\n"),
            Self::Version(version) => format!("version:{}\n", one_line(version)),
        }
    }

    fn parse(contents: &[u8]) -> Result<Self, String> {
        // Without its line feed the line was cut short, and a version cut short is another.
        let line = std::str::from_utf8(contents).ok().and_then(|text| text.strip_suffix('\n'));
        let line = line.filter(|line| !line.contains(char::is_control));
        let line = line.ok_or("it is not one line of text")?;
        match line.strip_prefix("version:") {
            Some(version) => Ok(Self::Version(version.to_owned())),
            None => line.parse::<Digest>().map(Self::Digest).map_err(|e| e.to_string()),
        }
    }
}

fn one_line(version: &str) -> String {
    version.replace(char::is_control, " ")
}

pub(super) fn record_name(slot: Slot) -> String {
    format!("slot-{}.json", slot.letter())
}

pub(super) fn proof_name(slot: Slot) -> String {
    format!("slot-{}.proven", slot.letter())
}

impl Esp {
    /// What `slot` holds, as it was recorded.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn record(&self, slot: Slot) -> Result<Stored<Record>, EspError> {
        let contents = self.read_small(&Self::own(&record_name(slot)))?;
        Ok(contents.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string())))
    }

    /// Records what `slot` holds.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_record(&self, slot: Slot, record: &Record) -> Result<(), EspError> {
        let file = Self::own(&record_name(slot));
        let mut contents = serde_json::to_vec_pretty(record)
            .map_err(|error| self.write_error(&file, error.into()))?;
        contents.push(b'\n');
        self.write_small(&file, &contents)
    }

    /// Removes the record of `slot`.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn remove_record(&self, slot: Slot) -> Result<(), EspError> {
        self.remove_durably(&Self::own(&record_name(slot)))
    }

    /// What `slot` was proven with.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn proof(&self, slot: Slot) -> Result<Stored<Proof>, EspError> {
        let contents = self.read_small(&Self::own(&proof_name(slot)))?;
        Ok(contents.and_then(|bytes| Proof::parse(&bytes)))
    }

    /// Proves `slot`; only a promote may.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_proof(&self, slot: Slot, proof: &Proof) -> Result<(), EspError> {
        self.write_small(&Self::own(&proof_name(slot)), proof.to_line().as_bytes())
    }

    /// Removes the proof of `slot`.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn remove_proof(&self, slot: Slot) -> Result<(), EspError> {
        self.remove_durably(&Self::own(&proof_name(slot)))
    }

    pub(super) fn read_small(&self, file: &Path) -> Result<Stored<Vec<u8>>, EspError> {
        let open = match open_to_read(&self.path(file)) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            Err(error) if is_link(&error) => {
                return Ok(Stored::Unreadable("it is a link".to_owned()));
            }
            Err(error) => return Err(self.read_error(file, error)),
        };
        let metadata = open.metadata().map_err(|error| self.read_error(file, error))?;
        if !metadata.is_file() {
            return Ok(Stored::Unreadable("it is no file".to_owned()));
        }
        let mut contents = Vec::new();
        open.take(MAX_SIZE.saturating_add(1))
            .read_to_end(&mut contents)
            .map_err(|error| self.read_error(file, error))?;
        Ok(match contents.len() as u64 {
            0 => Stored::Unreadable("it is empty".to_owned()),
            length if length > MAX_SIZE => Stored::Unreadable("it is too long".to_owned()),
            _ => Stored::Present(contents),
        })
    }

    /// Makes `file` hold `contents`, durably. After a power cut it holds the old contents, the new
    /// ones, or is absent, empty or damaged; never a mixture, because the old file goes first.
    /// Where it cannot be written, none is left.
    pub(super) fn write_small(&self, file: &Path, contents: &[u8]) -> Result<(), EspError> {
        let failed = |error| self.sized_write_error(file, contents.len() as u64, error);
        let path = self.path(file);
        let directory = path.parent().unwrap_or(&self.directory);
        match self.read_small(file)? {
            // Flash wears, so equal contents are not written. They may stem from a run that was
            // killed before it made them durable.
            Stored::Present(now) if now == contents => {
                let open = self.durable.open(&path).map_err(failed)?;
                self.durable.sync(&open).map_err(failed)?;
                return self.durable.sync_directory(directory).map_err(failed);
            }
            Stored::Absent => {}
            Stored::Present(_) | Stored::Unreadable(_) => self.remove_durably(file)?,
        }
        self.make_room_for(contents.len() as u64);
        self.durable.make_directory(directory).map_err(failed)?;
        let new = self.durable.create(&path).map_err(failed)?;
        let written = self
            .durable
            .write_at(&new, 0, contents)
            .and_then(|()| self.durable.sync(&new))
            .and_then(|()| self.durable.sync_directory(directory));
        written.map_err(|error| {
            let error = failed(error);
            self.remove_remains(file);
            error
        })
    }

    /// Removes what a write that failed left: an empty file, or the beginning of one.
    pub(super) fn remove_remains(&self, file: &Path) {
        if let Err(error) = self.remove_durably(file) {
            tracing::warn!("what is left of {} stays: {error}", file.display());
        }
    }

    /// Removes `file`, and makes its absence durable also where another run removed it.
    pub(super) fn remove_durably(&self, file: &Path) -> Result<(), EspError> {
        let failed = |error| self.write_error(file, error);
        let path = self.path(file);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => self.durable.unlink(&path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        match path.parent() {
            Some(directory) if directory.is_dir() => {
                self.durable.sync_directory(directory).map_err(failed)
            }
            _ => Ok(()),
        }
    }
}
