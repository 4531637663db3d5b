// SPDX-License-Identifier: MIT OR Apache-2.0

//! All that the ESP holds of one slot, taken away together.

use std::path::PathBuf;

use super::small_file::{proof_name, record_name};
use super::{BootFileState, Esp, EspError};
use crate::host::Slot;

impl Esp {
    /// All files of `slot`, relative to the ESP.
    pub(super) fn files_of(slot: Slot) -> [PathBuf; 4] {
        [
            Self::boot_file_name(slot),
            Self::own(&proof_name(slot)),
            Self::own(&record_name(slot)),
            Self::entry_name(slot),
        ]
    }

    /// P2: nothing of `slot` boots or vouches for it any more, durably: its boot file is made
    /// unbootable first; then proof, record and boot file go together, which is safe in any
    /// order. A boot file that could not boot before, of an install that was cut off, stays to
    /// be taken over.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn remove_slot_files(&self, slot: Slot) -> Result<(), EspError> {
        let was = self.boot_file(slot)?;
        if was != BootFileState::Absent {
            self.make_unbootable(slot)?;
        }
        let mut gone = vec![Self::own(&proof_name(slot)), Self::own(&record_name(slot))];
        if was == BootFileState::Bootable {
            gone.push(Self::boot_file_name(slot));
        }
        for file in &gone {
            let path = self.path(file);
            if path.symlink_metadata().is_ok() {
                self.durable.unlink(&path).map_err(|error| self.write_error(file, error))?;
            }
        }
        let directory = Self::own("");
        if !self.path(&directory).is_dir() {
            return Ok(());
        }
        let failed = |error| self.write_error(&directory, error);
        self.durable.sync_directory(&self.path(&directory)).map_err(failed)
    }
}
