// SPDX-License-Identifier: MIT OR Apache-2.0

mod crash;
mod mutations;
mod repair;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::host::durable::Durable;
use crate::host::error::HostError;
use crate::host::test_disk::{self, ESP_UUID, KEEP, MIB, SLOT_UUIDS, program, run};
use flipside_image::PartitionIdentity;
use flipside_image::code::Coded as _;

fn image(sector_size: u32) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    fs::read(test_disk::made(directory.path(), sector_size)).unwrap()
}

fn read_image(bytes: &[u8]) -> Result<Table, TableError> {
    read(bytes, bytes.len() as u64, None)
}

fn code(error: TableError) -> &'static str {
    HostError::table(Path::new("disk.img"), false, error).code().name()
}

#[test]
fn tables_are_read_with_both_sector_sizes() {
    for sector_size in SECTOR_SIZES {
        let table = read_image(&image(sector_size)).unwrap();
        assert_eq!(table.sector_size, sector_size);
        assert_eq!(table.agreement, Agreement::Same);
        let labels: Vec<&str> = table.entries.iter().map(|e| e.label.as_str()).collect();
        assert_eq!(labels, ["esp", "system-a", "system-b", "data"]);
        let [esp, a, ..] = table.entries.as_slice() else { panic!() };
        assert_eq!((esp.number, esp.uuid, esp.type_uuid), (1, ESP_UUID, ESP_TYPE));
        assert_eq!((a.number, a.uuid), (2, SLOT_UUIDS[0]));
        assert_eq!(esp.first * u64::from(sector_size), MIB);
        assert_eq!((esp.last + 1 - esp.first) * u64::from(sector_size), 4 * MIB);
    }
}

#[test]
fn tables_of_sgdisk_are_read_with_holes_and_flags() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::File::create(&path).unwrap().set_len(16 * MIB).unwrap();
    run(program("sgdisk")
        .args(["-n", "3:0:+1M", "-c", "3:Grüße 1234567890123456789012345678901", "-A", "3:set:60"])
        .args(["-n", "7:0:0", "-c", "7:", "-t", "7:ef00"])
        .arg(&path));
    let bytes = fs::read(&path).unwrap();
    let table = read_image(&bytes).unwrap();
    let [three, seven] = table.entries.as_slice() else { panic!("{table:?}") };
    assert_eq!((three.number, three.flags), (3, 1 << 60));
    assert!(three.label.starts_with("Grüße 12345"), "{}", three.label);
    assert_eq!((seven.number, seven.label.as_str(), seven.type_uuid), (7, "", ESP_TYPE));
}

