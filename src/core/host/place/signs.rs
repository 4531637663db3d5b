// SPDX-License-Identifier: MIT OR Apache-2.0

//! What says that a machine is a flipside host, where its slots are not found: only a machine of
//! which nothing says so is left alone.

use std::path::Path;

use super::directory::images;
use super::points;
use crate::host::cmdline;
use crate::host::device::BlockDevice;
use crate::host::disk::{Disk, open_for_reading};
use crate::host::esp::Esp;
use crate::host::{Root, Slot, gpt};
use crate::settings::HostConfig;

/// What flipside writes in its state directory on a host, and nowhere else. A hold is none of it:
/// it can be set anywhere.
const STATE: [&str; 5] = ["state.json", "configs", "history.jsonl", "machine-id", "trials"];

/// The first fact that says so. `disk` is the one with the ESP or that of the settings, where there
/// is one: labels on another disk may be those of a stick for another machine.
pub(super) fn of_host(root: &Root, config: &HostConfig, disk: Option<&Disk>) -> Option<String> {
    let seen = || match disk {
        Some(disk) => disk
            .slot_in_other_case(config)
            .map(|found| format!("partition {} is labelled {}", found.number, found.label)),
        None => slots_are_in_sight(root, config).then(|| "partitions have its labels".to_owned()),
    };
    settings(config)
        .or_else(|| esp_files(root, config))
        .or_else(|| state(root))
        .or_else(|| boot(root))
        .or_else(seen)
}

fn settings(config: &HostConfig) -> Option<String> {
    let disk = config.disk.as_ref().map(|_| "host.disk is set".to_owned());
    disk.or_else(|| config.esp.as_ref().map(|_| "host.esp is set".to_owned()))
}

/// Files on what is mounted where an ESP belongs.
fn esp_files(root: &Root, config: &HostConfig) -> Option<String> {
    points(config).iter().find_map(|point| {
        let found = Esp::own_file_in(&root.path(point))?;
        Some(format!("there is {}", point.join(found).display()))
    })
}

fn state(root: &Root) -> Option<String> {
    let directory = Path::new("/var/lib/flipside");
    let found = STATE.iter().map(|name| directory.join(name)).find(|path| {
        let path = root.path(path);
        // `configs` may have been made and left empty.
        path.is_file() || path.read_dir().is_ok_and(|mut entries| entries.next().is_some())
    })?;
    Some(format!("there is {}", found.display()))
}

/// How this system was booted: by the initrd part, which found a slot, or for one.
fn boot(root: &Root) -> Option<String> {
    let slot = "/run/flipside/boot/slot";
    if root.path(slot).is_file() {
        return Some(format!("there is {slot}"));
    }
    let command_line = cmdline::read(root).ok()?;
    let is_ours =
        |value: &str| value.starts_with("/dev/flipside/") || value.starts_with("flipside:");
    ["flipside.slot", "root", "usr", "mount.usr"].into_iter().find_map(|key| {
        let value = command_line.last(key)?;
        (key == "flipside.slot" || is_ours(value))
            .then(|| format!("the command line says {key}={value}"))
    })
}

/// Whether any partition in sight has the label of a slot, in whatever case: on any disk, by what
/// the kernel or the disk's own table says, since a table may be damaged and a disk unreadable for
/// this user.
pub(super) fn slots_are_in_sight(root: &Root, config: &HostConfig) -> bool {
    let labels = Slot::BOTH.map(|slot| config.slots.of(slot).to_lowercase());
    let is_slot = |label: &str| labels.contains(&label.to_lowercase());
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
