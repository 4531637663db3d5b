// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table's header: one sector (UEFI 2.10, section 5.3.2, table 5.5).

use uuid::Uuid;

use super::Entry;
use crate::bytes::{guid_at, put, u32_at, u64_at};

const SIGNATURE: &[u8] = b"EFI PART";
const SMALLEST_HEADER: u32 = 92;
const CHECKSUM_AT: usize = 16;
const ENTRIES_CHECKSUM_AT: usize = 88;
/// An entry's size is 128 × 2ⁿ; nobody uses another than 128.
const ENTRY_SIZES: [u32; 6] = [128, 256, 512, 1024, 2048, 4096];
/// The usual table has 16 KiB; what asks for more than this is not read.
const LARGEST_ARRAY: u64 = 1024 * 1024;

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No table stands there at all.
    #[error("it has no signature")]
    NoSignature,
    /// The header's own checksum.
    #[error("its header does not match its checksum")]
    Checksum,
    /// A field of the header has a value that makes no sense.
    #[error("its header's {0} is impossible")]
    Field(&'static str),
}

/// A header whose own checksum is right and whose fields are possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The whole sector.
    pub sector: Vec<u8>,
    /// The sector in which it stands.
    pub lba: u64,
    /// The sector of the other copy.
    pub alternate: u64,
    /// The first sector that a partition may have.
    pub first_usable: u64,
    /// The last one.
    pub last_usable: u64,
    /// The disk's own GUID.
    pub disk_uuid: Uuid,
    /// The first sector of the entries.
    pub entries_lba: u64,
    /// How many entries there is room for.
    pub entry_count: u32,
    /// Bytes of one entry.
    pub entry_size: u32,
    /// CRC-32 of all entries.
    pub entries_checksum: u32,
}

