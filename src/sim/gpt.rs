// SPDX-License-Identifier: MIT OR Apache-2.0

//! The partition table as firmware reads it (UEFI 2.10, section 5.3): the primary one where
//! its sums are right, else the backup at the disk's end. Written apart from the updater's own.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use uuid::Uuid;

/// The type of an EFI system partition (UEFI 2.10, table 5.7).
pub(super) const ESP_TYPE: Uuid = Uuid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);

/// The most bytes of entries that are read: 128 entries of 128 bytes are usual.
const MOST_ENTRY_BYTES: u64 = 1 << 20;

/// A disk and its partitions.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) file: File,
    pub(super) sector: u64,
    pub(super) partitions: Vec<Partition>,
    /// Whether they are the primary table's; a kernel looks at no other, unless its command line
    /// has `gpt` (Linux, block/partitions/efi.c).
    pub(super) from_primary: bool,
}

/// One partition; start and size in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) label: String,
    pub(super) guid: Uuid,
    pub(super) kind: Uuid,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Disk {
    /// Reads the table of the disk image `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        for sector in [512, 4096] {
            let last = (length / sector).saturating_sub(1);
            for header in [1, last] {
                if let Some(partitions) = read_table(&file, length, sector, header)? {
                    return Ok(Self { file, sector, partitions, from_primary: header == 1 });
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "neither partition table is valid"))
    }

    /// The only partition called `label`.
    pub(super) fn by_label(&self, label: &str) -> Result<&Partition, String> {
        let mut found = self.partitions.iter().filter(|p| p.label == label);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(format!("the disk has no partition {label}")),
            (Some(_), Some(_)) => Err(format!("the disk has two partitions {label}")),
        }
    }

    /// The EFI system partition: the first there is.
    pub(super) fn esp(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.kind == ESP_TYPE)
    }
}

/// Puts the backup in the place of a damaged primary table, as EDK2 does before it boots
/// (`PartitionRestoreGptTable`). `disk` was read from the image `path`.
pub(super) fn restore_primary(path: &Path, disk: &Disk) -> io::Result<()> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let last = (disk.file.metadata()?.len() / disk.sector.max(1)).saturating_sub(1);
    let mut header = [0; 512];
    disk.file.read_exact_at(&mut header, last.saturating_mul(disk.sector))?;
    let entries = entries_of(&header, last).ok_or_else(damaged)?;
    let bytes = u64::from(entries.count).saturating_mul(u64::from(entries.size));
    let mut array = vec![0; usize::try_from(bytes.min(MOST_ENTRY_BYTES)).unwrap_or(0)];
    disk.file.read_exact_at(&mut array, entries.first_sector.saturating_mul(disk.sector))?;
    // Table 5.5: the header's own place, the other's, the entries', and the sum of it all.
    let mut put = |at: usize, value: &[u8]| -> io::Result<()> {
        let field = header.get_mut(at..).and_then(|rest| rest.get_mut(..value.len()));
        field.ok_or_else(damaged)?.copy_from_slice(value);
        Ok(())
    };
    put(24, &1_u64.to_le_bytes())?;
    put(32, &last.to_le_bytes())?;
    put(72, &2_u64.to_le_bytes())?;
    put(16, &[0; 4])?;
    let size = u32_at(&header, 12).and_then(|size| usize::try_from(size).ok());
    let summed = size.and_then(|size| header.get(..size)).ok_or_else(damaged)?;
    let sum = crc32fast::hash(summed);
    header.get_mut(16..20).ok_or_else(damaged)?.copy_from_slice(&sum.to_le_bytes());
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&array, disk.sector.saturating_mul(2))?;
    file.write_all_at(&header, disk.sector)
}

/// Bytes of a GPT structure at an offset, little endian.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.get(..4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.get(..8)?.try_into().ok()?))
}

fn guid_at(bytes: &[u8], at: usize) -> Option<Uuid> {
    Some(Uuid::from_bytes_le(bytes.get(at..)?.get(..16)?.try_into().ok()?))
}

/// The table whose header is at sector `header`; `None` where there is none that is valid.
fn read_table(
    file: &File,
    length: u64,
    sector: u64,
    header: u64,
) -> io::Result<Option<Vec<Partition>>> {
    if header.saturating_mul(sector).saturating_add(512) > length {
        return Ok(None);
    }
    let mut block = [0; 512];
    file.read_exact_at(&mut block, header.saturating_mul(sector))?;
    let Some(entries) = entries_of(&block, header) else { return Ok(None) };
    let start = entries.first_sector.checked_mul(sector);
    let bytes = u64::from(entries.count).checked_mul(u64::from(entries.size));
    let (Some(start), Some(bytes)) = (start, bytes) else { return Ok(None) };
    if bytes > MOST_ENTRY_BYTES || start.checked_add(bytes).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let mut array = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut array, start)?;
    if crc32fast::hash(&array) != entries.sum {
        return Ok(None);
    }
    let size = usize::try_from(entries.size).unwrap_or(usize::MAX);
    let partitions = (1..)
        .zip(array.chunks_exact(size))
        .filter_map(|(number, entry)| partition(number, entry, sector))
        .collect();
    Ok(Some(partitions))
}

