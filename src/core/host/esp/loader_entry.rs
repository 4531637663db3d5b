// SPDX-License-Identifier: MIT OR Apache-2.0

//! The removable-media loader's entries: systemd-boot boots the one with the lowest sort-key
//! when NVRAM is empty (Boot Loader Specification, type #1; <https://uapi-group.org/specifications/specs/boot_loader_specification>).

use std::path::PathBuf;

use super::{Esp, EspError, Stored};
use crate::host::Slot;

/// An entry for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderEntry {
    /// What people see in the menu.
    pub title: String,
    /// Whether it sorts before the other slot's.
    pub is_preferred: bool,
}

impl LoaderEntry {
    /// The file that is this entry for `slot`.
    pub fn contents(&self, slot: Slot) -> String {
        contents(slot, &self.title, self.is_preferred)
    }
}

const SORT_KEY: &str = "sort-key   flipside-";

pub(super) fn efi_path(slot: Slot) -> String {
    format!("/EFI/flipside/boot-{}.efi", slot.letter())
}

/// A title that stays on its line, and the entry within a sector.
pub(super) fn one_title(title: &str) -> String {
    let title: String =
        title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    title.trim().to_owned()
}

/// The whole file: less than a sector, and as long for a preferred entry as for another.
fn contents(slot: Slot, title: &str, is_preferred: bool) -> String {
    format!(
        "title      {}\n{SORT_KEY}{}\nefi        {}\n",
        one_title(title),
        if is_preferred { '0' } else { '1' },
        efi_path(slot)
    )
}

/// Reads what [`contents`] wrote, and nothing else: another entry is made anew.
fn parse(slot: Slot, bytes: &[u8]) -> Result<LoaderEntry, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let title = text.strip_prefix("title      ").and_then(|rest| rest.split('\n').next());
    let title = title.unwrap_or_default();
    for is_preferred in [false, true] {
        if contents(slot, title, is_preferred) == text {
            return Ok(LoaderEntry { title: title.to_owned(), is_preferred });
        }
    }
    Err(format!("it is not flipside's entry for slot {slot}"))
}

impl Esp {
    pub(super) fn entry_name(slot: Slot) -> PathBuf {
        PathBuf::from(format!("loader/entries/flipside-{}.conf", slot.letter()))
    }

    /// The entry for `slot`.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn loader_entry(&self, slot: Slot) -> Result<Stored<LoaderEntry>, EspError> {
        let contents = self.read_small(&Self::entry_name(slot))?;
        Ok(contents.and_then(|bytes| parse(slot, &bytes)))
    }

    /// Makes an entry for `slot`, whose boot file has to be bootable: an entry whose file is no EFI
    /// program ends systemd-boot. An entry that is there keeps its title and changes one byte in
    /// its place, so that no power cut loses it.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_loader_entry(
        &self,
        slot: Slot,
        title: &str,
        is_preferred: bool,
    ) -> Result<(), EspError> {
        let name = Self::entry_name(slot);
        let failed = |error| self.write_error(&name, error);
        let Stored::Present(present) = self.loader_entry(slot)? else {
            return self.write_small(&name, contents(slot, title, is_preferred).as_bytes());
        };
        let new = contents(slot, &present.title, is_preferred);
        if present.is_preferred == is_preferred {
            return self.write_small(&name, new.as_bytes());
        }
        let place = new.rfind(SORT_KEY).map_or(0, |at| at.saturating_add(SORT_KEY.len()));
        let byte = new.as_bytes().get(place..=place).unwrap_or_default();
        let file = self.durable.open(&self.path(&name)).map_err(failed)?;
        self.durable.write_at(&file, place as u64, byte).map_err(failed)?;
        self.durable.sync(&file).map_err(failed)
    }

    /// Makes the entry for `slot` sort before the other slot's, which it does without where it has
    /// none. Each is written only where it is not so yet.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn put_loader_entry_first(&self, slot: Slot, title: &str) -> Result<(), EspError> {
        let is_preferred = |entry: &LoaderEntry| entry.is_preferred;
        if !self.loader_entry(slot)?.as_present().is_some_and(is_preferred) {
            self.write_loader_entry(slot, title, true)?;
        }
        match self.loader_entry(slot.other())? {
            Stored::Present(other) if other.is_preferred => {
                self.write_loader_entry(slot.other(), &other.title, false)
            }
            _ => Ok(()),
        }
    }

    /// Removes the entries for `slot`, durably, also one with a count that another boot backend
    /// left; before its boot file becomes unbootable.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn remove_loader_entry(&self, slot: Slot) -> Result<(), EspError> {
        for counted in self.counted_entries(slot)? {
            self.unlink_counted(&counted)?;
        }
        self.remove_durably(&Self::entry_name(slot))
    }
}
