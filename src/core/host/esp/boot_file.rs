// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boot files: written so that they cannot boot until all of them is durable (P2).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::program::BootFileState;
use super::{Esp, EspError, RESERVE};
use crate::host::Slot;
use crate::host::durable::{Durable, DurableFile};
use crate::host::open::open_to_read;
use crate::host::page_cache::drop_pages;
use crate::host::storage::Storage;
use flipside_image::pe;

/// How much of a boot file is withheld: without its first bytes it is no program, and 512
/// bytes lie in one sector of every disk, so that they appear at once or not at all.
pub const FIRST_SECTOR: usize = 512;

const ZEROES: [u8; FIRST_SECTOR] = [0; FIRST_SECTOR];

impl Esp {
    /// The boot file of `slot`, relative to the ESP.
    pub fn boot_file_name(slot: Slot) -> PathBuf {
        Self::own(&format!("boot-{}.efi", slot.letter()))
    }

    /// P2: zeroes the first sector of the boot file of `slot`, durably, so that it cannot boot,
    /// and keeps the rest of it for an install that resumes. Where there is none, its absence is
    /// made durable.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn make_unbootable(&self, slot: Slot) -> Result<(), EspError> {
        let name = Self::boot_file_name(slot);
        let failed = |error| self.write_error(&name, error);
        match self.durable.open(&self.path(&name)) {
            Ok(file) => make_unbootable(&self.durable, &file).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.remove_durably(&name),
            Err(error) => Err(failed(error)),
        }
    }

    /// P2: makes the boot file of `slot` unbootable, and only then removes it: a cut-off unlink
    /// may leave a name on FAT that leads to whatever takes the clusters next.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn make_unbootable_and_remove(&self, slot: Slot) -> Result<(), EspError> {
        self.make_unbootable(slot)?;
        self.remove_durably(&Self::boot_file_name(slot))
    }

    /// A boot file of `size` bytes for `slot`, to be written and completed. It cannot boot
    /// before [`BootFile::complete`]. A file that cannot boot, of an install that was cut off,
    /// is taken over with its bytes; one that can is made unbootable and removed.
    ///
    /// # Errors
    /// [`EspError::Full`] before anything is written; any other.
    pub fn create_boot_file(&self, slot: Slot, size: u64) -> Result<BootFile, EspError> {
        let name = Self::boot_file_name(slot);
        let failed = |error| self.sized_write_error(&name, size, error);
        if self.boot_file(slot)? == BootFileState::Bootable {
            self.make_unbootable_and_remove(slot)?;
        }
        self.make_room(slot, size)?;
        let path = self.path(&name);
        let directory = path.parent().unwrap_or(&self.directory);
        self.durable.make_directory(directory).map_err(failed)?;
        let (file, is_new) = match self.durable.open(&path) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (self.durable.create(&path).map_err(failed)?, true)
            }
            Err(error) => return Err(failed(error)),
        };
        if let Err(error) = self.stretch(&file, size) {
            let error = failed(error);
            if is_new {
                self.remove_remains(&name);
            }
            return Err(error);
        }
        Ok(BootFile {
            esp: self.clone(),
            name,
            file,
            size,
            first: Mutex::default(),
            is_dirty: AtomicBool::new(true),
        })
    }

    /// Zeroes the first sector, and gives the file its length. Not synced: nothing of it counts
    /// before it is complete, and FAT has no holes, whose zeroes need not reach the flash.
    fn stretch(&self, file: &DurableFile, size: u64) -> io::Result<()> {
        zero_first_sector(&self.durable, file)?;
        match file.file().metadata()?.len() == size {
            true => Ok(()),
            false => self.durable.set_length(file, size),
        }
    }

    /// Whether a boot file of `size` bytes has room for `slot`, taking into account what its
    /// present one occupies, and remnants that would be removed for it. For the preflight.
    ///
    /// # Errors
    /// [`EspError::Full`], [`EspError::Read`].
    pub fn check_room(&self, slot: Slot, size: u64) -> Result<(), EspError> {
        self.check_free(&Self::boot_file_name(slot), self.needed(slot, size))
    }

    /// The same, and removes those remnants where it takes that.
    fn make_room(&self, slot: Slot, size: u64) -> Result<(), EspError> {
        self.check_room(slot, size)?;
        if self.free_bytes()? < self.needed(slot, size) {
            self.remove_salvaged();
            return self.check_room(slot, size);
        }
        Ok(())
    }

    /// What a boot file of `size` bytes takes besides what the one of `slot` has.
    fn needed(&self, slot: Slot, size: u64) -> u64 {
        let present = self.path(&Self::boot_file_name(slot));
        let present = std::fs::metadata(present).map_or(0, |m| m.len());
        size.saturating_sub(present).saturating_add(RESERVE)
    }
}

/// Zeroes the first sector, durably.
pub(super) fn make_unbootable(durable: &Durable, file: &DurableFile) -> io::Result<()> {
    zero_first_sector(durable, file)?;
    // Zeroes that stand there may stem from a run that was killed before it synced them.
    durable.sync(file)
}

fn zero_first_sector(durable: &Durable, file: &DurableFile) -> io::Result<()> {
    let mut first = [0; FIRST_SECTOR];
    let length = file.file().metadata()?.len();
    let is_zero = length >= FIRST_SECTOR as u64 && {
        file.file().read_exact_at(&mut first, 0)?;
        first == ZEROES
    };
    if is_zero { Ok(()) } else { durable.write_at(file, 0, &ZEROES) }
}

