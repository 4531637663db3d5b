// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boot sector of a FAT file system (Microsoft's FAT specification, August 2005, and `fs/fat`
//! of Linux): its numbers, checked against each other and the partition's size, so that nothing
//! after this overflows. And the first entries of the allocation table, which are marks.

use crate::bytes::{u16_at, u32_at};

/// The three kinds of FAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 12 bits per cluster.
    Fat12,
    /// 16.
    Fat16,
    /// 32, of which 28 count.
    Fat32,
}

/// What is wrong with a boot sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BootSectorError {
    /// It is none.
    #[error("its boot sector is not that of a FAT file system ({0})")]
    NotFat(&'static str),
    /// Its numbers do not fit together or into the partition.
    #[error("its boot sector is damaged ({0})")]
    Geometry(&'static str),
}

/// What the second entry of the FAT says (specification, "FAT[1]"; Windows and EDK2 keep
/// it, Linux does not).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// It was not cleanly unmounted.
    pub is_dirty: bool,
    /// A bad sector was met.
    pub had_errors: bool,
}

/// Where FAT12 and FAT16 keep the dirty mark, and where FAT32 does.
const STATE_AT: usize = 0x25;
const STATE_AT_FAT32: usize = 0x41;
const DIRTY: u8 = 1;
/// The fields that the backup of a FAT32 boot sector shares: all up to the boot
/// code except drive number, state, serial number and label.
const SHARED: std::ops::Range<usize> = 0x0b..0x40;

/// Offsets and sizes in bytes from the partition's start.
#[derive(Debug, Clone)]
pub struct BootSector {
    /// Which FAT it is.
    pub kind: Kind,
    media: u8,
    /// Where the first copy of the FAT starts.
    pub fat_start: u64,
    /// The size of one copy.
    pub fat_size: u64,
    /// How many copies there are.
    pub fat_count: u8,
    /// Which copy of the FAT counts, where they are not kept alike.
    active: u8,
    /// Whether the copies are kept alike.
    pub is_mirrored: bool,
    /// Where FAT32's second boot sector is, if there is one.
    pub backup: Option<u64>,
    /// Whether it was in use when the power went away, as the boot sector says.
    pub is_marked_dirty: bool,
}

/// The signature in the last two bytes, and the jump in the first.
fn check_marks(signature: u64, jump: u8) -> Result<(), BootSectorError> {
    if signature != 0xaa55 {
        return Err(BootSectorError::NotFat("it has no signature"));
    }
    if !matches!(jump, 0xeb | 0xe9) {
        return Err(BootSectorError::NotFat("it does not start with a jump"));
    }
    Ok(())
}

/// The kind of a file system with so many clusters, and the bits of its entries.
fn kind_of(clusters: u64, is_fat32: bool) -> Result<(Kind, u64), BootSectorError> {
    match clusters {
        0 => Err(BootSectorError::Geometry("number of clusters")),
        _ if is_fat32 => Ok((Kind::Fat32, 32)),
        1..4085 => Ok((Kind::Fat12, 12)),
        4085..65525 => Ok((Kind::Fat16, 16)),
        _ => Err(BootSectorError::Geometry("number of clusters")),
    }
}

/// The version of a FAT32, and the cluster where its root directory begins.
fn check_root(version: u64, cluster: u64, clusters: u64) -> Result<(), BootSectorError> {
    if version != 0 {
        return Err(BootSectorError::Geometry("version"));
    }
    if !(2..clusters + 2).contains(&cluster) {
        return Err(BootSectorError::Geometry("root directory"));
    }
    Ok(())
}

