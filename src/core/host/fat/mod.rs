// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the ESP's file system may be trusted: its FAT, read from its
//! partition and never written.

use std::io;
use std::thread;
use std::time::Duration;

use super::storage::Storage;
use flipside_image::fat::{BootSector, BootSectorError, Kind, Marks};

/// How the file system is used while it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nobody has it mounted: a dirty mark means that somebody did not finish.
    Offline,
    /// Linux has it mounted for writing, and sets the boot sector's dirty mark itself for
    /// as long as that lasts (`fat_set_state`): both dirty marks say nothing.
    Mounted,
}

/// A FAT that was looked at and found well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A sound file system.
    Sound(Kind),
    /// The first sector is empty: nobody made a file system here.
    Unformatted,
}

/// What is wrong with a FAT.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The disk's own error.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// What is wrong with its boot sector.
    #[error(transparent)]
    BootSector(#[from] BootSectorError),
    /// FAT32's second boot sector does not say what the first says.
    #[error("the backup of its boot sector differs")]
    BackupDiffers,
    /// The first entry of the FAT is not what the boot sector says.
    #[error("its allocation table does not start as it should")]
    TableStart,
    /// The copies of the FAT differ.
    #[error("the copies of its allocation table differ")]
    CopiesDiffer,
    /// It was in use when the power went away.
    #[error("it is marked as not cleanly unmounted")]
    Dirty,
    /// Somebody met a bad sector and left a note.
    #[error("it is marked as having had disk errors")]
    DiskErrors,
}

const BLOCK: u64 = 64 * 1024;
const RETRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Looks at the FAT on `partition`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(partition: &dyn Storage, used: Use) -> Result<Found, FatError> {
    let mut sector = [0; 512];
    partition.read_at(0, &mut sector)?;
    if sector.iter().all(|byte| *byte == 0) {
        return match used {
            Use::Offline => Ok(Found::Unformatted),
            Use::Mounted => Err(BootSectorError::NotFat("it is empty").into()),
        };
    }
    let boot = BootSector::parse(&sector, partition.capacity())?;
    if let Some(offset) = boot.backup {
        let mut backup = [0; 512];
        partition.read_at(offset, &mut backup)?;
        if !BootSector::says_the_same(&sector, &backup) {
            return Err(FatError::BackupDiffers);
        }
    }
    let marks = check_start(partition, &boot)?;
    check_copies(partition, &boot)?;
    if used == Use::Offline {
        if boot.is_marked_dirty || marks.is_dirty {
            return Err(FatError::Dirty);
        }
        if marks.had_errors {
            return Err(FatError::DiskErrors);
        }
    }
    Ok(Found::Sound(boot.kind))
}

/// As [`check`]; what is mounted is looked at again where the copies of the FAT differ, as
/// they do for the moment in which Linux writes one after the other.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_patiently(partition: &dyn Storage, used: Use) -> Result<Found, FatError> {
    for _ in 0..RETRIES {
        match check(partition, used) {
            Err(FatError::CopiesDiffer) if used == Use::Mounted => thread::sleep(PAUSE),
            result => return result,
        }
    }
    check(partition, used)
}

fn check_start(partition: &dyn Storage, boot: &BootSector) -> Result<Marks, FatError> {
    let mut start = [0; 8];
    partition.read_at(boot.active_fat(), &mut start)?;
    boot.marks(&start).ok_or(FatError::TableStart)
}

fn check_copies(partition: &dyn Storage, boot: &BootSector) -> Result<(), FatError> {
    if !boot.is_mirrored {
        return Ok(());
    }
    let length = usize::try_from(BLOCK.min(boot.fat_size)).unwrap_or(0);
    let (mut first, mut other) = (vec![0; length], vec![0; length]);
    for copy in 1..u64::from(boot.fat_count) {
        let mut at = 0;
        while at < boot.fat_size {
            let length = usize::try_from((boot.fat_size - at).min(BLOCK)).unwrap_or(0);
            let (Some(first), Some(other)) = (first.get_mut(..length), other.get_mut(..length))
            else {
                break;
            };
            partition.read_at(boot.fat_start + at, first)?;
            partition.read_at(boot.fat_start + copy * boot.fat_size + at, other)?;
            if first != other {
                return Err(FatError::CopiesDiffer);
            }
            at += BLOCK;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
