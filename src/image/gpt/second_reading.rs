// SPDX-License-Identifier: MIT OR Apache-2.0

//! The second reading of a copy of the table, by the `gpt` crate. Slots are written where the table
//! says that they are, so one mistake of one reader must not be enough.
//!
//! The crate reads behind the checks of [`Header::parse`]: it panics on entries of any other size
//! than 128 bytes, and takes as much memory as a header asks for. It sees the bytes of the copy in
//! memory, and never the disk.

use std::collections::BTreeMap;
use std::io::Cursor;

use gpt::disk::LogicalBlockSize::Lb512;
use gpt::header::read_header_from_arbitrary_device;
use gpt::partition::{Partition, file_read_partitions};

use super::{Entry, Header};
use crate::bytes::u32_at;

/// What the crate reads. It takes the checksum over this many bytes of any header.
const HEADER_SIZE: u32 = 92;
const ENTRY_SIZE: u32 = 128;
/// In memory the header stands in sector 1, and the entries follow from here on.
const SECTOR: usize = 512;
const ENTRIES_LBA: u64 = 2;

/// Whether the crate reads the same from a copy, of which `array` is the entries. It cannot read
/// headers that are not 92 bytes long and entries that are not 128 bytes long, which may be sound;
/// those are not compared.
///
/// # Errors
/// What it reads otherwise: `header` or `entries`.
pub fn compare(header: &Header, array: &[u8]) -> Result<(), &'static str> {
    if u32_at(&header.sector, 12) != Some(HEADER_SIZE) || header.entry_size != ENTRY_SIZE {
        return Ok(());
    }
    let mut copy = vec![0; SECTOR];
    copy.extend(header.sector.iter().take(SECTOR));
    copy.extend(array);
    let mut copy = Cursor::new(copy);
    let mut theirs = read_header_from_arbitrary_device(&mut copy, Lb512).map_err(|_| "header")?;
    if !is_same_header(header, &theirs) {
        return Err("header");
    }
    theirs.part_start = ENTRIES_LBA;
    let is_same = match file_read_partitions(&mut copy, &theirs, Lb512) {
        Ok(theirs) => header.is_of(array) && are_same_entries(&header.entries(array), &theirs),
        // The array of a copy that a power cut has torn: it is nobody's.
        Err(_) => !header.is_of(array),
    };
    if is_same { Ok(()) } else { Err("entries") }
}

fn is_same_header(ours: &Header, theirs: &gpt::header::Header) -> bool {
    (ours.lba, ours.alternate) == (theirs.current_lba, theirs.backup_lba)
        && (ours.first_usable, ours.last_usable) == (theirs.first_usable, theirs.last_usable)
        && ours.disk_uuid == theirs.disk_guid
        && (ours.entries_lba, ours.entry_count) == (theirs.part_start, theirs.num_parts)
        && (ours.entry_size, ours.entries_checksum) == (theirs.part_size, theirs.crc32_parts)
}

fn are_same_entries(ours: &[Entry], theirs: &BTreeMap<u32, Partition>) -> bool {
    // To the crate an entry without a type is there if any other byte of it is.
    let mut theirs = theirs.iter().filter(|(_, partition)| partition.is_used());
    let are_same = ours.iter().all(|entry| theirs.next().is_some_and(|one| is_same(entry, one)));
    are_same && theirs.next().is_none()
}

