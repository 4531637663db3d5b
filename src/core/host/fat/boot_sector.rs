// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boot sector of a FAT file system: its numbers, checked against each other
//! and the partition's size, so that nothing after this overflows.

use super::{FatError, Kind};
use crate::host::bytes::{u16_at, u32_at};

/// Where FAT12 and FAT16 keep the dirty mark, and where FAT32 does.
const STATE_AT: usize = 0x25;
const STATE_AT_FAT32: usize = 0x41;
const DIRTY: u8 = 1;
/// The fields that the backup of a FAT32 boot sector shares: all up to the boot
/// code except drive number, state, serial number and label.
const SHARED: std::ops::Range<usize> = 0x0b..0x40;

/// Offsets and sizes in bytes from the partition's start.
#[derive(Debug, Clone)]
pub(super) struct BootSector {
    pub kind: Kind,
    pub media: u8,
    pub fat_start: u64,
    pub fat_size: u64,
    pub fat_count: u8,
    /// Which copy of the FAT counts, where they are not kept alike.
    active: u8,
    pub is_mirrored: bool,
    pub backup: Option<u64>,
    pub is_marked_dirty: bool,
}

/// The signature in the last two bytes, and the jump in the first.
fn check_marks(signature: u64, jump: u8) -> Result<(), FatError> {
    if signature != 0xaa55 {
        return Err(FatError::BootSector("it has no signature"));
    }
    if !matches!(jump, 0xeb | 0xe9) {
        return Err(FatError::BootSector("it does not start with a jump"));
    }
    Ok(())
}

/// The kind of a file system with so many clusters, and the bits of its entries.
fn kind_of(clusters: u64, is_fat32: bool) -> Result<(Kind, u64), FatError> {
    match clusters {
        0 => Err(FatError::Geometry("number of clusters")),
        _ if is_fat32 => Ok((Kind::Fat32, 32)),
        1..4085 => Ok((Kind::Fat12, 12)),
        4085..65525 => Ok((Kind::Fat16, 16)),
        _ => Err(FatError::Geometry("number of clusters")),
    }
}

/// The version of a FAT32, and the cluster where its root directory begins.
fn check_root(version: u64, cluster: u64, clusters: u64) -> Result<(), FatError> {
    if version != 0 {
        return Err(FatError::Geometry("version"));
    }
    if !(2..clusters + 2).contains(&cluster) {
        return Err(FatError::Geometry("root directory"));
    }
    Ok(())
}

impl BootSector {
    pub fn parse(sector: &[u8; 512], capacity: u64) -> Result<Self, FatError> {
        let missing = || FatError::BootSector("it is cut short");
        let byte = |at: usize| sector.get(at).copied().ok_or_else(missing);
        let half = |at: usize| u16_at(sector, at).map(u64::from).ok_or_else(missing);
        let word = |at: usize| u32_at(sector, at).map(u64::from).ok_or_else(missing);
        check_marks(half(510)?, byte(0)?)?;
        let sector_size = half(11)?;
        if ![512, 1024, 2048, 4096].contains(&sector_size) {
            return Err(FatError::Geometry("bytes per sector"));
        }
        let cluster_sectors = u64::from(byte(13)?);
        if !cluster_sectors.is_power_of_two() {
            return Err(FatError::Geometry("sectors per cluster"));
        }
        let reserved = half(14)?;
        let fat_count = byte(16)?;
        if reserved == 0 || fat_count == 0 {
            return Err(FatError::Geometry("reserved sectors or number of tables"));
        }
        let media = byte(21)?;
        if !matches!(media, 0xf0 | 0xf8..) {
            return Err(FatError::Geometry("media"));
        }
        let total = match half(19)? {
            0 => word(32)?,
            total => total,
        };
        // No number here has more than 32 bits, so sums and one product fit into 64.
        if total == 0 || total * sector_size > capacity {
            return Err(FatError::Geometry("size"));
        }
        let short_fat_sectors = half(22)?;
        // The specification tells the kinds by the number of clusters, Linux and EDK2 take
        // FAT32 from this field, and mkfs.vfat makes small ones (-F 32).
        let is_fat32 = short_fat_sectors == 0;
        let fat_sectors = if is_fat32 { word(36)? } else { short_fat_sectors };
        let root_sectors = (half(17)? * 32).div_ceil(sector_size);
        let data = total
            .checked_sub(reserved + u64::from(fat_count) * fat_sectors + root_sectors)
            .filter(|_| fat_sectors > 0)
            .ok_or(FatError::Geometry("size of the allocation table"))?;
        let clusters = data / cluster_sectors;
        let (kind, bits) = kind_of(clusters, is_fat32)?;
        if ((clusters + 2) * bits).div_ceil(8) > fat_sectors * sector_size {
            return Err(FatError::Geometry("size of the allocation table"));
        }
        let state_at = if is_fat32 { STATE_AT_FAT32 } else { STATE_AT };
        let mut boot = Self {
            kind,
            media,
            fat_start: reserved * sector_size,
            fat_size: fat_sectors * sector_size,
            fat_count,
            active: 0,
            is_mirrored: true,
            backup: None,
            is_marked_dirty: byte(state_at)? & DIRTY != 0,
        };
        if is_fat32 {
            boot.fat32(half(40)?, half(50)?, reserved, sector_size)?;
            check_root(half(42)?, word(44)?, clusters)?;
        }
        Ok(boot)
    }

    fn fat32(
        &mut self,
        flags: u64,
        backup: u64,
        reserved: u64,
        sector_size: u64,
    ) -> Result<(), FatError> {
        if flags & 0x80 != 0 {
            self.is_mirrored = false;
            self.active = (flags & 0x0f) as u8;
            if self.active >= self.fat_count {
                return Err(FatError::Geometry("active allocation table"));
            }
        }
        self.backup = match backup {
            0 | 0xffff => None,
            backup if backup < reserved => Some(backup * sector_size),
            _ => return Err(FatError::Geometry("place of the backup boot sector")),
        };
        Ok(())
    }

    /// Where the FAT that counts starts.
    pub fn active_fat(&self) -> u64 {
        self.fat_start + u64::from(self.active) * self.fat_size
    }

    pub fn says_the_same(one: &[u8; 512], other: &[u8; 512]) -> bool {
        one.get(SHARED) == other.get(SHARED) && other.ends_with(&[0x55, 0xaa])
    }
}
