// SPDX-License-Identifier: MIT OR Apache-2.0

//! The partition tables of a fresh disk, as bytes (UEFI 2.10, chapter 5): protective MBR,
//! primary and backup GPT.
//!
//! The `gpt` crate writes them, but never onto a device: it has moments without any valid table,
//! and the order of writes decides whether a build that was cut off can boot. So it writes into
//! memory, and [`super::write_tables`] writes the bytes out in its own order.

use std::io;

use flipside_core::host::gpt::{Agreement, Table, read};
use flipside_image::gpt::Entry;
use gpt::disk::LogicalBlockSize;
use serde::Serialize;
use uuid::Uuid;

use super::memory_disk::MemoryDisk;

/// The length of a label, in UTF-16 units.
pub(super) const LABEL_LENGTH: usize = 36;
/// As many entries as every disk has (section 5.3.2: at least 16 KiB of them).
pub(super) const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
const ENTRIES_SIZE: u64 = ENTRIES as u64 * ENTRY_SIZE as u64;

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

    const fn block_size(self) -> LogicalBlockSize {
        match self {
            Self::Bytes512 => LogicalBlockSize::Lb512,
            Self::Bytes4096 => LogicalBlockSize::Lb4096,
        }
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

impl Partition {
    /// As the table has it, on a disk of sectors of this size.
    fn entry(&self, sector: u64) -> Entry {
        let first = self.start / sector;
        Entry {
            number: self.number,
            type_uuid: self.type_uuid,
            uuid: self.uuid,
            first,
            last: first.saturating_add(self.size / sector).saturating_sub(1),
            flags: self.flags,
            label: self.label.clone(),
        }
    }
}

fn of_the_crate(entry: &Entry) -> gpt::partition::Partition {
    gpt::partition::Partition {
        part_type_guid: entry.type_uuid.into(),
        part_guid: entry.uuid,
        first_lba: entry.first,
        last_lba: entry.last,
        flags: entry.flags,
        name: entry.label.clone(),
    }
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
///
/// # Errors
/// Of a disk that is too small for its tables; of tables that do not hold what they were given.
pub(super) fn encode(
    disk_uuid: Uuid,
    partitions: &[Partition],
    sector_size: SectorSize,
    size: u64,
) -> io::Result<Tables> {
    let sector = sector_size.wide();
    let entries: Vec<Entry> = partitions.iter().map(|one| one.entry(sector)).collect();
    let last = (size / sector).saturating_sub(1);
    let mut disk = MemoryDisk::new(size);
    // All sectors but the first, as far as 32 bits reach.
    gpt::mbr::ProtectiveMBR::with_lb_size(u32::try_from(last).unwrap_or(u32::MAX))
        .overwrite_lba0(&mut disk)
        .map_err(io::Error::other)?;
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(sector_size.block_size())
        .create_from_device(disk, Some(disk_uuid))
        .map_err(io::Error::other)?;
    // With each partition's own GUID: `add_partition_at` would draw one.
    let all = (1..).zip(entries.iter().map(of_the_crate)).collect();
    table.update_partitions(all).map_err(io::Error::other)?;
    let disk = table.write().map_err(io::Error::other)?;

    // The crate gives each partition the next number and cuts long labels, and says nothing.
    let agreement = Agreement::Same;
    let expected = Table { sector_size: sector_size.bytes(), disk_uuid, entries, agreement };
    if read(&disk, size, Some(sector_size.bytes())).map_err(io::Error::other)? != expected {
        return Err(io::Error::other("it would not hold the partitions that it was given"));
    }
    let backup_offset = last.saturating_sub(ENTRIES_SIZE / sector).saturating_mul(sector);
    Ok(Tables {
        primary: disk.range(0, sector.saturating_mul(2).saturating_add(ENTRIES_SIZE))?,
        backup: disk.range(backup_offset, backup_size(sector_size))?,
        backup_offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let tables = encode(uuid, &partitions(count), sector_size, size).unwrap();
                assert_eq!(hash(&tables), expected, "{sector_size:?} {size} {count}");
            }
        }
    }

    #[test]
    fn the_backup_table_ends_the_disk() {
        for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            let tables = encode(Uuid::from_u128(9), &[], sector_size, 4 << 20).unwrap();
            assert_eq!(tables.backup.len() as u64, backup_size(sector_size));
            assert_eq!(tables.backup_offset + tables.backup.len() as u64, 4 << 20);
        }
    }

    #[test]
    fn a_table_that_would_not_hold_its_partitions_is_no_table() {
        let hole = |partitions: &mut Vec<Partition>| partitions.remove(1);
        let unused = |partitions: &mut Vec<Partition>| {
            partitions[1].type_uuid = Uuid::nil();
            partitions[1].clone()
        };
        let long = |partitions: &mut Vec<Partition>| {
            partitions[1].label = "x".repeat(37);
            partitions[1].clone()
        };
        let beyond = |partitions: &mut Vec<Partition>| {
            partitions[1].start = 1 << 40;
            partitions[1].clone()
        };
        let cases: [fn(&mut Vec<Partition>) -> Partition; 4] = [hole, unused, long, beyond];
        for (case, spoil) in cases.into_iter().enumerate() {
            let mut partitions = partitions(3);
            let disk_uuid = Uuid::from_u128(9);
            assert!(encode(disk_uuid, &partitions, SectorSize::Bytes512, 8 * MIB).is_ok());
            spoil(&mut partitions);
            let refused = encode(disk_uuid, &partitions, SectorSize::Bytes512, 8 * MIB);
            assert!(refused.is_err(), "{case}");
        }
        for size in [0, 512, 20 * 1024] {
            assert!(encode(Uuid::nil(), &[], SectorSize::Bytes4096, size).is_err(), "{size}");
        }
    }
}
