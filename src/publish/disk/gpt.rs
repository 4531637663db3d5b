// SPDX-License-Identifier: MIT OR Apache-2.0

//! The partition tables of a fresh disk, as bytes (UEFI 2.10, chapter 5): protective MBR,
//! primary and backup GPT.
//!
//! Written here rather than by the `gpt` crate, which numbers partitions itself and
//! writes through the device in steps of its own: the order of writes onto a device
//! decides whether a build that was cut off can boot.

use serde::Serialize;
use uuid::Uuid;

/// The length of a label, in UTF-16 units.
pub(super) const LABEL_LENGTH: usize = 36;
/// As many entries as every disk has (section 5.3.2: at least 16 KiB of them).
pub(super) const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
const ENTRIES_SIZE: u64 = ENTRIES as u64 * ENTRY_SIZE as u64;
const HEADER_SIZE: u32 = 92;

/// The size of a disk's logical sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SectorSize {
    /// 512 bytes: most disks, and all virtual ones.
    #[default]
    Bytes512,
    /// 4096 bytes: "4Kn" disks.
    Bytes4096,
}

impl SectorSize {
    /// In bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }

    /// By its number of bytes; `None` for any that flipside does not support.
    pub fn from_bytes(bytes: u32) -> Option<Self> {
        [Self::Bytes512, Self::Bytes4096].into_iter().find(|s| s.bytes() == bytes)
    }

    const fn wide(self) -> u64 {
        self.bytes() as u64
    }
}

/// A partition as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its label.
    pub label: String,
    /// Its own GUID.
    pub uuid: Uuid,
    /// Its type.
    pub type_uuid: Uuid,
    /// Its attribute bits.
    pub flags: u64,
    /// Where it starts, in bytes.
    pub start: u64,
    /// How large it is, in bytes.
    pub size: u64,
}

/// The tables of a disk, each with its offset in bytes.
pub(super) struct Tables {
    /// Protective MBR, primary header and entries, from offset 0.
    pub primary: Vec<u8>,
    /// Backup entries and header, up to the disk's end.
    pub backup: Vec<u8>,
    pub backup_offset: u64,
}

/// What the backup table takes at the disk's end, in bytes.
pub(super) const fn backup_size(sector_size: SectorSize) -> u64 {
    // Both sector sizes divide the entries' size.
    ENTRIES_SIZE + sector_size.wide()
}

/// Encodes the tables of a disk of `size` bytes, which the partitions fit.
pub(super) fn encode(
    disk_uuid: Uuid,
    partitions: &[Partition],
    sector_size: SectorSize,
    size: u64,
) -> Tables {
    let sector = sector_size.wide();
    let last = (size / sector).saturating_sub(1);
    let entry_sectors = ENTRIES_SIZE / sector;
    let entries = encode_entries(partitions, sector);
    let header = |own, other, entries_at| {
        let usable = (2 + entry_sectors, last.saturating_sub(entry_sectors + 1));
        encode_header(Header { own, other, usable, disk_uuid, entries_at }, &entries)
    };

    let mut primary = protective_mbr(last);
    pad(&mut primary, sector);
    primary.extend(header(1, last, 2));
    pad(&mut primary, sector);
    primary.extend(&entries);

    let mut backup = entries.clone();
    backup.extend(header(last, 1, last.saturating_sub(entry_sectors)));
    pad(&mut backup, sector);
    let backup_offset = last.saturating_sub(entry_sectors) * sector;
    Tables { primary, backup, backup_offset }
}

fn pad(bytes: &mut Vec<u8>, sector: u64) {
    let length = (bytes.len() as u64).next_multiple_of(sector);
    bytes.resize(usize::try_from(length).unwrap_or(bytes.len()), 0);
}

/// Section 5.2.3, table 5.4: one partition of type 0xEE over the whole disk, as far as
/// 32 bits reach.
fn protective_mbr(last_lba: u64) -> Vec<u8> {
    let mut mbr = vec![0; 446];
    mbr.extend([0x00, 0x00, 0x02, 0x00]);
    mbr.extend([0xee, 0xff, 0xff, 0xff]);
    mbr.extend(1_u32.to_le_bytes());
    mbr.extend(u32::try_from(last_lba).unwrap_or(u32::MAX).to_le_bytes());
    mbr.resize(510, 0);
    mbr.extend([0x55, 0xaa]);
    mbr
}

/// Section 5.3.3, table 5.6.
fn encode_entries(partitions: &[Partition], sector: u64) -> Vec<u8> {
    let mut entries = Vec::new();
    for partition in partitions {
        let first = partition.start / sector;
        let last = (first + partition.size / sector).saturating_sub(1);
        entries.extend(partition.type_uuid.to_bytes_le());
        entries.extend(partition.uuid.to_bytes_le());
        entries.extend(first.to_le_bytes());
        entries.extend(last.to_le_bytes());
        entries.extend(partition.flags.to_le_bytes());
        let label = partition.label.encode_utf16().chain(std::iter::repeat(0));
        entries.extend(label.take(LABEL_LENGTH).flat_map(u16::to_le_bytes));
    }
    entries.resize(ENTRIES_SIZE as usize, 0);
    entries
}

