// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table's header: one sector (UEFI 2.10, section 5.3.2, table 5.5).

use uuid::Uuid;

use super::{Defect, ReadAt};
use crate::host::bytes::{guid_at, put, u32_at, u64_at};

const SIGNATURE: &[u8] = b"EFI PART";
const SMALLEST_HEADER: u32 = 92;
const CHECKSUM_AT: usize = 16;
const ENTRIES_CHECKSUM_AT: usize = 88;
/// An entry's size is 128 × 2ⁿ; nobody uses another than 128.
const ENTRY_SIZES: [u32; 6] = [128, 256, 512, 1024, 2048, 4096];
/// The usual table has 16 KiB; what asks for more than this is not read.
const LARGEST_ARRAY: u64 = 1024 * 1024;

/// A header whose own checksum is right and whose fields are possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The whole sector.
    pub sector: Vec<u8>,
    /// The sector in which it stands.
    pub lba: u64,
    /// The sector of the other copy.
    pub alternate: u64,
    pub first_usable: u64,
    pub last_usable: u64,
    pub disk_uuid: Uuid,
    /// The first sector of the entries.
    pub entries_lba: u64,
    pub entry_count: u32,
    pub entry_size: u32,
    pub entries_checksum: u32,
}

impl Header {
    /// Reads the header that stands in sector `lba` of a disk of `size` bytes.
    pub fn read<R: ReadAt + ?Sized>(
        disk: &R,
        lba: u64,
        size: u64,
        sector_size: u32,
    ) -> Result<Self, Defect> {
        let end = size / u64::from(sector_size.max(1));
        let offset = match lba.checked_mul(u64::from(sector_size)) {
            Some(offset) if lba < end => offset,
            _ => return Err(Defect::Beyond),
        };
        let mut sector = vec![0; sector_size as usize];
        disk.read_exact_at(&mut sector, offset).map_err(Defect::Unreadable)?;
        if !sector.starts_with(SIGNATURE) {
            return Err(Defect::NoSignature);
        }
        let header = Self::parse(sector).ok_or(Defect::Field("length"))??;
        header.check(lba, end, sector_size)?;
        Ok(header)
    }

    /// `None` where the sector is too short for a header.
    fn parse(sector: Vec<u8>) -> Option<Result<Self, Defect>> {
        let length = u32_at(&sector, 12)?;
        if length < SMALLEST_HEADER || length as usize > sector.len() {
            return Some(Err(Defect::Field("length")));
        }
        if checksum(&sector, length)? != u32_at(&sector, CHECKSUM_AT)? {
            return Some(Err(Defect::HeaderChecksum));
        }
        // Revision 1.0 is the only one there is; its high half is the incompatible part.
        if u32_at(&sector, 8)? >> 16 != 1 {
            return Some(Err(Defect::Field("revision")));
        }
        Some(Ok(Self {
            lba: u64_at(&sector, 24)?,
            alternate: u64_at(&sector, 32)?,
            first_usable: u64_at(&sector, 40)?,
            last_usable: u64_at(&sector, 48)?,
            disk_uuid: guid_at(&sector, 56)?,
            entries_lba: u64_at(&sector, 72)?,
            entry_count: u32_at(&sector, 80)?,
            entry_size: u32_at(&sector, 84)?,
            entries_checksum: u32_at(&sector, ENTRIES_CHECKSUM_AT)?,
            sector,
        }))
    }

    fn check(&self, lba: u64, end: u64, sector_size: u32) -> Result<(), Defect> {
        let is_primary = lba == 1;
        if self.lba != lba {
            return Err(Defect::Field("own place"));
        }
        // Not necessarily the last sector: an image copied to a larger disk has its
        // backup where it was, until somebody moves it.
        let alternate_is_possible = if is_primary {
            self.alternate > 1 && self.alternate < end
        } else {
            self.alternate == 1
        };
        if !alternate_is_possible {
            return Err(Defect::Field("place of the other copy"));
        }
        if !ENTRY_SIZES.contains(&self.entry_size) {
            return Err(Defect::Field("size of entries"));
        }
        if self.entry_count == 0 || self.array_bytes() > LARGEST_ARRAY {
            return Err(Defect::Field("number of entries"));
        }
        if self.first_usable > self.last_usable || self.last_usable >= end || self.first_usable < 2
        {
            return Err(Defect::Field("range of usable sectors"));
        }
        let sectors = self.array_bytes().div_ceil(u64::from(sector_size));
        let entries_end =
            self.entries_lba.checked_add(sectors).ok_or(Defect::Field("place of entries"))?;
        let entries_fit = if is_primary {
            self.entries_lba >= 2 && entries_end <= self.first_usable
        } else {
            self.entries_lba > self.last_usable && entries_end <= self.lba
        };
        if entries_fit { Ok(()) } else { Err(Defect::Field("place of entries")) }
    }

    /// Bytes of all entries; at most [`LARGEST_ARRAY`] once checked.
    pub fn array_bytes(&self) -> u64 {
        u64::from(self.entry_count) * u64::from(self.entry_size)
    }

    /// The same header for other entries; `None` never happens on a parsed one.
    pub fn with_entries(&self, array: &[u8]) -> Option<Self> {
        let mut sector = self.sector.clone();
        let entries_checksum = crc32fast::hash(array);
        let length = u32_at(&sector, 12)?;
        let is_put = put(&mut sector, ENTRIES_CHECKSUM_AT, &entries_checksum.to_le_bytes());
        let own = checksum(&sector, length)?;
        let is_put = is_put && put(&mut sector, CHECKSUM_AT, &own.to_le_bytes());
        is_put.then(|| Self { sector, entries_checksum, ..self.clone() })
    }

    /// Whether both describe the same disk, cut the same way.
    pub fn matches(&self, other: &Self) -> bool {
        self.disk_uuid == other.disk_uuid
            && self.first_usable == other.first_usable
            && self.last_usable == other.last_usable
            && self.entry_count == other.entry_count
            && self.entry_size == other.entry_size
            && self.alternate == other.lba
            && other.alternate == self.lba
    }
}

/// CRC-32 of the header with its own checksum's field taken as zero.
fn checksum(sector: &[u8], length: u32) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(sector.get(..CHECKSUM_AT)?);
    hasher.update(&[0; 4]);
    hasher.update(sector.get(CHECKSUM_AT + 4..length as usize)?);
    Some(hasher.finalize())
}
