// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tables with a few wrong bytes: none makes a reader panic, and none is taken that the `gpt` crate,
//! asked by itself, reads otherwise.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use gpt::disk::LogicalBlockSize::Lb512;
use gpt::header::read_header_from_arbitrary_device;
use gpt::partition::{Partition, file_read_partitions};

use super::*;

const ALL: u64 = 1_000_000;
/// A usual run takes one of so many.
const STRIDE: u64 = 50;
const ARRAY: usize = 128 * 128;

/// xorshift64*: the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

/// Where a copy stands in the bytes of one end of the disk.
#[derive(Clone, Copy)]
struct Place {
    header: usize,
    entries: usize,
}

impl Place {
    fn put_sum_of_entries(self, bytes: &mut [u8]) {
        let sum = crc32fast::hash(&bytes[self.entries..self.entries + ARRAY]);
        bytes[self.header + 88..self.header + 92].copy_from_slice(&sum.to_le_bytes());
    }

    fn put_sum_of_header(self, bytes: &mut [u8]) {
        bytes[self.header + 16..self.header + 20].fill(0);
        let sum = crc32fast::hash(&bytes[self.header..self.header + 92]);
        bytes[self.header + 16..self.header + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Changes one copy, the other or both in the same way, and puts sums right, or not.
fn mutate(disk: &mut Ends, sector: usize, random: &mut Random) {
    let end = disk.tail.len();
    let primary = Place { header: sector, entries: 2 * sector };
    let backup = Place { header: end - sector, entries: end - sector - ARRAY };
    let mut changes = Vec::new();
    for _ in 0..=random.next(3) {
        let is_entry = random.next(3) != 0;
        // Mostly where something stands: four partitions, 92 bytes of a header.
        let at = match (is_entry, random.next(8)) {
            (true, 0) => random.next(ARRAY),
            (true, _) => random.next(4 * 128),
            (false, 0) => random.next(sector),
            (false, _) => random.next(92),
        };
        changes.push((is_entry, at, random.next(3), random.next(256)));
    }
    let (which, sums) = (random.next(4), random.next(4));
    for (bytes, place, is_meant) in
        [(&mut disk.head, primary, which != 0), (&mut disk.tail, backup, which != 1)]
    {
        if !is_meant {
            continue;
        }
        for (is_entry, at, how, value) in &changes {
            let byte = &mut bytes[if *is_entry { place.entries } else { place.header } + at];
            *byte = match how {
                0 => *value as u8,
                1 => byte.wrapping_add(1),
                _ => *byte ^ (1 << (value % 8)),
            };
        }
        if sums > 1 {
            place.put_sum_of_entries(bytes);
        }
        if sums > 0 {
            place.put_sum_of_header(bytes);
        }
    }
}

/// What the crate reads from the copy whose header stands in sector `lba`: its entries, or none where
/// they do not match their checksum.
fn by_the_crate(disk: &Ends, lba: u64, sector: u64) -> Option<BTreeMap<u32, Partition>> {
    let mut first = vec![0; 512];
    disk.read_exact_at(&mut first, lba * sector).unwrap();
    let mut copy = Cursor::new([&[0; 512][..], &first, &[0; ARRAY]].concat());
    let mut header = read_header_from_arbitrary_device(&mut copy, Lb512).unwrap();
    assert_eq!(header.part_size, 128, "no mutation has made a sound table of larger entries");
    let mut array = vec![0; header.num_parts as usize * 128];
    disk.read_exact_at(&mut array, header.part_start * sector).unwrap();
    let mut copy = Cursor::new([&[0; 1024][..], &array].concat());
    header.part_start = 2;
    file_read_partitions(&mut copy, &header, Lb512).ok()
}

fn are_same(ours: &[Entry], theirs: &BTreeMap<u32, Partition>) -> bool {
    let used: Vec<_> = theirs.iter().filter(|(_, one)| !one.part_type_guid.guid.is_nil()).collect();
    used.len() == ours.len()
        && ours.iter().zip(used).all(|(ours, (number, theirs))| {
            (ours.number, ours.uuid) == (*number, theirs.part_guid)
                && ours.type_uuid == theirs.part_type_guid.guid
                && (ours.first, ours.last) == (theirs.first_lba, theirs.last_lba)
                && ours.flags == theirs.flags
                && ours.label == theirs.name.replace(char::is_control, "\u{fffd}")
        })
}

/// Every `stride`th mutation of the tables that sgdisk and the crate made.
fn run_mutations(stride: u64) {
    let sound = [ends(512), ends(4096)];
    let original = sound.each_ref().map(|disk| read(disk, disk.size, None).unwrap());
    let mut disks = sound.clone();
    let (mut refused, mut taken, mut changed, mut interrupted) = (0, 0, 0, 0);
    for mutation in (0..ALL).step_by(usize::try_from(stride).unwrap()) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (mutation + 1));
        let index = random.next(2);
        let (disk, sound) = (&mut disks[index], &sound[index]);
        disk.head.copy_from_slice(&sound.head);
        disk.tail.copy_from_slice(&sound.tail);
        let sector = original[index].sector_size;
        mutate(disk, sector as usize, &mut random);
        let _ = glance(disk, disk.size, None);
        let Ok(table) = read(disk, disk.size, Some(sector)) else {
            refused += 1;
            continue;
        };
        taken += 1;
        changed += u32::from(table.entries != original[index].entries);
        let last = disk.size / u64::from(sector) - 1;
        let [primary, backup] = [1, last].map(|lba| by_the_crate(disk, lba, u64::from(sector)));
        if table.agreement == Agreement::InterruptedEdit {
            interrupted += 1;
        } else {
            assert!(primary == backup && primary.is_some(), "{mutation}");
        }
        let authority = primary.or(backup).unwrap();
        assert!(are_same(&table.entries, &authority), "{mutation}: {table:?} {authority:?}");
    }
    // Also where the test succeeds: a part must not be taken for all of them.
    writeln!(
        io::stderr(),
        "{} of {ALL} mutations: {refused} refused, {taken} taken; of these {changed} with other \
         entries, {interrupted} as an interrupted edit. All of them: \
         cargo test -p flipside-core --lib -- --ignored all_mutations",
        refused + taken
    )
    .unwrap();
    for (count, least) in [(refused, 4), (taken, 20), (changed, 100), (interrupted, 200)] {
        assert!(u64::from(count) > ALL / stride / least, "{count} of 1 in {least}");
    }
}

#[test]
fn some_mutations_of_tables_neither_panic_nor_are_misread() {
    run_mutations(STRIDE);
}

#[test]
#[ignore = "takes minutes"]
fn all_mutations_of_tables_neither_panic_nor_are_misread() {
    run_mutations(1);
}