fn is_same(ours: &Entry, (number, theirs): (&u32, &Partition)) -> bool {
    ours.number == *number
        && (ours.type_uuid, ours.uuid) == (theirs.part_type_guid.guid, theirs.part_guid)
        && (ours.first, ours.last) == (theirs.first_lba, theirs.last_lba)
        && ours.flags == theirs.flags
        && ours.label == Entry::printable(&theirs.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put;
    use crate::gpt::header::tests::sector;

    /// Entries 1 and 3 of 128, and a header for them.
    fn copy() -> (Header, Vec<u8>) {
        let mut array = vec![0; 128 * 128];
        for (at, label) in [(0, "esp"), (256, "gr\u{f6}\u{df}e \u{1f4be} \u{1b}[0m")] {
            let units: Vec<u8> = label.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(put(&mut array, at, &[at as u8 + 1; 56]) && put(&mut array, at + 56, &units));
        }
        let header = Header::parse(sector(0, b""), 1, 2048).unwrap();
        (header.with_entries(&array).unwrap(), array)
    }

    #[test]
    fn both_readers_read_a_whole_copy_and_a_torn_one_alike() {
        let (header, mut array) = copy();
        assert_eq!(header.entries(&array).len(), 2);
        assert_eq!(compare(&header, &array), Ok(()));
        // Without a type, and yet not empty.
        assert!(put(&mut array, 600, b"x"));
        assert_eq!(compare(&header, &array), Ok(()), "the checksum is of other entries");
        assert_eq!(compare(&header.with_entries(&array).unwrap(), &array), Ok(()));
    }

    /// No bytes are known that the two read otherwise: so our reading is changed.
    #[test]
    fn a_header_that_only_one_of_them_reads_so_is_told() {
        let (sound, array) = copy();
        let changes: [fn(&mut Header); 11] = [
            |header| header.lba += 1,
            |header| header.alternate += 1,
            |header| header.first_usable += 1,
            |header| header.last_usable -= 1,
            |header| header.disk_uuid = uuid::Uuid::from_u128(1),
            |header| header.entries_lba += 1,
            |header| header.entry_count -= 1,
            |header| header.entries_checksum ^= 1,
            |header| header.sector[0] = b'X',
            |header| header.sector[91] ^= 1,
            |header| header.sector.truncate(91),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut header = sound.clone();
            change(&mut header);
            assert_eq!(compare(&header, &array), Err("header"), "{index}");
        }
    }

    #[test]
    fn entries_that_only_one_of_them_reads_so_are_told() {
        let (header, array) = copy();
        let short = &array[..array.len() - 128];
        assert_eq!(compare(&header, short), Ok(()), "nobody's, to both");
        let theirs = |array: &[u8]| {
            let (header, mut copy) = (header.with_entries(array).unwrap(), vec![0; 512]);
            copy.extend(&header.sector);
            copy.extend(array);
            let mut copy = Cursor::new(copy);
            let read = read_header_from_arbitrary_device(&mut copy, Lb512).unwrap();
            file_read_partitions(&mut copy, &read, Lb512).unwrap()
        };
        let ours = header.entries(&array);
        assert!(are_same_entries(&ours, &theirs(&array)));
        for (at, what) in
            [(0, "type"), (16, "UUID"), (32, "first"), (40, "last"), (48, "flags"), (56, "label")]
        {
            for entry in [0, 256] {
                let mut other = array.clone();
                other[entry + at] ^= 0x40;
                assert!(!are_same_entries(&ours, &theirs(&other)), "{what} of {entry}");
            }
        }
        let mut one_more = array.clone();
        one_more[512] = 1;
        assert!(!are_same_entries(&ours, &theirs(&one_more)));
        let mut one_less = array.clone();
        one_less[256..272].fill(0);
        assert!(!are_same_entries(&ours, &theirs(&one_less)));
        let mut moved = one_less;
        moved[128..256].copy_from_slice(&array[256..384]);
        assert!(!are_same_entries(&ours, &theirs(&moved)));
    }

    /// Of the one the crate panics, of the other it takes the wrong checksum.
    #[test]
    fn what_the_crate_cannot_read_is_not_compared() {
        let counts = [64_u32.to_le_bytes(), 256_u32.to_le_bytes()].concat();
        let large = Header::parse(sector(80, &counts), 1, 2048).unwrap();
        assert_eq!(compare(&large, &[0; 16384]), Ok(()));
        let long = Header::parse(sector(12, &96_u32.to_le_bytes()), 1, 2048).unwrap();
        assert_eq!(compare(&long, &[0; 16384]), Ok(()));

        let read = |header: Header| {
            let mut copy = Cursor::new([&[0; 512][..], &header.sector, &[0; 16384]].concat());
            let read = read_header_from_arbitrary_device(&mut copy, Lb512)?;
            Ok::<_, gpt::header::HeaderError>(file_read_partitions(&mut copy, &read, Lb512)?)
        };
        assert!(std::panic::catch_unwind(|| read(large)).is_err());
        assert!(read(long).is_err());
    }
}
