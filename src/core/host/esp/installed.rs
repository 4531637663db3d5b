// SPDX-License-Identifier: MIT OR Apache-2.0

//! A boot file that stands there, to be read and verified; nothing can be written to it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::boot_file::drop_cached;
use super::{Esp, EspError};
use crate::host::Slot;
use crate::host::open::open_to_read;
use crate::host::storage::Storage;

/// A boot file, open for reading. Reads come from the medium, not from what the kernel had in
/// memory when it was opened.
#[derive(Debug)]
pub struct InstalledBootFile {
    name: PathBuf,
    file: File,
    size: u64,
}

impl Esp {
    /// Opens the boot file of `slot` for reading; `None` where there is none.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn open_boot_file(&self, slot: Slot) -> Result<Option<InstalledBootFile>, EspError> {
        let name = Self::boot_file_name(slot);
        let file = match open_to_read(&self.path(&name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.read_error(&name, error)),
        };
        drop_cached(&file);
        let size = file.metadata().map_err(|error| self.read_error(&name, error))?.len();
        Ok(Some(InstalledBootFile { name, file, size }))
    }
}

impl Storage for InstalledBootFile {
    fn name(&self) -> String {
        format!("boot file {}", self.name.display())
    }

    fn capacity(&self) -> u64 {
        self.size
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}
