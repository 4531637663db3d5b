// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where each partition lies, and what it is called. Pure: sizes in, places out.
//!
//! # Partition types
//!
//! systemd-gpt-auto-generator mounts, on a host whose command line names no root, the
//! partition of the architecture's root type on the disk of the ESP; of several it takes
//! the one whose label sorts last (UAPI.2, Discoverable Partitions Specification). With
//! slots of that type it would mount `system-b` in every boot, also in one of slot A.
//! So slots have the type "Linux filesystem", which it never takes for the root, and carry
//! the flag "no auto" (bit 63) as well, for tools that take a lone partition of that
//! type for the root of an image. An image that gives its partition a type or flags of
//! its own (`payloads[].partition`) decides for itself.

use std::collections::BTreeSet;

use uuid::{Uuid, uuid};

use super::DiskBuildError;
use super::gpt::{self, Partition, SectorSize};
use super::size::{ALIGNMENT, round_up};

/// EFI system partition (UEFI 2.10, section 5.3.3, table 5.7).
pub(super) const ESP_TYPE: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Linux filesystem data (UAPI.2, "generic Linux data partition").
pub(super) const LINUX_TYPE: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// Not to be mounted by itself (UAPI.2, "partition attribute flags").
pub(super) const NO_AUTO: u64 = 1 << 63;

/// A partition that is wanted, before it has a place.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub label: String,
    pub uuid: Uuid,
    pub type_uuid: Uuid,
    pub flags: u64,
    /// In bytes, rounded up to 1 MiB; `None`, for the last one only, takes the rest of a
    /// device.
    pub size: Option<u64>,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub sector_size: SectorSize,
    /// In bytes, a multiple of the sector size.
    pub size: u64,
    pub partitions: Vec<Partition>,
}

/// The size of the partition for a payload of `payload` bytes: a quarter more, for the
/// releases to come, rounded up to `step`.
pub(super) fn slot_size(payload: u64, step: u64) -> u64 {
    round_up(payload.saturating_add(payload / 4).max(1), step)
}

/// Gives every partition its place, one behind the other, each aligned to 1 MiB, on a
/// disk of `capacity` bytes, or on one that is as large as need be.
///
/// # Errors
/// The number of bytes that are needed, where `capacity` is smaller.
pub(super) fn lay_out(
    wanted: &[Wanted],
    sector_size: SectorSize,
    capacity: Option<u64>,
) -> Result<Layout, u64> {
    let mut at = ALIGNMENT;
    let mut partitions = Vec::with_capacity(wanted.len());
    // The backup table stands behind the last partition.
    let end = capacity.map(|c| c.saturating_sub(gpt::backup_size(sector_size)) & !(ALIGNMENT - 1));
    for (number, wanted) in (1..).zip(wanted) {
        let size = match (wanted.size, end) {
            (Some(size), _) => round_up(size, ALIGNMENT),
            (None, Some(end)) => end.saturating_sub(at).max(ALIGNMENT),
            (None, None) => ALIGNMENT,
        };
        partitions.push(Partition {
            number,
            label: wanted.label.clone(),
            uuid: wanted.uuid,
            type_uuid: wanted.type_uuid,
            flags: wanted.flags,
            start: at,
            size,
        });
        at = at.saturating_add(size);
    }
    let needed = at.saturating_add(ALIGNMENT);
    match (capacity, end) {
        (Some(size), Some(end)) if at <= end => Ok(Layout { sector_size, size, partitions }),
        (Some(_), _) => Err(at.saturating_add(gpt::backup_size(sector_size))),
        // i64::MAX is where files end.
        (None, _) if i64::try_from(needed).is_err() => Err(needed),
        (None, _) => Ok(Layout { sector_size, size: needed, partitions }),
    }
}