/// The crate is a second opinion on tables that it wrote itself.
#[test]
fn tables_of_the_gpt_crate_are_read_as_it_reads_them() {
    use gpt::disk::LogicalBlockSize::{Lb512, Lb4096};
    for (sector_size, size) in [(512, Lb512), (4096, Lb4096)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let file = fs::File::create_new(&path).unwrap();
        file.set_len(24 * MIB).unwrap();
        let config = gpt::GptConfig::new().writable(true).logical_block_size(size);
        let mut disk = config.create(&path).unwrap();
        disk.update_partitions(Default::default()).unwrap();
        for (name, flags) in [("system-a", 0), ("system-b", 1 << 63)] {
            let kind = gpt::partition_types::LINUX_FS;
            disk.add_partition(name, 4 * MIB, kind, flags, None).unwrap();
        }
        let expected = disk.partitions().clone();
        drop(disk.write().unwrap());
        let table = read_image(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(table.sector_size, sector_size);
        assert_eq!(table.entries.len(), 2);
        for entry in &table.entries {
            let theirs = &expected[&entry.number];
            assert_eq!((entry.first, entry.last), (theirs.first_lba, theirs.last_lba));
            assert_eq!(
                (entry.uuid, entry.type_uuid),
                (theirs.part_guid, theirs.part_type_guid.guid)
            );
            assert_eq!((&entry.label, entry.flags), (&theirs.name, theirs.flags));
        }
    }
}

#[test]
fn damage_to_either_copy_is_named() {
    for sector_size in SECTOR_SIZES {
        let sound = image(sector_size);
        let sector = sector_size as usize;
        let end = sound.len();
        let entries = 16384_usize.div_ceil(sector) * sector;
        for (name, at, says) in [
            ("the primary header", sector + 40, "primary copy is damaged: its header"),
            ("the primary signature", sector, "primary copy is damaged: it has no"),
            ("the primary's entries", 2 * sector + 300, "primary copy is damaged: its entries"),
            ("an empty primary entry", 2 * sector + 9000, "primary copy is damaged: its entries"),
            ("the backup header", end - sector + 80, "backup copy is damaged: its header"),
            ("the backup signature", end - sector + 3, "backup copy is damaged: it has no"),
            (
                "a UUID in the backup",
                end - sector - entries + 145,
                "backup copy is damaged: its entries",
            ),
        ] {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            let error = read_image(&bytes).unwrap_err();
            assert!(error.to_string().contains(says), "{name}: {error}");
            assert_eq!(code(error), "gpt-damaged");
            assert_eq!(glance(bytes.as_slice(), end as u64, None).unwrap().len(), 4, "{name}");
        }
        let mut bytes = sound.clone();
        bytes[sector + 40] ^= 1;
        bytes[end - 1 - sector] ^= 1;
        let error = read_image(&bytes).unwrap_err();
        assert!(matches!(error, TableError::BothDamaged { .. }), "{error}");
        assert_eq!(code(error), "gpt-damaged");
        assert!(glance(bytes.as_slice(), end as u64, None).is_none());
    }
}

#[test]
fn a_disk_without_a_table_has_none() {
    for bytes in [vec![], vec![0; 100], vec![0; 512], vec![0; 4096], vec![0xff; 40_000]] {
        let error = read_image(&bytes).unwrap_err();
        assert_eq!(code(error), "gpt-missing", "{}", bytes.len());
    }
}

/// An image is often copied to a larger disk; one cut short has lost its end.
#[test]
fn a_larger_disk_is_read_and_a_shorter_one_refused() {
    let mut bytes = image(512);
    bytes.resize(bytes.len() + 5 * 512, 0);
    assert_eq!(read_image(&bytes).unwrap().entries.len(), 4);
    bytes.truncate(20 * 1024 * 1024);
    assert_eq!(code(read_image(&bytes).unwrap_err()), "gpt-damaged");
}

/// Sets a field in a copy's header or entries and makes its checksums right.
fn forge(bytes: &mut [u8], lba: usize, array: usize, edits: &[(usize, Vec<u8>)]) {
    for (at, value) in edits {
        bytes[*at..*at + value.len()].copy_from_slice(value);
    }
    let header = lba * 512;
    let sum = crc32fast::hash(&bytes[array..array + 16384]);
    bytes[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
    bytes[header + 16..header + 20].fill(0);
    let sum = crc32fast::hash(&bytes[header..header + 92]);
    bytes[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn fields_that_lie_are_refused_though_their_checksums_are_right() {
    let sound = image(512);
    let last = sound.len() / 512 - 1;
    let backup_array = (last - 32) * 512;
    let word = |value: u32| value.to_le_bytes().to_vec();
    let long = |value: u64| value.to_le_bytes().to_vec();
    for (name, at, value) in [
        ("revision", 8, word(0x0002_0000)),
        ("length", 12, word(91)),
        ("length", 12, word(u32::MAX)),
        ("own place", 24, long(2)),
        ("place of the other copy", 32, long(0)),
        ("place of the other copy", 32, long(u64::MAX)),
        ("range of usable sectors", 40, long(u64::MAX)),
        ("range of usable sectors", 48, long(u64::MAX)),
        ("place of entries", 72, long(0)),
        ("place of entries", 72, long(u64::MAX)),
        ("number of entries", 80, word(0)),
        ("number of entries", 80, word(u32::MAX)),
        ("number of entries", 80, word(8193)),
        ("size of entries", 84, word(0)),
        ("size of entries", 84, word(127)),
        ("size of entries", 84, word(1 << 31)),
    ] {
        let mut bytes = sound.clone();
        forge(&mut bytes, 1, 1024, &[(512 + at, value)]);
        let error = read_image(&bytes).unwrap_err().to_string();
        let expected = if name == "length" { "header" } else { name };
        assert!(error.contains(expected), "{name}: {error}");
    }
    let entry = |number: usize| (number - 1) * 128;
    for (name, at, value) in [
        ("partition 2 lies outside", entry(2) + 32, long(33)),
        ("partition 2 lies outside", entry(2) + 32, long(u64::MAX)),
        ("partition 4 lies outside", entry(4) + 40, long(last as u64)),
        ("partition 4 lies outside", entry(4) + 40, long(0)),
        ("partitions 1 and 2 overlap", entry(2) + 32, long(2048)),
        ("partitions 2 and 3 overlap", entry(2) + 40, long(18432)),
    ] {
        let mut bytes = sound.clone();
        forge(&mut bytes, 1, 1024, &[(1024 + at, value.clone())]);
        forge(&mut bytes, last, backup_array, &[(backup_array + at, value)]);
        let error = read_image(&bytes).unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert_eq!(code(error), "gpt-damaged");
    }
}

#[test]
fn copies_that_differ_in_more_than_one_identity_are_refused() {
    let sound = image(512);
    let last = sound.len() / 512 - 1;
    let array = (last - 32) * 512;
    let one = (array + 128 + 16, vec![7; 16]);
    for (edits, is_ours) in [
        (vec![one.clone()], true),
        (vec![one.clone(), (array + 128, vec![9; 16]), (array + 128 + 48, vec![1])], true),
        (vec![one.clone(), (array + 256 + 16, vec![7; 16])], false),
        (vec![(array + 128 + 56, b"S".to_vec())], false),
        (vec![(array + 128, vec![0; 16])], false),
        (vec![(array + 128 * 20, vec![1; 16])], false),
    ] {
        let mut bytes = sound.clone();
        forge(&mut bytes, last, array, &edits);
        match read_image(&bytes) {
            Ok(table) => {
                assert!(is_ours && table.agreement == Agreement::InterruptedEdit);
                assert_eq!(table.entries, read_image(&sound).unwrap().entries);
            }
            Err(error) => {
                assert!(!is_ours, "{error}");
                assert!(error.to_string().contains("does not say what"), "{error}");
            }
        }
    }
    let mut other_disk = sound.clone();
    forge(&mut other_disk, last, array, &[(last * 512 + 56, vec![3; 16])]);
    assert_eq!(code(read_image(&other_disk).unwrap_err()), "gpt-damaged");
}

pub(super) fn edit(
    path: &Path,
    durable: &Durable,
    number: u32,
    identity: &PartitionIdentity,
) -> Result<Entry, EditError> {
    let bytes = fs::read(path).unwrap();
    let table = read_image(&bytes).unwrap();
    let expected = table.entries.iter().find(|entry| entry.number == number).unwrap();
    let disk = durable.open(path).unwrap();
    set_identity(durable, &disk, bytes.len() as u64, table.sector_size, expected, identity)
}

#[test]
fn an_edit_changes_the_identity_alone_and_sgdisk_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 512);
    let before = read_image(&fs::read(&path).unwrap()).unwrap();
    let uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);
    let type_uuid = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
    let identity =
        PartitionIdentity { uuid: Some(uuid), type_uuid: Some(type_uuid), flags: Some(1 << 60) };
    let entry = edit(&path, &Durable::new(), 3, &identity).unwrap();
    let after = read_image(&fs::read(&path).unwrap()).unwrap();
    let mut expected = before.clone();
    expected.entries[2] = Entry { uuid, type_uuid, flags: 1 << 60, ..before.entries[2].clone() };
    assert_eq!(after, expected);
    assert_eq!(entry, expected.entries[2]);
    let verdict = run(program("sgdisk").arg("-v").arg(&path));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let details = run(program("sgdisk").args(["-i", "3"]).arg(&path));
    assert!(details.contains("11112222-3333-4444-5555-666677778888"), "{details}");
    assert!(details.contains("system-b"), "{details}");
}

#[test]
fn refused_edits_write_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 512);
    let before = fs::read(&path).unwrap();
    let uuid = |uuid| PartitionIdentity { uuid: Some(uuid), ..KEEP };
    let kind = |uuid| PartitionIdentity { type_uuid: Some(uuid), ..KEEP };
    for (identity, expected) in [
        (uuid(SLOT_UUIDS[0]), "partition-uuid-duplicate"),
        (uuid(ESP_UUID), "partition-uuid-duplicate"),
        (uuid(Uuid::nil()), "partition-identity-invalid"),
        (kind(Uuid::nil()), "partition-identity-invalid"),
    ] {
        let source = edit(&path, &Durable::new(), 3, &identity).unwrap_err();
        let error = HostError::Identity { disk: path.clone(), number: 3, source };
        assert_eq!(error.code().name(), expected);
    }
    edit(&path, &Durable::new(), 3, &uuid(SLOT_UUIDS[1])).unwrap();
    edit(&path, &Durable::new(), 3, &KEEP).unwrap();
    assert!(fs::read(&path).unwrap() == before);

    let table = read_image(&before).unwrap();
    let mut moved = table.entries[2].clone();
    moved.last -= 1;
    let durable = Durable::new();
    let disk = durable.open(&path).unwrap();
    let size = before.len() as u64;
    let identity = uuid(Uuid::from_u128(5));
    let error = set_identity(&durable, &disk, size, 512, &moved, &identity).unwrap_err();
    assert!(matches!(error, EditError::Changed(3)), "{error}");
    test_disk::patch(&path, 550, b"x");
    let error = set_identity(&durable, &disk, size, 512, &table.entries[2], &identity).unwrap_err();
    assert!(matches!(error, EditError::Table(TableError::Damaged { .. })), "{error}");
}