/// What differs between the two headers, and between disks. LBAs.
struct Header {
    own: u64,
    other: u64,
    usable: (u64, u64),
    disk_uuid: Uuid,
    entries_at: u64,
}

/// Section 5.3.2, table 5.5.
fn encode_header(header: Header, entries: &[u8]) -> Vec<u8> {
    let with_crc = |crc: u32| {
        let mut bytes = b"EFI PART".to_vec();
        bytes.extend(0x0001_0000_u32.to_le_bytes());
        bytes.extend(HEADER_SIZE.to_le_bytes());
        bytes.extend(crc.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(header.own.to_le_bytes());
        bytes.extend(header.other.to_le_bytes());
        bytes.extend(header.usable.0.to_le_bytes());
        bytes.extend(header.usable.1.to_le_bytes());
        bytes.extend(header.disk_uuid.to_bytes_le());
        bytes.extend(header.entries_at.to_le_bytes());
        bytes.extend(ENTRIES.to_le_bytes());
        bytes.extend(ENTRY_SIZE.to_le_bytes());
        bytes.extend(crc32fast::hash(entries).to_le_bytes());
        bytes
    };
    // The CRC is taken over the header with a CRC of zero in it.
    with_crc(crc32fast::hash(&with_crc(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn disk(sector_size: SectorSize) -> (Vec<Partition>, Vec<u8>) {
        let size = 8 << 20;
        let partition = |number: u32, label: &str, start: u64| Partition {
            number,
            label: label.into(),
            uuid: Uuid::from_u128(0x1234_5678_9abc_def0_0000_0000_0000_0000 | u128::from(number)),
            type_uuid: super::super::layout::LINUX_TYPE,
            flags: super::super::layout::NO_AUTO,
            start: start << 20,
            size: 2 << 20,
        };
        let partitions = vec![partition(1, "system-ä", 1), partition(2, &"x".repeat(36), 3)];
        let tables = encode(Uuid::from_u128(9), &partitions, sector_size, size);
        let mut bytes = vec![0; size as usize];
        bytes[..tables.primary.len()].copy_from_slice(&tables.primary);
        bytes[tables.backup_offset as usize..].copy_from_slice(&tables.backup);
        (partitions, bytes)
    }

    #[test]
    fn another_implementation_reads_what_was_written() {
        for (sector_size, other) in [
            (SectorSize::Bytes512, gpt::disk::LogicalBlockSize::Lb512),
            (SectorSize::Bytes4096, gpt::disk::LogicalBlockSize::Lb4096),
        ] {
            let (partitions, bytes) = disk(sector_size);
            let read = gpt::GptConfig::new()
                .logical_block_size(other)
                .only_valid_headers(true)
                .open_from_device(Cursor::new(bytes.clone()))
                .unwrap();
            let backup = read.backup_header().unwrap();
            assert_eq!(backup.backup_lba, 1);
            assert_eq!(*read.guid(), Uuid::from_u128(9));
            assert_eq!(read.partitions().len(), 2);
            for expected in &partitions {
                let found = &read.partitions()[&expected.number];
                assert_eq!(found.name, expected.label);
                assert_eq!(found.part_guid, expected.uuid);
                assert_eq!(found.part_type_guid.guid, expected.type_uuid);
                assert_eq!(found.flags, expected.flags);
                assert_eq!(found.bytes_start(other).unwrap(), expected.start);
                assert_eq!(found.bytes_len(other).unwrap(), expected.size);
            }
            let mbr = gpt::mbr::ProtectiveMBR::from_disk(&mut Cursor::new(bytes), other).unwrap();
            let record = mbr.partition(0).unwrap();
            assert_eq!((record.os_type, record.lb_start), (0xee, 1));
        }
    }

    /// Labels of one to four bytes in UTF-8, and as long as a label may be.
    const LABELS: [&str; 5] =
        ["esp", "system-ä", "größe-Ω-слот-日本語", "\u{1f4be} \u{1f5c4} data", FULL];
    const FULL: &str = "ÄÖÜäöüßÄÖÜäöüßÄÖÜäöüßÄÖÜäöüßÄÖ\u{1f4be}\u{1f4be}\u{1f4be}";

    fn partitions(count: u32) -> Vec<Partition> {
        let partition = |number: u32| Partition {
            number,
            label: match LABELS.get(number as usize - 1) {
                Some(label) => (*label).to_owned(),
                None => format!("p{number}"),
            },
            uuid: Uuid::from_u128(0x0f1e_2d3c_4b5a_6978_8796_a5b4_c3d2_e100 + u128::from(number)),
            type_uuid: if number == 1 {
                super::super::layout::ESP_TYPE
            } else {
                super::super::layout::LINUX_TYPE
            },
            flags: if number.is_multiple_of(2) { super::super::layout::NO_AUTO } else { 5 },
            start: u64::from(number) << 15,
            size: 1 << 15,
        };
        (1..=count).map(partition).collect()
    }

    /// SHA-256 of both tables and the place of the second.
    fn hash(tables: &Tables) -> String {
        let at = tables.backup_offset.to_le_bytes();
        let bytes = [&tables.primary[..], &tables.backup, &at].concat();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    /// A disk's size, its partitions, and [`hash`] of its tables with sectors of 512 and of 4096
    /// bytes, as the encoder of flipside 0.1 wrote them.
    const WRITTEN: [(u64, u32, &str, &str); 10] = [
        (
            8 * MIB,
            0,
            "e20276927e9a1191184ebf4cf0d0147798226dc6be42ec44d3a4b339f580068b",
            "da03237ba631c734e65c54afd73c2afebff2af7ff79f057bd9edb6831c3a62e0",
        ),
        (
            8 * MIB,
            5,
            "6d84de296edda4cfaa13413dbb273450a72fd1d778be76542e67e55643c6ad6d",
            "d6ee2a37c515977079c51dce52134f78997ef1a38016d4329d9f6e0c8c6309d3",
        ),
        (
            8 * MIB,
            128,
            "0e7b98ed1a87a0a1fe0c3cddd4c7252665ff20ac4ae9c9aee46163160022f2e9",
            "76bf63a43a974bf44d8e70075d0b71c8c49c91be4c479a37d5001ab927123ee1",
        ),
        (
            100 * MIB + 20 * 1024,
            2,
            "6fcfec53c3039778df53ed38a7aa7952f8f3e37d98749a70fa1e516852ac784c",
            "10af93e25d8e32f9d333beb8edde4120889229a6bfa28eb66fba7e67dcef8408",
        ),
        (
            100 * MIB + 512,
            3,
            "7c9e96405c86651be09b415a7cd1e74165d773da2d0b38831a7a1a3589b88d54",
            "f97e399efee093f78ec9ed9f8224a495f0cc66c1ab9c0d6ce5e1bae76990314c",
        ),
        (
            2 * TIB,
            5,
            "aa73e994ac020caa780a334b8a90af92557b79b45ebb3ca878f46ea65c0e091b",
            "62b6e50bf64a0cdaf8412c57721a68b85ec2e4abdb79eadfd60e0b931cf7a1a3",
        ),
        (
            2 * TIB + 512,
            5,
            "ab55205cd1828786d8ffcfdb93c943a5c0b15a135ae77b4cc1d69e5768237804",
            "62b6e50bf64a0cdaf8412c57721a68b85ec2e4abdb79eadfd60e0b931cf7a1a3",
        ),
        (
            2 * TIB + 4096,
            5,
            "20ffe22d866a655aaefadf326b0ecde782005b0f4cfda171053c13e8cf1faaf0",
            "3b90045bc5a4853307c7217bc7aadba4bfba7243db203e6c5d92695d162f19d9",
        ),
        (
            4 * TIB,
            5,
            "2ea411d0841f2ac3b75e61d8829842a83274f37396b39a3859ffacf4774c4626",
            "dcac1282848fa88586f99a80f90cb9c20071fe1f41bf097e843b885ee575f38f",
        ),
        (
            4 * TIB,
            128,
            "33c7f112be65643d2b4fd54028ca02ad8ae7d28a925a65d27a1ecc056911b24e",
            "4cbb73c77aba143ee7769ddeda2c871f8a0c01f4e6993d25c26358851ba5e4ae",
        ),
    ];

    #[test]
    fn tables_have_the_bytes_that_they_always_had() {
        for (size, count, with_512, with_4096) in WRITTEN {
            for (sector_size, expected) in
                [(SectorSize::Bytes512, with_512), (SectorSize::Bytes4096, with_4096)]
            {
                let uuid = Uuid::from_u128(0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00);
                let tables = encode(uuid, &partitions(count), sector_size, size);
                assert_eq!(hash(&tables), expected, "{sector_size:?} {size} {count}");
            }
        }
    }

    #[test]
    fn the_backup_table_ends_the_disk() {
        for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            let tables = encode(Uuid::nil(), &[], sector_size, 4 << 20);
            assert_eq!(tables.backup.len() as u64, backup_size(sector_size));
            assert_eq!(tables.backup_offset + tables.backup.len() as u64, 4 << 20);
        }
    }

    #[test]
    fn a_protective_mbr_stops_at_32_bits() {
        let mbr = protective_mbr(1 << 40);
        assert_eq!(mbr.len(), 512);
        assert_eq!(mbr[458..462], [0xff; 4]);
    }
}