/// Where a header says that its entries are.
struct Entries {
    first_sector: u64,
    count: u32,
    size: u32,
    sum: u32,
}

/// Checks a header (section 5.3.2, table 5.5).
fn entries_of(block: &[u8; 512], own_sector: u64) -> Option<Entries> {
    let size = usize::try_from(u32_at(block, 12)?).ok()?;
    if !block.starts_with(b"EFI PART") || size < 92 || u64_at(block, 24)? != own_sector {
        return None;
    }
    let mut summed = block.get(..size)?.to_vec();
    summed.get_mut(16..20)?.fill(0);
    if crc32fast::hash(&summed) != u32_at(block, 16)? {
        return None;
    }
    let entries = Entries {
        first_sector: u64_at(block, 72)?,
        count: u32_at(block, 80)?,
        size: u32_at(block, 84)?,
        sum: u32_at(block, 88)?,
    };
    (entries.size >= 128).then_some(entries)
}

/// An entry (section 5.3.3, table 5.6); `None` for an unused one.
fn partition(number: u32, entry: &[u8], sector: u64) -> Option<Partition> {
    let kind = guid_at(entry, 0)?;
    let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
    if kind.is_nil() || last < first {
        return None;
    }
    Some(Partition {
        number,
        label: super::load_option::from_ucs2(entry.get(56..128)?),
        guid: guid_at(entry, 16)?,
        kind,
        start: first.checked_mul(sector)?,
        size: last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpt::disk::LogicalBlockSize;

    /// A disk of 8 MiB made by another implementation.
    fn make(path: &Path, sectors: LogicalBlockSize) {
        File::create(path).unwrap().set_len(8 << 20).unwrap();
        let mut disk =
            gpt::GptConfig::new().writable(true).logical_block_size(sectors).create(path).unwrap();
        for (label, kind) in [
            ("esp", gpt::partition_types::EFI),
            ("system-a", gpt::partition_types::LINUX_FS),
            ("system-b", gpt::partition_types::LINUX_FS),
        ] {
            disk.add_partition(label, 1 << 20, kind, 0, None).unwrap();
        }
        disk.write().unwrap();
    }

    #[test]
    fn both_sector_sizes_are_read() {
        for (sectors, size) in [(LogicalBlockSize::Lb512, 512), (LogicalBlockSize::Lb4096, 4096)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("disk.img");
            make(&path, sectors);
            let disk = Disk::open(&path).unwrap();
            assert_eq!(disk.sector, size);
            assert_eq!(disk.esp().unwrap().label, "esp");
            let other = gpt::GptConfig::new().logical_block_size(sectors).open(&path).unwrap();
            for (number, theirs) in other.partitions() {
                let ours = disk.by_label(&theirs.name).unwrap();
                assert_eq!(ours.number, *number);
                assert_eq!(ours.guid, theirs.part_guid);
                assert_eq!(ours.start, theirs.bytes_start(sectors).unwrap());
                assert_eq!(ours.size, theirs.bytes_len(sectors).unwrap());
            }
            assert!(disk.by_label("system-c").is_err());
        }
    }

    #[test]
    fn a_damaged_primary_table_is_replaced_by_the_backup() {
        for damage in [512 + 16, 512 + 60, 1024 + 300] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("disk.img");
            make(&path, LogicalBlockSize::Lb512);
            let before = Disk::open(&path).unwrap().partitions;
            let file = File::options().write(true).open(&path).unwrap();
            file.write_all_at(&[0xff], damage).unwrap();
            let disk = Disk::open(&path).unwrap();
            assert_eq!((&disk.partitions, disk.from_primary), (&before, false));
            restore_primary(&path, &disk).unwrap();
            let disk = Disk::open(&path).unwrap();
            assert_eq!((&disk.partitions, disk.from_primary), (&before, true));
            assert!(gpt::GptConfig::new().open(&path).is_ok(), "to others as well");
            file.write_all_at(&[0xff], damage).unwrap();
            file.write_all_at(&[0xff], (8 << 20) - 512 + 20).unwrap();
            assert!(Disk::open(&path).is_err(), "both are damaged");
        }
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        for length in [0, 511, 512, 1024, 8192, 100_000] {
            std::fs::write(&path, vec![0xff; length]).unwrap();
            assert!(Disk::open(&path).is_err(), "{length}");
        }
    }
}