/// No bytes are known that the two readers read differently: so our reading is changed.
#[test]
fn a_copy_that_two_readers_read_differently_is_refused() {
    let bytes = image(512);
    let sound = Copies::read(bytes.as_slice(), bytes.len() as u64, 512).unwrap();
    let mut copy = sound.primary.clone();
    copy.confirm("primary").unwrap();
    copy.header.last_usable -= 1;
    let error = copy.confirm("primary").unwrap_err();
    assert_eq!(error.to_string(), "two readers do not agree about the header of the primary copy");
    assert_eq!(code(error), "gpt-unclear");
}

/// Only the table's sectors: the first and the last of the disk.
#[derive(Debug, Clone)]
struct Ends {
    size: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl ReadAt for Ends {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let tail_at = self.size - self.tail.len() as u64;
        match offset.checked_sub(tail_at) {
            Some(offset) => self.tail.as_slice().read_exact_at(bytes, offset),
            None => self.head.as_slice().read_exact_at(bytes, offset),
        }
    }
}

fn ends(sector_size: u32) -> Ends {
    let bytes = image(sector_size);
    let length = 64 * 1024;
    let tail = bytes[bytes.len() - length..].to_vec();
    Ends { size: bytes.len() as u64, head: bytes[..length].to_vec(), tail }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn hostile_tables_neither_panic_nor_are_believed(
        flips in proptest::collection::vec((any::<bool>(), 0_usize..40_000, 1_u8..), 1..6),
        make_checksums_right in any::<bool>(),
        large in any::<bool>(),
    ) {
        static ENDS: std::sync::LazyLock<[Ends; 2]> =
            std::sync::LazyLock::new(|| [ends(512), ends(4096)]);
        let sound = &ENDS[usize::from(large)];
        let mut disk =
            Ends { size: sound.size, head: sound.head.clone(), tail: sound.tail.clone() };
        for (at_end, at, flip) in flips {
            let sector = if large { 4096 } else { 512 };
            // Mostly in a header, where it matters.
            let at = if at < 30_000 { sector + at % 92 } else { at };
            let bytes = if at_end { &mut disk.tail } else { &mut disk.head };
            let at = if at_end { bytes.len() - 2 * sector + at % (2 * sector) } else { at };
            bytes[at] ^= flip;
        }
        if make_checksums_right {
            let sector = if large { 4096 } else { 512 };
            let header = &mut disk.head[sector..];
            header[16..20].fill(0);
            let sum = crc32fast::hash(&header[..92]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
        }
        if let Ok(table) = read(&disk, disk.size, None) {
            let was = read(sound, sound.size, None).unwrap();
            prop_assert_eq!(table.entries, was.entries);
        }
        let _ = glance(&disk, disk.size, None);
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        signed in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if signed && bytes.len() > 520 {
            bytes[512..520].copy_from_slice(b"EFI PART");
        }
        let _ = read(bytes.as_slice(), bytes.len() as u64, None);
        let _ = read(bytes.as_slice(), u64::MAX, Some(512));
    }
}
