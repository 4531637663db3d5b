// SPDX-License-Identifier: MIT OR Apache-2.0

//! The entry of a trial: systemd-boot counts its tries in the file's name, `+LEFT-DONE` before
//! the suffix (Boot Loader Specification, "Boot counting").
//!
//! It stands beside the slot's own entry, under the same name with a count. That keeps
//! `systemd-bless-boot` off: it would take the count away, and does not where a file of that
//! name is there.

use std::path::{Path, PathBuf};

use super::{Esp, EspError};
use crate::host::Slot;
use flipside_image::systemd_boot::{counted_entry, efi_path, starts, tries_left};

const DIRECTORY: &str = "loader/entries";

/// An entry with a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedEntry {
    /// The file's name.
    pub name: String,
    /// How often systemd-boot still starts it before it sorts it last.
    pub tries_left: u32,
    /// Whether it starts the slot's boot file; a file that was cut off starts nothing.
    pub starts_slot: bool,
}

impl Esp {
    /// The name that `slot` has while it waits for its trial.
    fn trial_name(slot: Slot) -> PathBuf {
        Path::new(DIRECTORY).join(format!("flipside-{}+1.conf", slot.letter()))
    }

    /// The entries with a count for `slot`, by name.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn counted_entries(&self, slot: Slot) -> Result<Vec<CountedEntry>, EspError> {
        let directory = Path::new(DIRECTORY);
        let failed = |error| self.read_error(directory, error);
        let files = match std::fs::read_dir(self.path(directory)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut found = Vec::new();
        for file in files {
            let Ok(name) = file.map_err(failed)?.file_name().into_string() else { continue };
            let Some(tries_left) = tries_left(&name, slot.letter()) else { continue };
            let stored = self.read_small(&directory.join(&name))?;
            let starts_slot =
                stored.present().is_some_and(|text| starts(&text, &efi_path(slot.letter())));
            found.push(CountedEntry { name, tries_left, starts_slot });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Makes an entry for one try of `slot`, whose boot file has to be bootable. It sorts before
    /// every other of flipside's as soon as it is whole.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_counted_entry(&self, slot: Slot, title: &str) -> Result<(), EspError> {
        self.write_small(&Self::trial_name(slot), counted_entry(slot.letter(), title).as_bytes())
    }

    /// Removes the entries with a count for `slot`, used up or not, durably. Before a boot file
    /// becomes unbootable, [`Esp::remove_loader_entry`] makes sure of what a killed run removed.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn remove_counted_entries(&self, slot: Slot) -> Result<(), EspError> {
        let entries = self.counted_entries(slot)?;
        for entry in &entries {
            self.unlink_counted(entry)?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let directory = Path::new(DIRECTORY);
        let failed = |error| self.write_error(directory, error);
        self.durable.sync_directory(&self.path(directory)).map_err(failed)
    }

    /// Durable with the directory's sync.
    pub(super) fn unlink_counted(&self, entry: &CountedEntry) -> Result<(), EspError> {
        let name = Path::new(DIRECTORY).join(&entry.name);
        let failed = |error| self.write_error(&name, error);
        self.durable.unlink(&self.path(&name)).map_err(failed)
    }
}
