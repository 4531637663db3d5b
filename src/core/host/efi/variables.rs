// SPDX-License-Identifier: MIT OR Apache-2.0

//! Firmware variables as files: efivarfs (`Documentation/filesystems/efivarfs.rst`), or a
//! directory with files of its format, 4 bytes of attributes (little-endian) and the data.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use uuid::Uuid;

use super::EfiError;
use crate::host::Root;
use crate::host::durable::Durable;

/// The vendor of the UEFI specification's own variables (UEFI 2.10, section 3.3).
pub const GLOBAL_VARIABLE: Uuid = Uuid::from_u128(0x8be4df61_93ca_11d2_aa0d_00e098032b8c);

/// The vendor of the boot loader interface (<https://systemd.io/BOOT_LOADER_INTERFACE>).
pub const LOADER_VARIABLE: Uuid = Uuid::from_u128(0x4a67b082_0a4c_41cf_b6c7_440b29bb8c4f);

/// `NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS` (UEFI 2.10, section 8.2.1).
const ATTRIBUTES: u32 = 7;
const NON_VOLATILE: u32 = 1;

/// `EFIVARFS_MAGIC` of linux/magic.h.
const EFIVARFS_MAGIC: u32 = 0xde5e_81e4;

/// More than any variable that is read here; what lies beyond is not read.
const MAX_SIZE: u64 = 64 << 10;

/// A variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// UEFI 2.10, section 8.2.1.
    pub attributes: u32,
    /// As its definition has it.
    pub data: Vec<u8>,
}

/// Room in NVRAM, as far as the kernel lets us use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In bytes; on x86 without the 5 KiB that Linux keeps free.
    pub free: u64,
}

/// The firmware's variables.
#[derive(Debug, Clone)]
pub struct Variables {
    directory: PathBuf,
    durable: Durable,
}

impl Variables {
    /// Those of the host at `root`.
    ///
    /// # Errors
    /// [`EfiError::Missing`], on the machine itself also where the directory is there but efivarfs is not.
    pub(crate) fn open(root: &Root, durable: &Durable) -> Result<Self, EfiError> {
        let directory = root.path("sys/firmware/efi/efivars");
        let is_there = if root.is_live() { is_efivarfs(&directory) } else { directory.is_dir() };
        if !is_there {
            return Err(EfiError::Missing { directory });
        }
        Ok(Self { directory, durable: durable.clone() })
    }

    /// The names of `vendor`'s variables, sorted.
    ///
    /// # Errors
    /// [`EfiError::Read`].
    pub fn names(&self, vendor: Uuid) -> Result<Vec<String>, EfiError> {
        let suffix = format!("-{vendor}");
        let mut names: Vec<String> = self
            .files()?
            .iter()
            .filter_map(|file| file.strip_suffix(&suffix).map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    fn files(&self) -> Result<Vec<String>, EfiError> {
        let failed = |source| EfiError::Read {
            variable: format!("list in {}", self.directory.display()),
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            // Firmware names may be anything; those that are no text are not ours.
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                files.push(name);
            }
        }
        Ok(files)
    }

    fn path(&self, name: &str, vendor: Uuid) -> PathBuf {
        self.directory.join(format!("{name}-{vendor}"))
    }

    /// The variable, `None` where it is absent. One that was opened but never written (efivarfs
    /// shows it as an empty file) is absent, and so is one without complete attributes.
    ///
    /// # Errors
    /// [`EfiError::Read`].
    pub fn read(&self, name: &str, vendor: Uuid) -> Result<Option<Variable>, EfiError> {
        self.read_long(name, vendor, MAX_SIZE)
    }

    /// The same, of a variable of up to `limit` bytes, attributes included.
    ///
    /// # Errors
    /// [`EfiError::Read`].
    pub(super) fn read_long(
        &self,
        name: &str,
        vendor: Uuid,
        limit: u64,
    ) -> Result<Option<Variable>, EfiError> {
        let failed = |source| EfiError::Read { variable: name.to_owned(), source };
        let file = match File::open(self.path(name, vendor)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut contents = Vec::new();
        file.take(limit).read_to_end(&mut contents).map_err(failed)?;
        let Some((attributes, data)) = contents.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Variable { attributes: u32::from_le_bytes(*attributes), data: data.to_vec() }))
    }