/// Checks what GPT asks of labels, and what flipside does: it finds partitions by them.
///
/// # Errors
/// [`DiskBuildError::LabelInvalid`] and [`DiskBuildError::GuidTwice`].
pub(super) fn check(wanted: &[Wanted]) -> Result<(), DiskBuildError> {
    let mut seen = BTreeSet::new();
    for (index, one) in wanted.iter().enumerate() {
        let reason = if index >= gpt::ENTRIES as usize {
            Some("a disk has at most 128 partitions")
        } else if one.label.is_empty() {
            Some("it is empty")
        } else if one.label.encode_utf16().count() > gpt::LABEL_LENGTH {
            Some("it has more than 36 UTF-16 units")
        } else if one.label.chars().any(char::is_control) {
            Some("it has control characters")
        } else if !seen.insert(&one.label) {
            Some("another partition has it")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(DiskBuildError::LabelInvalid { label: one.label.clone(), reason });
        }
    }
    for (index, one) in wanted.iter().enumerate() {
        if let Some(other) = wanted.iter().take(index).find(|other| other.uuid == one.uuid) {
            let (first, second) = (other.label.clone(), one.label.clone());
            return Err(DiskBuildError::GuidTwice { first, second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn wanted(sizes: &[Option<u64>]) -> Vec<Wanted> {
        let partition = |(index, size): (usize, &Option<u64>)| Wanted {
            label: format!("p{index}"),
            uuid: Uuid::from_u128(index as u128),
            type_uuid: LINUX_TYPE,
            flags: 0,
            size: *size,
        };
        sizes.iter().enumerate().map(partition).collect()
    }

    #[test]
    fn a_file_is_as_large_as_its_partitions_need() {
        let sizes = wanted(&[Some(64 * MIB), Some(1), Some(5 * MIB)]);
        let layout = lay_out(&sizes, SectorSize::Bytes512, None).unwrap();
        let places: Vec<_> = layout.partitions.iter().map(|p| (p.start, p.size)).collect();
        assert_eq!(places, [(MIB, 64 * MIB), (65 * MIB, MIB), (66 * MIB, 5 * MIB)]);
        assert_eq!(layout.size, 72 * MIB);
    }

    #[test]
    fn the_last_partition_takes_the_rest_of_a_device() {
        // An odd size, as disks have: the rest ends at a whole MiB before the backup table.
        for (capacity, rest) in
            [(100 * MIB + 20 * 1024, 98 * MIB), (100 * MIB + 512, 97 * MIB), (4 * MIB, MIB)]
        {
            let sizes = wanted(&[Some(MIB), None]);
            let layout = lay_out(&sizes, SectorSize::Bytes512, Some(capacity)).unwrap();
            assert_eq!(layout.partitions[1].size, rest, "{capacity}");
            assert_eq!(layout.size, capacity);
        }
    }

    #[test]
    fn a_device_that_is_too_small_is_told_what_is_needed() {
        let sizes = wanted(&[Some(10 * MIB), None]);
        let needed = 12 * MIB + gpt::backup_size(SectorSize::Bytes4096);
        for capacity in [0, 1, MIB, 12 * MIB, needed - 4096] {
            let refused = lay_out(&sizes, SectorSize::Bytes4096, Some(capacity)).unwrap_err();
            assert_eq!(refused, needed, "{capacity}");
        }
        assert!(lay_out(&sizes, SectorSize::Bytes4096, Some(needed)).is_ok());
    }

    #[test]
    fn sizes_beyond_every_disk_are_refused() {
        for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            for capacity in [None, Some(1 << 40)] {
                let sizes = wanted(&[Some(u64::MAX), Some(u64::MAX)]);
                assert!(lay_out(&sizes, sector_size, capacity).is_err());
            }
        }
    }

    #[test]
    fn labels_that_cannot_be_found_again_are_refused() {
        let long = "x".repeat(37);
        for bad in ["", "a\nb", &long, "p0"] {
            let mut sizes = wanted(&[Some(1), Some(1)]);
            sizes[1].label = bad.into();
            let refused = check(&sizes).unwrap_err();
            assert!(matches!(refused, DiskBuildError::LabelInvalid { .. }), "{bad:?}");
        }
        let mut sizes = wanted(&[Some(1), Some(1)]);
        sizes[1].label = "ä".repeat(36);
        assert!(check(&sizes).is_ok());
        let many: Vec<_> = (0..129).map(|_| Some(1)).collect();
        assert!(check(&wanted(&many)[..128]).is_ok() && check(&wanted(&many)).is_err());
        sizes[1].uuid = sizes[0].uuid;
        assert!(matches!(check(&sizes).unwrap_err(), DiskBuildError::GuidTwice { .. }));
    }

    #[test]
    fn a_slot_has_a_quarter_to_spare() {
        let step = 64 * MIB;
        for (payload, size) in [(0, step), (1, step), (step, 2 * step), (600 * MIB, 768 * MIB)] {
            assert_eq!(slot_size(payload, step), size, "{payload}");
        }
        assert!(slot_size(u64::MAX, step) > 1 << 63);
    }

    proptest! {
        #[test]
        fn partitions_never_overlap_nor_reach_the_tables(
            sizes in prop::collection::vec(1_u64..1 << 40, 1..9),
            capacity in prop::option::of(0_u64..1 << 43),
        ) {
            let sizes: Vec<_> = sizes.into_iter().map(Some).collect();
            if let Ok(layout) = lay_out(&wanted(&sizes), SectorSize::Bytes4096, capacity) {
                let mut free = MIB;
                for (partition, size) in layout.partitions.iter().zip(&sizes) {
                    prop_assert!(partition.start >= free && partition.start % MIB == 0);
                    prop_assert!(partition.size >= size.unwrap());
                    free = partition.start + partition.size;
                }
                prop_assert!(free + gpt::backup_size(SectorSize::Bytes4096) <= layout.size);
            }
        }
    }
}
