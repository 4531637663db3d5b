// SPDX-License-Identifier: MIT OR Apache-2.0

//! GUID partition tables (UEFI 2.10, section 5.3), as bytes: read and checked,
//! and one entry's identity edited. Nothing here repairs a table.
//!
//! Each copy is read twice, by our own reader and by the `gpt` crate
//! ([`flipside_image::gpt::second_reading`]). A host is refused where the two
//! disagree.

mod copies;
mod edit;
mod repair;

use std::fs::File;
use std::io;

use uuid::Uuid;

pub use edit::EditError;
pub(crate) use edit::set_identity;
pub use repair::Repair;

use copies::{Copies, read_header};
use flipside_image::gpt::{Entry, HeaderError};

/// Type of an EFI system partition (UEFI 2.10, table 5.7).
pub const ESP_TYPE: Uuid = Uuid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);

/// Sector sizes that disks have.
pub const SECTOR_SIZES: [u32; 2] = [512, 4096];

/// Where a table is read from: a disk, its image, or a fuzzer's bytes.
pub trait ReadAt {
    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// The device's; `UnexpectedEof` beyond the end.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let found = self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }
}

/// What is wrong with one of the two copies of a table.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// What is wrong with its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Its place is beyond the end of the disk.
    #[error("it lies beyond the end of the disk")]
    Beyond,
    /// The disk gave an error.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The checksum of the entries.
    #[error("its entries do not match their checksum")]
    EntriesChecksum,
    /// An entry has a range that makes no sense.
    #[error("partition {0} lies outside of the usable sectors")]
    Range(u32),
    /// Two entries claim the same sectors.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
    /// It is sound, but says something else than the other copy.
    #[error("it does not say what the other copy says")]
    Differs,
}

/// Why a table is not used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// There is no GPT on the disk.
    #[error("there is no GUID partition table")]
    Missing,
    /// One copy is damaged.
    #[error("the {copy} copy is damaged: {defect}")]
    Damaged {
        /// `primary` or `backup`.
        copy: &'static str,
        /// What is wrong.
        #[source]
        defect: Defect,
        /// How it is made anew from the other copy, where that one is sound.
        repair: Option<Repair>,
    },
    /// Two readers do not read the same from one copy.
    #[error("two readers do not agree about the {what} of the {copy} copy")]
    Unclear {
        /// `primary` or `backup`.
        copy: &'static str,
        /// What they read differently: `header` or `entries`.
        what: &'static str,
    },
    /// Both copies are.
    #[error("both copies are damaged; the primary: {primary}; the backup: {backup}")]
    BothDamaged {
        /// What is wrong with the first.
        primary: Defect,
        /// What is wrong with the other.
        backup: Defect,
    },
}

/// How the two copies of a table stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They say the same.
    Same,
    /// An edit of one entry's identity was cut off by a power cut. One copy is
    /// whole; the next edit completes the other first.
    InterruptedEdit,
}

/// A partition table that was read and found sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Bytes per sector.
    pub sector_size: u32,
    /// The disk's own GUID.
    pub disk_uuid: Uuid,
    /// The used entries, by number.
    pub entries: Vec<Entry>,
    /// Whether both copies say so.
    pub agreement: Agreement,
}

/// Reads and checks both copies of the table on a disk of `size` bytes. Without
/// `sector_size` (a disk image in a file) the sizes of [`SECTOR_SIZES`] are tried.
///
/// # Errors
/// Any damage to either copy. What an edit of ours leaves when the power goes away
/// is none: [`Agreement::InterruptedEdit`].
pub fn read<R: ReadAt + ?Sized>(
    disk: &R,
    size: u64,
    sector_size: Option<u32>,
) -> Result<Table, TableError> {
    let sector_size = match sector_size {
        Some(sector_size) => sector_size,
        None => detect_sector_size(disk, size).ok_or(TableError::Missing)?,
    };
    Copies::read(disk, size, sector_size)?.table()
}

/// The entries of whichever copy can be read, for asking what other disks hold.
/// `None` where there is no such copy. Our reader alone is asked: what another disk may hold is
/// never the reason to write.
pub fn glance<R: ReadAt + ?Sized>(
    disk: &R,
    size: u64,
    sector_size: Option<u32>,
) -> Option<Vec<Entry>> {
    let sizes = match sector_size {
        Some(sector_size) => vec![sector_size],
        None => SECTOR_SIZES.to_vec(),
    };
    sizes.into_iter().find_map(|sector_size| copies::glance(disk, size, sector_size))
}

/// The sector size for which a header stands where it belongs: a sound primary
/// one decides, then any signature.
fn detect_sector_size<R: ReadAt + ?Sized>(disk: &R, size: u64) -> Option<u32> {
    let sound = |sector_size: &u32| read_header(disk, 1, size, *sector_size).is_ok();
    let signed = |sector_size: &u32| {
        let last = (size / u64::from(*sector_size)).checked_sub(1);
        [Some(1), last].into_iter().flatten().any(|lba| {
            !matches!(
                read_header(disk, lba, size, *sector_size),
                Err(Defect::Header(HeaderError::NoSignature)
                    | Defect::Beyond
                    | Defect::Unreadable(_))
            )
        })
    };
    SECTOR_SIZES.into_iter().find(sound).or_else(|| SECTOR_SIZES.into_iter().find(signed))
}

#[cfg(test)]
mod tests;
