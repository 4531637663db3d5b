// SPDX-License-Identifier: MIT OR Apache-2.0

//! The removable-media loader's entries: systemd-boot boots the one with the lowest sort-key
//! when NVRAM is empty (Boot Loader Specification, type #1; <https://uapi-group.org/specifications/specs/boot_loader_specification>).

use std::path::PathBuf;

use super::{Esp, EspError, Stored};
use crate::host::Slot;
pub use flipside_image::systemd_boot::LoaderEntry;

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
        Ok(contents.and_then(|bytes| LoaderEntry::parse(slot.letter(), &bytes)))
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
        let present = self.loader_entry(slot)?.present();
        let title = present.as_ref().map_or(title, |entry| &entry.title).to_owned();
        let new = LoaderEntry { title, is_preferred }.contents(slot.letter());
        if present.is_none_or(|entry| entry.is_preferred == is_preferred) {
            return self.write_small(&name, new.as_bytes());
        }
        let place = LoaderEntry::place_of_preference(&new);
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
