// SPDX-License-Identifier: MIT OR Apache-2.0

//! The sectors at the start of a FAT (fatgen103, "Boot Sector and BPB", "FAT32 FSInfo
//! Sector Structure").

use super::geometry::{Geometry, Kind};

const TABLES: u8 = 2;
const HARD_DISK: u8 = 0xf8;
const LABEL: &[u8; 11] = b"ESP        ";

/// The boot sector, as long as a sector. `hidden_sectors` are before the partition.
pub(super) fn encode(geometry: &Geometry, volume_id: u32, hidden_sectors: u32) -> Vec<u8> {
    let wide = geometry.kind == Kind::Fat32;
    let narrow_sectors = u16::try_from(geometry.sectors).ok().filter(|_| !wide).unwrap_or(0);
    let narrow_table = u16::try_from(geometry.table_sectors).ok().filter(|_| !wide).unwrap_or(0);
    let mut sector = if wide { vec![0xeb, 0x58, 0x90] } else { vec![0xeb, 0x3c, 0x90] };
    sector.extend(b"FLIPSIDE");
    sector.extend((geometry.sector_size as u16).to_le_bytes());
    sector.push((geometry.cluster_size / geometry.sector_size) as u8);
    sector.extend(geometry.reserved_sectors.to_le_bytes());
    sector.push(TABLES);
    sector.extend(geometry.root_entries.to_le_bytes());
    sector.extend(narrow_sectors.to_le_bytes());
    sector.push(HARD_DISK);
    sector.extend(narrow_table.to_le_bytes());
    // Sectors a track and heads: what disks without either say.
    sector.extend(63_u16.to_le_bytes());
    sector.extend(255_u16.to_le_bytes());
    sector.extend(hidden_sectors.to_le_bytes());
    let wide_sectors = if narrow_sectors == 0 { geometry.sectors } else { 0 };
    sector.extend(wide_sectors.to_le_bytes());
    if wide {
        sector.extend(geometry.table_sectors.to_le_bytes());
        // Both tables in use, version 0.0, root directory, FSInfo, copy of this sector.
        sector.extend([0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 6, 0]);
        sector.extend([0; 12]);
    }
    // Drive number, no flags (a set bit 0 would be "dirty"), and that what follows is there.
    sector.extend([0x80, 0, 0x29]);
    sector.extend(volume_id.to_le_bytes());
    sector.extend(LABEL);
    sector.extend(match geometry.kind {
        Kind::Fat12 => b"FAT12   ",
        Kind::Fat16 => b"FAT16   ",
        Kind::Fat32 => b"FAT32   ",
    });
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(geometry.sector_size as usize, 0);
    sector
}

/// The FSInfo sector of a file system with this many clusters in use, the first ones.
pub(super) fn encode_fs_info(geometry: &Geometry, used: u32) -> Vec<u8> {
    let mut sector = b"RRaA".to_vec();
    sector.resize(484, 0);
    sector.extend(b"rrAa");
    sector.extend(geometry.clusters.saturating_sub(used).to_le_bytes());
    sector.extend(used.saturating_add(2).to_le_bytes());
    sector.resize(508, 0);
    sector.extend([0, 0, 0x55, 0xaa]);
    sector.resize(geometry.sector_size as usize, 0);
    sector
}

/// The root directory's entry for the volume label.
pub(super) fn label() -> &'static [u8; 11] {
    LABEL
}
