// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::host::test_disk::{MIB, program, run};

/// A partition in memory.
struct Bytes(Vec<u8>);

impl Storage for Bytes {
    fn name(&self) -> String {
        "bytes".into()
    }
    fn capacity(&self) -> u64 {
        self.0.len() as u64
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        crate::host::gpt::ReadAt::read_exact_at(self.0.as_slice(), bytes, offset)
    }
}

/// What mkfs.vfat makes of `size` bytes with these arguments.
fn made(size: u64, arguments: &[&str]) -> Bytes {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("esp.img");
    fs::File::create(&path).unwrap().set_len(size).unwrap();
    run(program("mkfs.vfat").args(arguments).arg(&path));
    Bytes(fs::read(&path).unwrap())
}

/// One of each kind, with the offsets of its dirty mark and of its FAT.
fn one_of_each() -> [(Kind, Bytes, usize); 3] {
    [
        (Kind::Fat12, made(2 * MIB, &["-F", "12"]), 0x25),
        (Kind::Fat16, made(16 * MIB, &["-F", "16"]), 0x25),
        (Kind::Fat32, made(36 * MIB, &["-F", "32", "-s", "1"]), 0x41),
    ]
}

#[test]
fn what_mkfs_makes_is_sound() {
    for (kind, bytes, _) in one_of_each() {
        for used in [Use::Offline, Use::Mounted] {
            assert_eq!(check(&bytes, used).unwrap(), Found::Sound(kind));
        }
    }
    // Too few clusters for FAT32 by the book, but Linux and EDK2 take it for what it says.
    for arguments in [
        &["-F", "32"][..],
        &["-F", "32", "-S", "4096"],
        &["-F", "32", "-f", "1"],
        &["-F", "32", "-b", "0"],
    ] {
        let bytes = made(34 * MIB, arguments);
        assert_eq!(
            check(&bytes, Use::Offline).unwrap(),
            Found::Sound(Kind::Fat32),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_dirty_mark_counts_where_nobody_has_it_mounted() {
    for (kind, bytes, state_at) in one_of_each() {
        let mut dirty = Bytes(bytes.0.clone());
        dirty.0[state_at] |= 1;
        assert!(matches!(check(&dirty, Use::Offline), Err(FatError::Dirty)), "{kind:?}");
        assert_eq!(check(&dirty, Use::Mounted).unwrap(), Found::Sound(kind));
    }
}

#[test]
fn the_marks_in_the_table_count_too() {
    for (kind, bytes, _) in one_of_each() {
        let boot = BootSector::parse(bytes.0[..512].try_into().unwrap(), bytes.capacity()).unwrap();
        // The highest byte of FAT[1]; FAT12 has no marks.
        let (at, dirty, errors) = match kind {
            Kind::Fat12 => continue,
            Kind::Fat16 => (3, 0x80, 0x40),
            Kind::Fat32 => (7, 0x08, 0x04),
        };
        for (mark, is_dirty) in [(dirty, true), (errors, false)] {
            let mut marked = Bytes(bytes.0.clone());
            for copy in 0..2 {
                marked.0[(boot.fat_start + copy * boot.fat_size) as usize + at] &= !mark;
            }
            match check(&marked, Use::Offline) {
                Err(FatError::Dirty) => assert!(is_dirty, "{kind:?}"),
                Err(FatError::DiskErrors) => assert!(!is_dirty, "{kind:?}"),
                other => panic!("{kind:?} {other:?}"),
            }
            assert!(check(&marked, Use::Mounted).is_ok());
        }
    }
}

#[test]
fn damage_is_found_mounted_or_not() {
    for (kind, bytes, _) in one_of_each() {
        let boot = BootSector::parse(bytes.0[..512].try_into().unwrap(), bytes.capacity()).unwrap();
        let (fat, size) = (boot.fat_start as usize, boot.fat_size as usize);
        for (name, at, value) in [
            ("the signature", 510, 0),
            ("the jump", 0, 0x33),
            ("bytes per sector", 11, 3),
            ("sectors per cluster", 13, 3),
            ("no sectors per cluster", 13, 0),
            ("no tables", 16, 0),
            ("media", 21, 0x12),
            ("the table's first byte", fat, 0x00),
            ("the second table", fat + size + size / 2, 0x77),
            ("the second table's last byte", fat + 2 * size - 1, 0x77),
        ] {
            let mut damaged = Bytes(bytes.0.clone());
            damaged.0[at] = value;
            for used in [Use::Offline, Use::Mounted] {
                let error = check(&damaged, used).unwrap_err();
                assert!(!matches!(error, FatError::Dirty), "{kind:?} {name}");
            }
        }
        let short = Bytes(bytes.0[..bytes.0.len() / 2].to_vec());
        assert!(matches!(
            check(&short, Use::Mounted),
            Err(FatError::BootSector(BootSectorError::Geometry("size")))
        ));
        if kind == Kind::Fat32 {
            let mut damaged = Bytes(bytes.0.clone());
            damaged.0[6 * 512 + 13] = 8;
            assert!(matches!(check(&damaged, Use::Mounted), Err(FatError::BackupDiffers)));
        }
    }
}

#[test]
fn an_empty_partition_is_unformatted_unless_it_is_mounted() {
    let empty = Bytes(vec![0; 4096]);
    assert_eq!(check(&empty, Use::Offline).unwrap(), Found::Unformatted);
    assert!(check(&empty, Use::Mounted).is_err());
    assert!(check(&Bytes(vec![0; 100]), Use::Offline).is_err());
    assert!(check(&Bytes(vec![0xff; 9000]), Use::Offline).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn hostile_boot_sectors_are_survived(
        edits in proptest::collection::vec((0_usize..96, any::<u8>()), 1..8),
        capacity in any::<u64>(),
    ) {
        static SOUND: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| made(34 * MIB, &["-F", "32"]).0[..65536].to_vec());
        let mut bytes = Bytes(SOUND.clone());
        for (at, value) in edits {
            bytes.0[at] = value;
        }
        let _ = check(&bytes, Use::Offline);
        if let Ok(boot) = BootSector::parse(bytes.0[..512].try_into().unwrap(), capacity) {
            // What passed lies in the partition.
            prop_assert!(boot.fat_start + u64::from(boot.fat_count) * boot.fat_size <= capacity);
            prop_assert!(boot.active_fat() + boot.fat_size <= capacity);
        }
    }
}
