// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a host has slots at all, as far as that can be told without an ESP to start from.

use std::path::Path;

use super::directory::images;
use crate::host::device::BlockDevice;
use crate::host::disk::open_for_reading;
use crate::host::{Root, Slot, gpt};
use crate::settings::HostConfig;

/// Whether any partition in sight has the label of a slot: on any disk, by what the kernel or
/// the disk's own table says, since a table may be damaged and a disk unreadable for this user.
pub(super) fn slots_are_in_sight(root: &Root, config: &HostConfig) -> bool {
    let is_slot = |label: &str| Slot::BOTH.into_iter().any(|slot| config.slots.of(slot) == label);
    let images = if root.is_live() { Vec::new() } else { images(root).unwrap_or_default() };
    images.iter().any(|image| table_has(image, None, &is_slot))
        || BlockDevice::labels(root).iter().any(|label| is_slot(label))
        || BlockDevice::disks(root).iter().any(|disk| {
            disk.size().is_some_and(|size| size > 0)
                && table_has(&disk.node(root), disk.logical_block_size(), &is_slot)
        })
}

fn table_has(disk: &Path, sector_size: Option<u32>, is_slot: &impl Fn(&str) -> bool) -> bool {
    let Ok((file, _, size)) = open_for_reading(disk) else { return false };
    let entries = gpt::glance(&file, size, sector_size).unwrap_or_default();
    entries.iter().any(|entry| is_slot(&entry.label))
}