    /// Gives the variable this value, and reads it back. A value that stands there already is
    /// not written: NVRAM wears. Attributes of an existing variable are kept.
    ///
    /// # Errors
    /// [`EfiError::Full`], [`EfiError::ReadOnly`], [`EfiError::Write`]; [`EfiError::WriteLost`]
    /// where the firmware took the value and does not have it.
    pub fn write(&self, name: &str, vendor: Uuid, data: &[u8]) -> Result<(), EfiError> {
        let before = self.read(name, vendor)?;
        if before.as_ref().is_some_and(|variable| variable.data == data) {
            return Ok(());
        }
        self.check_writable()?;
        let attributes = before.map_or(ATTRIBUTES, |variable| variable.attributes);
        let mut contents = attributes.to_le_bytes().to_vec();
        contents.extend_from_slice(data);
        let path = self.path(name, vendor);
        uninterrupted(|| self.durable.set_variable(&path, &contents))
            .map_err(|source| self.write_error(name, data.len(), source))?;
        // P4: what the firmware says it took is not what it has.
        match self.read(name, vendor)? {
            Some(now) if now.data == data && now.attributes & NON_VOLATILE != 0 => Ok(()),
            _ => Err(EfiError::WriteLost { variable: name.to_owned() }),
        }
    }

    /// Removes the variable, and sees that it is gone. One that is absent is removed already.
    ///
    /// # Errors
    /// [`EfiError::ReadOnly`], [`EfiError::Write`], [`EfiError::WriteLost`].
    pub fn remove(&self, name: &str, vendor: Uuid) -> Result<(), EfiError> {
        if self.read(name, vendor)?.is_none() {
            return Ok(());
        }
        self.check_writable()?;
        let path = self.path(name, vendor);
        uninterrupted(|| self.durable.remove_variable(&path))
            .map_err(|source| self.write_error(name, 0, source))?;
        match self.read(name, vendor)? {
            None => Ok(()),
            Some(_) => Err(EfiError::WriteLost { variable: name.to_owned() }),
        }
    }

    fn write_error(&self, name: &str, size: usize, source: io::Error) -> EfiError {
        let variable = name.to_owned();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC) => EfiError::Full { variable, size, dumps: self.dumps() },
            Some(Errno::EROFS) => EfiError::ReadOnly { directory: self.directory.clone() },
            _ => EfiError::Write { variable, source },
        }
    }

    /// How many crash dumps the kernel's pstore left in NVRAM: its usual filler.
    pub fn dumps(&self) -> usize {
        self.files()
            .map_or(0, |files| files.iter().filter(|name| name.starts_with("dump-type")).count())
    }

    /// Refuses read-only variables, changing nothing: a read-only mount, or a directory that
    /// nobody may write to (which root could, but a host in a directory says so).
    ///
    /// # Errors
    /// [`EfiError::ReadOnly`], [`EfiError::Read`].
    pub fn check_writable(&self) -> Result<(), EfiError> {
        let read_only = || EfiError::ReadOnly { directory: self.directory.clone() };
        let metadata = std::fs::metadata(&self.directory).map_err(|source| EfiError::Read {
            variable: format!("list in {}", self.directory.display()),
            source,
        })?;
        if metadata.permissions().mode() & 0o222 == 0 {
            return Err(read_only());
        }
        match access(&self.directory, AccessFlags::W_OK) {
            Err(Errno::EROFS) => Err(read_only()),
            Err(error) => {
                Err(EfiError::Write { variable: "BootOrder".to_owned(), source: error.into() })
            }
            Ok(()) => Ok(()),
        }
    }

    /// The room in NVRAM; `None` where the kernel does not tell (before Linux 6.6, and for a
    /// host in a directory): then only trying shows it.
    pub fn room(&self) -> Option<Room> {
        if !is_efivarfs(&self.directory) {
            return None;
        }
        let room = statvfs(&self.directory).ok()?;
        let free = room.blocks_available().saturating_mul(room.fragment_size());
        (room.blocks() != 0).then_some(Room { free })
    }
}

/// efivarfs waits for its lock interruptibly: a SIGTERM that only sets our flag ends the wait, and
/// the step has to be done all the same.
fn uninterrupted(step: impl Fn() -> io::Result<()>) -> io::Result<()> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
    step()
}

fn is_efivarfs(directory: &Path) -> bool {
    // The field's type differs between architectures; the number has 32 bits.
    statfs(directory).is_ok_and(|found| found.filesystem_type().0 as u32 == EFIVARFS_MAGIC)
}