impl BootSector {
    /// Reads the first sector of a partition of `capacity` bytes.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(sector: &[u8; 512], capacity: u64) -> Result<Self, BootSectorError> {
        let missing = || BootSectorError::NotFat("it is cut short");
        let byte = |at: usize| sector.get(at).copied().ok_or_else(missing);
        let half = |at: usize| u16_at(sector, at).map(u64::from).ok_or_else(missing);
        let word = |at: usize| u32_at(sector, at).map(u64::from).ok_or_else(missing);
        check_marks(half(510)?, byte(0)?)?;
        let sector_size = half(11)?;
        if ![512, 1024, 2048, 4096].contains(&sector_size) {
            return Err(BootSectorError::Geometry("bytes per sector"));
        }
        let cluster_sectors = u64::from(byte(13)?);
        if !cluster_sectors.is_power_of_two() {
            return Err(BootSectorError::Geometry("sectors per cluster"));
        }
        let reserved = half(14)?;
        let fat_count = byte(16)?;
        if reserved == 0 || fat_count == 0 {
            return Err(BootSectorError::Geometry("reserved sectors or number of tables"));
        }
        let media = byte(21)?;
        if !matches!(media, 0xf0 | 0xf8..) {
            return Err(BootSectorError::Geometry("media"));
        }
        let total = match half(19)? {
            0 => word(32)?,
            total => total,
        };
        // No number here has more than 32 bits, so sums and one product fit into 64.
        if total == 0 || total * sector_size > capacity {
            return Err(BootSectorError::Geometry("size"));
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
            .ok_or(BootSectorError::Geometry("size of the allocation table"))?;
        let clusters = data / cluster_sectors;
        let (kind, bits) = kind_of(clusters, is_fat32)?;
        if ((clusters + 2) * bits).div_ceil(8) > fat_sectors * sector_size {
            return Err(BootSectorError::Geometry("size of the allocation table"));
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
    ) -> Result<(), BootSectorError> {
        if flags & 0x80 != 0 {
            self.is_mirrored = false;
            self.active = (flags & 0x0f) as u8;
            if self.active >= self.fat_count {
                return Err(BootSectorError::Geometry("active allocation table"));
            }
        }
        self.backup = match backup {
            0 | 0xffff => None,
            backup if backup < reserved => Some(backup * sector_size),
            _ => return Err(BootSectorError::Geometry("place of the backup boot sector")),
        };
        Ok(())
    }

    /// Where the FAT that counts starts.
    pub fn active_fat(&self) -> u64 {
        self.fat_start + u64::from(self.active) * self.fat_size
    }

    /// The marks in the first 8 bytes of a FAT; `None` where it does not start as it should.
    pub fn marks(&self, start: &[u8; 8]) -> Option<Marks> {
        let (first, marks) = match self.kind {
            Kind::Fat12 => (u16_at(start, 0).map(|e| u32::from(e) | !0xfff), Marks::default()),
            Kind::Fat16 => {
                let second = u16_at(start, 2).unwrap_or(0);
                let marks =
                    Marks { is_dirty: second & 0x8000 == 0, had_errors: second & 0x4000 == 0 };
                (u16_at(start, 0).map(|e| u32::from(e) | !0xffff), marks)
            }
            Kind::Fat32 => {
                let second = u32_at(start, 4).unwrap_or(0);
                let marks = Marks {
                    is_dirty: second & 0x0800_0000 == 0,
                    had_errors: second & 0x0400_0000 == 0,
                };
                (u32_at(start, 0).map(|e| e | 0xf000_0000), marks)
            }
        };
        // FAT[0]: the media byte, all other bits set.
        (first == Some(0xffff_ff00 | u32::from(self.media))).then_some(marks)
    }

    /// Whether FAT32's second boot sector says what the first says.
    pub fn says_the_same(one: &[u8; 512], other: &[u8; 512]) -> bool {
        one.get(SHARED) == other.get(SHARED) && other.ends_with(&[0x55, 0xaa])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// FAT16 of 8 MiB, with two tables.
    fn sector() -> [u8; 512] {
        let mut sector = [0; 512];
        sector[0] = 0xeb;
        sector[11..24].copy_from_slice(&[0, 2, 2, 1, 0, 2, 0, 2, 0, 0x40, 0xf8, 32, 0]);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn the_tables_are_found_and_their_marks_read() {
        let boot = BootSector::parse(&sector(), 8 << 20).unwrap();
        assert_eq!((boot.kind, boot.fat_count), (Kind::Fat16, 2));
        assert_eq!((boot.fat_start, boot.fat_size), (512, 32 * 512));
        for (start, expected) in [
            ([0xf8, 0xff, 0xff, 0xff], Some((false, false))),
            ([0xf8, 0xff, 0xff, 0x7f], Some((true, false))),
            ([0xf8, 0xff, 0xff, 0xbf], Some((false, true))),
            ([0xf0, 0xff, 0xff, 0xff], None),
            ([0xf8, 0x0f, 0xff, 0xff], None),
        ] {
            let marks = boot.marks(&[&start[..], &[0; 4]].concat().try_into().unwrap());
            assert_eq!(marks.map(|m| (m.is_dirty, m.had_errors)), expected, "{start:?}");
        }
        let error = BootSector::parse(&sector(), (8 << 20) - 1).unwrap_err();
        assert_eq!(error, BootSectorError::Geometry("size"));
        assert!(matches!(BootSector::parse(&[0; 512], 1), Err(BootSectorError::NotFat(_))));
    }

    proptest! {
        #[test]
        fn what_is_taken_lies_in_the_partition(
            edits in prop::collection::vec((0_usize..96, any::<u8>()), 0..8), capacity: u64,
        ) {
            let mut sector = sector();
            for (at, value) in edits {
                sector[at] = value;
            }
            if let Ok(boot) = BootSector::parse(&sector, capacity) {
                prop_assert!(boot.fat_start + u64::from(boot.fat_count) * boot.fat_size <= capacity);
                prop_assert!(boot.active_fat() + boot.fat_size <= capacity);
            }
        }
    }
}
