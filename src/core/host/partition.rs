// SPDX-License-Identifier: MIT OR Apache-2.0

//! A partition, and what it is identical with (P1).

use std::ops::Range;
use std::path::PathBuf;

use uuid::Uuid;

use super::device::DeviceNumber;
use flipside_image::gpt::Entry;

/// A partition of a [`super::Disk`], as its table describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its GPT label.
    pub label: String,
    /// Unique partition GUID.
    pub uuid: Uuid,
    /// Partition type GUID.
    pub type_uuid: Uuid,
    /// Attribute bits.
    pub flags: u64,
    /// Where it starts on the disk, in bytes.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// First sector, in the disk's own sectors.
    pub first_sector: u64,
    /// Number of the disk's own sectors.
    pub sectors: u64,
    /// Its block device, where the disk is one.
    pub(super) node: Option<Node>,
}

/// A partition's own block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub path: PathBuf,
    pub number: DeviceNumber,
}

impl Partition {
    /// `None` where its numbers do not fit; a checked table has none such.
    pub(super) fn new(entry: &Entry, sector_size: u32, node: Option<Node>) -> Option<Self> {
        let sectors = entry.last.checked_sub(entry.first)?.checked_add(1)?;
        let start = entry.first.checked_mul(u64::from(sector_size))?;
        let size = sectors.checked_mul(u64::from(sector_size))?;
        start.checked_add(size)?;
        Some(Self {
            number: entry.number,
            label: entry.label.clone(),
            uuid: entry.uuid,
            type_uuid: entry.type_uuid,
            flags: entry.flags,
            start,
            size,
            first_sector: entry.first,
            sectors,
            node,
        })
    }

    /// The entry it was made of.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            number: self.number,
            type_uuid: self.type_uuid,
            uuid: self.uuid,
            first: self.first_sector,
            last: self.first_sector.saturating_add(self.sectors).saturating_sub(1),
            flags: self.flags,
            label: self.label.clone(),
        }
    }

    /// Its bytes on the disk.
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.size)
    }
}

/// What a partition is, whatever it is called: P1 compares these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A block device.
    Device(DeviceNumber),
    /// Some bytes of a file.
    Region {
        /// The file's file system (`st_dev`).
        file_system: u64,
        /// The file's inode (`st_ino`).
        inode: u64,
        /// The bytes.
        range: Range<u64>,
    },
}

impl Identity {
    /// Whether writing to one changes the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Device(one), Self::Device(other)) => one == other,
            (
                Self::Region { file_system: a, inode: b, range: one },
                Self::Region { file_system: c, inode: d, range: other },
            ) => (a, b) == (c, d) && one.start < other.end && other.start < one.end,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_identical_overlaps_and_neighbours_do_not() {
        let region = |inode, range| Identity::Region { file_system: 1, inode, range };
        let device = |minor| Identity::Device(DeviceNumber { major: 259, minor });
        for (one, other, expected) in [
            (region(5, 0..10), region(5, 9..20), true),
            (region(5, 0..10), region(5, 2..3), true),
            (region(5, 0..10), region(5, 10..20), false),
            (region(5, 0..10), region(6, 0..10), false),
            (device(1), device(1), true),
            (device(1), device(2), false),
            (device(1), region(1, 0..10), false),
        ] {
            assert_eq!(one.overlaps(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), expected, "{other:?} {one:?}");
        }
    }
}
