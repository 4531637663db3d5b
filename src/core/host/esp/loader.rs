// SPDX-License-Identifier: MIT OR Apache-2.0

//! The removable-media loader: what it is, told by what stands in it, and its replacement.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::boot_file::{FIRST_SECTOR, drop_cached, make_unbootable};
use super::{Esp, EspError, RESERVE};
use crate::host::open::open_to_read;
use flipside_image::secure_boot::is_shim;
use flipside_image::systemd_boot::systemd_boot_version;

/// systemd-boot has 100 to 300 KiB; of what is longer the rest is not looked at.
const MAX_SIZE: u64 = 4 << 20;

const COPY: &str = "loader.efi";

impl Esp {
    /// The removable-media loader, relative to the ESP.
    pub fn removable_loader_name(&self) -> PathBuf {
        Path::new("EFI/BOOT").join(self.architecture.removable_media_file())
    }

    /// The version of the removable-media loader, or of what shim in its place starts; `None` where that
    /// is missing or no systemd-boot.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn removable_loader_version(&self) -> Result<Option<String>, EspError> {
        let bytes = match self.removable_loader()? {
            Some(shim) if is_shim(&shim) => {
                let name = Path::new("EFI/BOOT").join(self.architecture.behind_shim_file());
                self.read_program(&name)?
            }
            bytes => bytes,
        };
        Ok(bytes.and_then(|bytes| systemd_boot_version(&bytes)))
    }

    /// Whether shim is in the place of the removable-media loader.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn has_shim(&self) -> Result<bool, EspError> {
        Ok(self.removable_loader()?.is_some_and(|loader| is_shim(&loader)))
    }

    /// The removable-media loader; `None` where there is none.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn removable_loader(&self) -> Result<Option<Vec<u8>>, EspError> {
        self.read_program(&self.removable_loader_name())
    }

    /// The copy that a replacement of the loader makes first, and removes last.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn loader_copy(&self) -> Result<Option<Vec<u8>>, EspError> {
        self.read_program(&Self::own(COPY))
    }

    /// Whether there is room for a copy of `new`, and for `new` in the place of `now`.
    ///
    /// # Errors
    /// [`EspError::Full`], [`EspError::Read`].
    pub fn check_loader_room(&self, now: &[u8], new: &[u8]) -> Result<(), EspError> {
        let growth = new.len().saturating_sub(now.len());
        let needed = (new.len().saturating_add(growth) as u64).saturating_add(RESERVE);
        self.check_free(&self.removable_loader_name(), needed)
    }

    /// Makes a copy of the loader that is to come, beside the one that stands there: all of it is
    /// durable and read back before that one is touched.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_loader_copy(&self, program: &[u8]) -> Result<(), EspError> {
        self.write_program(&Self::own(COPY), program)
    }

    /// Replaces the removable-media loader. It is no program from the first step of this to the
    /// last, and what replaces it has to stand in the copy.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_removable_loader(&self, program: &[u8]) -> Result<(), EspError> {
        self.write_program(&self.removable_loader_name(), program)
    }

    /// Removes the copy, durably.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn remove_loader_copy(&self) -> Result<(), EspError> {
        self.remove_durably(&Self::own(COPY))
    }

    /// Writes a program as boot files are written: nothing of it could be started before all of it
    /// is durable.
    pub(super) fn write_program(&self, name: &Path, program: &[u8]) -> Result<(), EspError> {
        let failed = |error| self.sized_write_error(name, program.len() as u64, error);
        let path = self.path(name);
        let directory = path.parent().unwrap_or(&self.directory);
        self.make_room_for(program.len() as u64);
        self.durable.make_directory(directory).map_err(failed)?;
        let is_new = !path.exists();
        let file = match is_new {
            true => self.durable.create(&path),
            false => self
                .durable
                .open(&path)
                .and_then(|file| make_unbootable(&self.durable, &file).map(|()| file)),
        };
        let file = file.map_err(failed)?;
        let (first, rest) = program.split_at(program.len().min(FIRST_SECTOR));
        let write_rest = || match rest.is_empty() {
            true => Ok(()),
            false => self.durable.write_at(&file, FIRST_SECTOR as u64, rest),
        };
        let written = self
            .durable
            .set_length(&file, program.len() as u64)
            .and_then(|()| write_rest())
            .and_then(|()| self.durable.sync(&file))
            .and_then(|()| self.durable.sync_directory(directory));
        if let Err(error) = written {
            let error = failed(error);
            if is_new {
                self.remove_remains(name);
            }
            return Err(error);
        }
        drop_cached(file.file());
        let now = self.read_program(name)?.unwrap_or_default();
        if now.get(FIRST_SECTOR..).unwrap_or_default() != rest {
            return Err(EspError::ReadBack { file: name.to_owned() });
        }
        self.durable.write_at(&file, 0, first).map_err(failed)?;
        self.durable.sync(&file).map_err(failed)?;
        drop_cached(file.file());
        match self.read_program(name)?.as_deref() == Some(program) {
            true => Ok(()),
            false => Err(EspError::ReadBack { file: name.to_owned() }),
        }
    }

    /// A program on the ESP, or another file of at most 4 MiB; `None` where there is none.
    pub(super) fn read_program(&self, name: &Path) -> Result<Option<Vec<u8>>, EspError> {
        let file = match open_to_read(&self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| self.read_error(name, error))?,
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_SIZE).read_to_end(&mut bytes);
        read.map_err(|error| self.read_error(name, error))?;
        Ok(Some(bytes))
    }
}
