// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside's files on the EFI system partition.
//!
//! FAT is fragile: rename and unlink are not atomic there, and a file's length and bytes
//! become durable apart from each other. So nothing is renamed, every file is written so that a
//! half-written one is recognised as such, and every call returns only after its
//! change is durable.

mod boot_file;
mod counted_entry;
mod error;
mod failed;
mod installed;
mod loader;
mod loader_choice;
mod loader_entry;
mod program;
mod salvaged;
mod slot_files;
mod small_file;
mod var_file;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};
use nix::unistd::{AccessFlags, access};

pub use boot_file::{BootFile, FIRST_SECTOR};
pub use counted_entry::CountedEntry;
pub use error::EspError;
pub use installed::InstalledBootFile;
pub use loader_entry::LoaderEntry;
pub use program::BootFileState;
pub use small_file::{MAX_SIZE as SMALL_FILE_LIMIT, Proof, Stored};

use super::Slot;
use super::durable::Durable;
use flipside_image::Architecture;

/// Room to leave for the small files and for FAT's own directories, in bytes.
const RESERVE: u64 = 64 << 10;

/// The EFI system partition, mounted.
#[derive(Debug, Clone)]
pub struct Esp {
    directory: PathBuf,
    architecture: Architecture,
    durable: Durable,
}

impl Esp {
    /// The one that is mounted at `directory`.
    pub(crate) fn new(
        directory: impl Into<PathBuf>,
        architecture: Architecture,
        durable: &Durable,
    ) -> Self {
        Self { directory: directory.into(), architecture, durable: durable.clone() }
    }

    /// Of the machine that boots from it.
    pub const fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Where it is mounted.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the removable-media loader is there: what boots when NVRAM was wiped.
    pub fn has_removable_loader(&self) -> bool {
        self.path(&self.removable_loader_name()).is_file()
    }

    /// Free room, in bytes.
    ///
    /// # Errors
    /// [`EspError::Read`].
    pub fn free_bytes(&self) -> Result<u64, EspError> {
        let room = self.statvfs()?;
        Ok(room.blocks_available().saturating_mul(room.fragment_size()))
    }

    /// Refuses a place that is no ESP, or one that cannot be written, changing nothing.
    ///
    /// # Errors
    /// [`EspError::NotMounted`], [`EspError::ReadOnly`], [`EspError::Damaged`].
    pub fn check(&self) -> Result<(), EspError> {
        // An empty mount point receives no files.
        if !self.directory.join("EFI").is_dir() {
            return Err(EspError::NotMounted { directory: self.directory.clone() });
        }
        let is_mounted_so = self.statvfs()?.flags().contains(FsFlags::ST_RDONLY);
        // A directory that nobody may write to says so too, though root could.
        let is_closed = std::fs::metadata(&self.directory)
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o222 == 0);
        if is_mounted_so || is_closed {
            return Err(EspError::ReadOnly { directory: self.directory.clone() });
        }
        access(&self.directory, AccessFlags::W_OK)
            .map_err(|error| self.write_error(Path::new("EFI/flipside"), error.into()))?;
        self.check_own_files()
    }

    /// What has the name of one of our files and is none, a directory or a link, can be neither
    /// written nor removed as one: a damaged FAT, or somebody's mistake.
    fn check_own_files(&self) -> Result<(), EspError> {
        for file in Slot::BOTH.into_iter().flat_map(Self::files_of).chain(Self::failed_files()) {
            match std::fs::symlink_metadata(self.path(&file)) {
                Ok(metadata) if !metadata.is_file() => {
                    let source = std::io::Error::other("it is no regular file");
                    return Err(EspError::Damaged { file, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A file of flipside's in `directory`, where an ESP may be mounted, relative to it.
    pub(crate) fn own_file_in(directory: &Path) -> Option<PathBuf> {
        let files = Slot::BOTH.into_iter().flat_map(Self::files_of).chain(Self::failed_files());
        files.into_iter().find(|file| directory.join(file).is_file())
    }

    fn statvfs(&self) -> Result<Statvfs, EspError> {
        statvfs(&self.directory).map_err(|error| self.read_error(Path::new("."), error.into()))
    }

    /// Where `name`, one of flipside's files, is, relative to the ESP.
    fn own(name: &str) -> PathBuf {
        Path::new("EFI/flipside").join(name)
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.directory.join(file)
    }
}
