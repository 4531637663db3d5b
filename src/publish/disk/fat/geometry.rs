// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which FAT a partition gets, and where its parts lie.

use std::ops::Range;

use super::super::gpt::SectorSize;

/// So far from the cluster counts at which one type becomes another that no
/// implementation is in doubt ("FAT Type Determination" warns of off-by-ones).
const MARGIN: u64 = 64;
/// Entries of the root directory of FAT12 and FAT16, 32 bytes each.
const ROOT_ENTRIES: u16 = 512;
/// The data begins at a multiple of this many bytes, so that files do not straddle pages.
const DATA_ALIGNMENT: u64 = 4096;
/// Copies of the table.
const TABLES: u64 = 2;
/// More clusters than this want larger ones instead: hosts keep the table in memory.
const MANY_CLUSTERS: u64 = 1 << 21;

/// The width of the table's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

impl Kind {
    const fn bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// How many clusters there may be.
    const fn clusters(self) -> Range<u64> {
        match self {
            Self::Fat12 => 1..4085 - MARGIN,
            Self::Fat16 => 4085 + MARGIN..65525 - MARGIN,
            Self::Fat32 => 65525 + MARGIN..0x0fff_fff5 - MARGIN,
        }
    }
}

/// Sizes and places of a file system's parts. Offsets are in bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    pub kind: Kind,
    /// In bytes.
    pub sector_size: u32,
    /// In bytes.
    pub cluster_size: u32,
    pub sectors: u32,
    pub reserved_sectors: u16,
    pub table_sectors: u32,
    /// 0 for FAT32, whose root directory is like any other.
    pub root_entries: u16,
    pub clusters: u32,
}

impl Geometry {
    /// The geometry for `size` bytes: FAT32 wherever it can be, with clusters of 4096
    /// bytes, which is what flash and page cache like, unless only others give a cluster
    /// count that the type has. `None` where nothing does.
    pub(super) fn choose(size: u64, sector_size: SectorSize) -> Option<Self> {
        let sizes = [4096, 2048, 1024, 512, 8192, 16384, 32768];
        let any =
            |kind| sizes.into_iter().filter_map(move |c| Self::new(kind, size, sector_size, c));
        any(Kind::Fat32)
            .find(|geometry| u64::from(geometry.clusters) < MANY_CLUSTERS)
            .or_else(|| any(Kind::Fat32).next_back())
            .or_else(|| any(Kind::Fat16).next())
            .or_else(|| any(Kind::Fat12).min_by_key(|geometry| geometry.cluster_size))
    }

    fn new(kind: Kind, size: u64, sector_size: SectorSize, cluster: u32) -> Option<Self> {
        let sector = sector_size.bytes();
        if cluster < sector || cluster / sector > 128 {
            return None;
        }
        let wide = u64::from(sector);
        let sectors = u32::try_from(size / wide).ok()?;
        let (reserved, root_entries) = match kind {
            Kind::Fat32 => (32, 0),
            Kind::Fat12 | Kind::Fat16 => (1, ROOT_ENTRIES),
        };
        let root = u64::from(root_entries) * 32 / wide;
        // A little more than enough: as if everything were clusters.
        let most = size / u64::from(cluster) + 2;
        let table_sectors = (most * kind.bits()).div_ceil(8).div_ceil(wide);
        let unaligned = reserved + TABLES * table_sectors + root;
        let data = unaligned.next_multiple_of(u64::from(cluster).max(DATA_ALIGNMENT) / wide);
        let reserved = reserved + (data - unaligned);
        let clusters = u64::from(sectors).checked_sub(data)? * wide / u64::from(cluster);
        if !kind.clusters().contains(&clusters) {
            return None;
        }
        Some(Self {
            kind,
            sector_size: sector,
            cluster_size: cluster,
            sectors,
            reserved_sectors: u16::try_from(reserved).ok()?,
            table_sectors: u32::try_from(table_sectors).ok()?,
            root_entries,
            clusters: u32::try_from(clusters).ok()?,
        })
    }

    fn bytes(&self, sectors: u64) -> u64 {
        sectors * u64::from(self.sector_size)
    }

