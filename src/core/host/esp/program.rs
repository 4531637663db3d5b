// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a boot file is a program that firmware would start.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::{Esp, EspError};
use crate::host::Slot;
use crate::host::open::{is_link, open_to_read};
use flipside_image::pe;

/// Whether the firmware would start a boot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootFileState {
    /// There is none.
    Absent,
    /// There is one that is no EFI program: of an install that was cut off, or damaged.
    Unbootable,
    /// There is one that begins as an EFI program does. Whether the rest is whole, only reading
    /// it can tell.
    Bootable,
}

impl Esp {
    /// Whether the firmware would start the boot file of `slot`.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn boot_file(&self, slot: Slot) -> Result<BootFileState, EspError> {
        let name = Self::boot_file_name(slot);
        let file = match open_to_read(&self.path(&name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(BootFileState::Absent);
            }
            Err(error) if is_link(&error) => return Ok(BootFileState::Unbootable),
            Err(error) => return Err(self.read_error(&name, error)),
        };
        if !file.metadata().map_err(|error| self.read_error(&name, error))?.is_file() {
            return Ok(BootFileState::Unbootable);
        }
        match pe::machine(|bytes, at| file.read_exact_at(bytes, at)) {
            Ok(Some(_)) => Ok(BootFileState::Bootable),
            Ok(None) => Ok(BootFileState::Unbootable),
            Err(error) => Err(self.read_error(&name, error)),
        }
    }
}