/// The first sector's bytes, kept back, and which of them have come.
struct First {
    bytes: [u8; FIRST_SECTOR],
    has: [bool; FIRST_SECTOR],
}

impl Default for First {
    fn default() -> Self {
        Self { bytes: ZEROES, has: [false; FIRST_SECTOR] }
    }
}

/// A boot file that is being written. Its first sector is withheld: what is written there is kept
/// in memory, read back from there, and reaches the disk in [`BootFile::complete`]. Before it was
/// written it reads as the zeroes that stand there.
pub struct BootFile {
    esp: Esp,
    name: PathBuf,
    file: DurableFile,
    size: u64,
    first: Mutex<First>,
    /// Whether something was written since the last sync.
    is_dirty: AtomicBool,
}

impl std::fmt::Debug for BootFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootFile").field("name", &self.name).field("size", &self.size).finish()
    }
}

impl BootFile {
    fn first_length(&self) -> usize {
        usize::try_from(self.size).map_or(FIRST_SECTOR, |size| size.min(FIRST_SECTOR))
    }

    /// Makes the file bootable: all but the first sector is made durable, then that sector is
    /// written at once, made durable and read back from the medium. A file that is
    /// not what was written is made unbootable again.
    ///
    /// # Errors
    /// [`EspError::NotBootable`] where bytes are missing or are no EFI program (nothing then
    /// stands on the disk that could boot), [`EspError::ReadBack`], any other.
    pub fn complete(self) -> Result<(), EspError> {
        let failed = |error| self.esp.write_error(&self.name, error);
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.first_length();
        if first.has.iter().take(length).any(|has| !has) {
            return Err(self.not_bootable("its first sector was never written"));
        }
        drop(first);
        let machine = pe::machine(|bytes, at| self.read(at, bytes));
        if machine.map_err(|error| self.esp.read_error(&self.name, error))?.is_none() {
            return Err(self.not_bootable("it is no EFI program"));
        }
        if self.is_dirty.load(Ordering::SeqCst) {
            self.sync().map_err(failed)?;
        }
        let directory = self.file.path().parent().unwrap_or(&self.esp.directory);
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        let first = first.get(..length).unwrap_or_default();
        let written = self
            .esp
            .durable
            .write_at(&self.file, 0, first)
            .and_then(|()| self.esp.durable.sync(&self.file))
            .and_then(|()| self.esp.durable.sync_directory(directory));
        if let Err(error) = written {
            return Err(self.undo(failed(error)));
        }
        match self.reads_back(first) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.undo(EspError::ReadBack { file: self.name.clone() })),
            Err(error) => Err(self.undo(self.esp.read_error(&self.name, error))),
        }
    }

    fn not_bootable(&self, what: &'static str) -> EspError {
        EspError::NotBootable { file: self.name.clone(), what }
    }

    /// P2: what failed must not boot. Where that fails too, its slot has no proof and is not
    /// armed.
    fn undo(&self, error: EspError) -> EspError {
        let unbootable = self
            .esp
            .durable
            .write_at(&self.file, 0, &ZEROES)
            .and_then(|()| self.esp.durable.sync(&self.file));
        if let Err(second) = unbootable {
            tracing::error!("cannot make {} unbootable: {second}", self.name.display());
        }
        error
    }

    fn reads_back(&self, first: &[u8]) -> io::Result<bool> {
        let file = self.fresh()?;
        let mut bytes = vec![0; first.len()];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes == first && file.metadata()?.len() == self.size)
    }

    /// The file opened anew by its name, without what the kernel has of it in memory.
    fn fresh(&self) -> io::Result<File> {
        let file = open_to_read(self.file.path())?;
        drop_cached(&file);
        Ok(file)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.file().read_exact_at(bytes, offset)?;
        let withheld = first.bytes.iter().zip(&first.has).skip(start);
        for (to, (byte, _)) in bytes.iter_mut().zip(withheld).filter(|(_, (_, has))| **has) {
            *to = *byte;
        }
        Ok(())
    }
}

/// Makes the next read come from the medium. Only pages that are on the disk can be dropped.
pub(super) fn drop_cached(file: &File) {
    if let Err(error) = drop_pages(file, 0, 0) {
        tracing::debug!("cannot drop a boot file from memory before it is read back: {error}");
    }
}

impl Storage for BootFile {
    fn name(&self) -> String {
        format!("boot file {}", self.name.display())
    }

    fn capacity(&self) -> u64 {
        self.size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the file"));
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(FIRST_SECTOR);
        let (withheld, rest) = bytes.split_at(bytes.len().min(FIRST_SECTOR.saturating_sub(start)));
        if !withheld.is_empty() {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let First { bytes, has } = &mut *first;
            let places = bytes.iter_mut().zip(has).skip(start);
            for ((to, has), from) in places.zip(withheld) {
                *to = *from;
                *has = true;
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let offset = offset.saturating_add(withheld.len() as u64);
        self.is_dirty.store(true, Ordering::SeqCst);
        self.esp.durable.write_at(&self.file, offset, rest)
    }

    fn sync(&self) -> io::Result<()> {
        self.is_dirty.store(false, Ordering::SeqCst);
        self.esp.durable.sync(&self.file)?;
        drop_cached(self.file.file());
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read(offset, bytes)
    }

    /// FAT has no direct I/O.
    fn is_cached(&self) -> bool {
        true
    }
}

impl BootFile {
    /// Relative to the ESP.
    pub fn file_name(&self) -> &Path {
        &self.name
    }
}