    /// Where the boot sector and its copy lie, each with the place of its FSInfo sector
    /// before it.
    pub(super) fn boot_sectors(&self) -> Vec<(u64, u64)> {
        match self.kind {
            Kind::Fat32 => vec![(self.bytes(1), 0), (self.bytes(7), self.bytes(6))],
            Kind::Fat12 | Kind::Fat16 => vec![(0, 0)],
        }
    }

    /// Where the copies of the table lie.
    pub(super) fn tables(&self) -> Vec<u64> {
        let sector = |n| u64::from(self.reserved_sectors) + n * u64::from(self.table_sectors);
        (0..TABLES).map(|n| self.bytes(sector(n))).collect()
    }

    /// Where the root directory of FAT12 and FAT16 lies.
    pub(super) fn fixed_root(&self) -> u64 {
        let tables = TABLES * u64::from(self.table_sectors);
        self.bytes(u64::from(self.reserved_sectors) + tables)
    }

    /// Where cluster `number` lies; the first is 2.
    pub(super) fn cluster(&self, number: u64) -> u64 {
        let data = self.fixed_root() + u64::from(self.root_entries) * 32;
        data + number.saturating_sub(2) * u64::from(self.cluster_size)
    }

    /// The table for chains of this many clusters each, one behind the other from cluster
    /// 2; what follows is zero, for free.
    pub(super) fn encode_table(&self, chains: &[u64]) -> Vec<u8> {
        // Entry 0 is the medium, entry 1 has the flags for a clean volume without errors.
        let mut entries = vec![0xffff_fff8_u32, 0xffff_ffff];
        for chain in chains {
            for left in (0..*chain).rev() {
                let next = u32::try_from(entries.len() + 1).unwrap_or(u32::MAX);
                entries.push(if left == 0 { u32::MAX } else { next });
            }
        }
        match self.kind {
            Kind::Fat32 => entries.iter().flat_map(|e| (e & 0x0fff_ffff).to_le_bytes()).collect(),
            Kind::Fat16 => entries.iter().flat_map(|e| (*e as u16).to_le_bytes()).collect(),
            Kind::Fat12 => entries
                .chunks(2)
                .flat_map(|pair| {
                    let entry = |n: usize| pair.get(n).map_or(0, |e| e & 0xfff);
                    let [one, two, three, _] = (entry(0) | entry(1) << 12).to_le_bytes();
                    [one, two, three]
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_kind(kind: Kind) -> Geometry {
        let size = match kind {
            Kind::Fat12 => 1 << 20,
            Kind::Fat16 => 16 << 20,
            Kind::Fat32 => 512 << 20,
        };
        let geometry = Geometry::choose(size, SectorSize::Bytes512).unwrap();
        assert_eq!(geometry.kind, kind);
        geometry
    }

    #[test]
    fn chains_follow_each_other() {
        let chains = [3, 1];
        assert_eq!(
            of_kind(Kind::Fat12).encode_table(&chains),
            [0xf8, 0xff, 0xff, 0x03, 0x40, 0x00, 0xff, 0xff, 0xff]
        );
        let wide = of_kind(Kind::Fat16).encode_table(&chains);
        assert_eq!(wide, [0xf8, 0xff, 0xff, 0xff, 3, 0, 4, 0, 0xff, 0xff, 0xff, 0xff]);
        let wider = of_kind(Kind::Fat32).encode_table(&chains);
        assert_eq!(wider[..8], [0xf8, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(wider[8..16], [3, 0, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn sizes_that_no_fat_has_are_refused() {
        for size in [0, 1, 9_000, u64::MAX, 1 << 42] {
            assert_eq!(Geometry::choose(size, SectorSize::Bytes512), None, "{size}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_fit_the_whole(size in 64_u64 << 10..1 << 40, large in any::<bool>()) {
            let sector_size = if large { SectorSize::Bytes4096 } else { SectorSize::Bytes512 };
            if let Some(geometry) = Geometry::choose(size, sector_size) {
                let end = geometry.cluster(u64::from(geometry.clusters) + 2);
                prop_assert!(end <= size);
                prop_assert_eq!(geometry.cluster(2) % 4096, 0);
                let entries = u64::from(geometry.table_sectors) * u64::from(geometry.sector_size)
                    * 8 / geometry.kind.bits();
                prop_assert!(entries >= u64::from(geometry.clusters) + 2);
            } else {
                prop_assert!(size < 1 << 20, "{}", size);
            }
        }
    }
}