impl Header {
    /// Reads the header that stands in sector `lba` of a disk of `end` sectors.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(sector: Vec<u8>, lba: u64, end: u64) -> Result<Self, HeaderError> {
        if !sector.starts_with(SIGNATURE) {
            return Err(HeaderError::NoSignature);
        }
        let header = Self::fields(sector).ok_or(HeaderError::Field("length"))??;
        header.check(lba, end)?;
        Ok(header)
    }

    /// `None` where the sector is too short for a header.
    fn fields(sector: Vec<u8>) -> Option<Result<Self, HeaderError>> {
        let length = u32_at(&sector, 12)?;
        if length < SMALLEST_HEADER || length as usize > sector.len() {
            return Some(Err(HeaderError::Field("length")));
        }
        if checksum(&sector, length)? != u32_at(&sector, CHECKSUM_AT)? {
            return Some(Err(HeaderError::Checksum));
        }
        // Revision 1.0 is the only one there is; its high half is the incompatible part.
        if u32_at(&sector, 8)? >> 16 != 1 {
            return Some(Err(HeaderError::Field("revision")));
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

    fn check(&self, lba: u64, end: u64) -> Result<(), HeaderError> {
        let is_primary = lba == 1;
        if self.lba != lba {
            return Err(HeaderError::Field("own place"));
        }
        // Not necessarily the last sector: an image copied to a larger disk has its
        // backup where it was, until somebody moves it.
        let alternate_is_possible = if is_primary {
            self.alternate > 1 && self.alternate < end
        } else {
            self.alternate == 1
        };
        if !alternate_is_possible {
            return Err(HeaderError::Field("place of the other copy"));
        }
        if !ENTRY_SIZES.contains(&self.entry_size) {
            return Err(HeaderError::Field("size of entries"));
        }
        if self.entry_count == 0 || self.array_bytes() > LARGEST_ARRAY {
            return Err(HeaderError::Field("number of entries"));
        }
        if self.first_usable > self.last_usable || self.last_usable >= end || self.first_usable < 2
        {
            return Err(HeaderError::Field("range of usable sectors"));
        }
        let sectors = self.array_bytes().div_ceil(self.sector.len() as u64);
        let entries_end =
            self.entries_lba.checked_add(sectors).ok_or(HeaderError::Field("place of entries"))?;
        let entries_fit = if is_primary {
            self.entries_lba >= 2 && entries_end <= self.first_usable
        } else {
            self.entries_lba > self.last_usable && entries_end <= self.lba
        };
        if entries_fit { Ok(()) } else { Err(HeaderError::Field("place of entries")) }
    }

    /// Bytes of all entries; at most 1 MiB.
    pub fn array_bytes(&self) -> u64 {
        u64::from(self.entry_count) * u64::from(self.entry_size)
    }

    /// The used entries of `array`.
    pub fn entries(&self, array: &[u8]) -> Vec<Entry> {
        (1..)
            .zip(array.chunks_exact(self.entry_size as usize))
            .filter_map(|(number, bytes)| Entry::parse(number, bytes))
            .collect()
    }

    /// Whether `array` has this header's checksum.
    pub fn is_of(&self, array: &[u8]) -> bool {
        crc32fast::hash(array) == self.entries_checksum
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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The primary header of a disk of 2048 sectors, with other bytes at `at` and right sums.
    pub(in crate::gpt) fn sector(at: usize, other: &[u8]) -> Vec<u8> {
        let mut sector = vec![0; 512];
        for (at, field) in [
            (0, SIGNATURE),
            (8, &0x10000_u32.to_le_bytes()),
            (12, &SMALLEST_HEADER.to_le_bytes()),
            (24, &1_u64.to_le_bytes()),
            (32, &2047_u64.to_le_bytes()),
            (40, &34_u64.to_le_bytes()),
            (48, &2014_u64.to_le_bytes()),
            (72, &2_u64.to_le_bytes()),
            (80, &128_u32.to_le_bytes()),
            (84, &128_u32.to_le_bytes()),
            (at, other),
        ] {
            assert!(put(&mut sector, at, field));
        }
        if let Some(sum) = u32_at(&sector, 12).and_then(|length| checksum(&sector, length)) {
            assert!(put(&mut sector, CHECKSUM_AT, &sum.to_le_bytes()));
        }
        sector
    }

    #[test]
    fn an_impossible_field_is_named() {
        assert!(Header::parse(sector(0, b""), 1, 2048).is_ok());
        for (at, other, name) in [
            (12, &91_u32.to_le_bytes()[..], "length"),
            (12, &513_u32.to_le_bytes(), "length"),
            (8, &0x20000_u32.to_le_bytes(), "revision"),
            (24, &2_u64.to_le_bytes(), "own place"),
            (32, &1_u64.to_le_bytes(), "place of the other copy"),
            (32, &2048_u64.to_le_bytes(), "place of the other copy"),
            (84, &129_u32.to_le_bytes(), "size of entries"),
            (80, &0_u32.to_le_bytes(), "number of entries"),
            (80, &8193_u32.to_le_bytes(), "number of entries"),
            (40, &1_u64.to_le_bytes(), "range of usable sectors"),
            (48, &2048_u64.to_le_bytes(), "range of usable sectors"),
            (72, &1_u64.to_le_bytes(), "place of entries"),
            (72, &3_u64.to_le_bytes(), "place of entries"),
            (72, &u64::MAX.to_le_bytes(), "place of entries"),
        ] {
            let found = Header::parse(sector(at, other), 1, 2048);
            assert_eq!(found, Err(HeaderError::Field(name)), "{at} {other:?}");
        }
        let mut damaged = sector(0, b"");
        damaged[40] ^= 1;
        assert_eq!(Header::parse(damaged, 1, 2048), Err(HeaderError::Checksum));
        assert_eq!(Header::parse(sector(0, b"X"), 1, 2048), Err(HeaderError::NoSignature));
        assert_eq!(
            Header::parse(sector(0, b"")[..64].to_vec(), 1, 2048),
            Err(HeaderError::Field("length"))
        );
        assert_eq!(Header::parse(Vec::new(), 1, 2048), Err(HeaderError::NoSignature));
    }

    #[test]
    fn a_header_for_other_entries_is_sound() {
        let header = Header::parse(sector(0, b""), 1, 2048).unwrap();
        let other = header.with_entries(&[7; 16384]).unwrap();
        assert_eq!(other.entries_checksum, crc32fast::hash(&[7; 16384]));
        assert_eq!(Header::parse(other.sector.clone(), 1, 2048), Ok(other));
    }

    proptest! {
        #[test]
        fn what_is_taken_lies_on_the_disk(
            at in 0_usize..92, other in prop::collection::vec(any::<u8>(), 0..9), lba in 0_u64..3,
            end in 0_u64..4096,
        ) {
            if let Ok(header) = Header::parse(sector(at, &other), lba, end) {
                prop_assert!(header.last_usable < end && header.array_bytes() <= LARGEST_ARRAY);
            }
        }
    }
}
