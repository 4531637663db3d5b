// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine itself: the ESP is a mounted VFAT.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Place, points, uuids_on};
use crate::host::Root;
use crate::host::device::{BlockDevice, device_number};
use crate::host::disk::Disk;
use crate::host::durable::Durable;
use crate::host::error::HostError;
use crate::host::gpt::ESP_TYPE;
use crate::host::mounts::{self, Mount, Mounts, real_path};
use crate::host::partition::Partition;
use crate::settings::HostConfig;

pub(super) fn find(
    root: &Root,
    config: &HostConfig,
    hint: Option<Uuid>,
    durable: &Durable,
) -> Result<Place, HostError> {
    let points: Vec<PathBuf> = points(config).iter().map(|point| real_path(root, point)).collect();
    let mounts = mounts_after_automount(root, &points)?;
    let mut refusal = None;
    for point in &points {
        let Some(mount) = mounts.at(point).filter(|mount| is_whole_vfat(mount)) else { continue };
        match esp_at(root, mount, hint, config.esp.is_some(), durable) {
            Ok((esp_disk, esp)) => return finish(root, config, mount, esp_disk, esp, durable),
            // With "auto" another of the usual places may have it.
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let points = points.iter().map(|point| point.display().to_string()).collect();
    Err(refusal.unwrap_or(HostError::EspNotMounted { points }))
}

/// Reads what is mounted; an automount at one of the points is made to mount first.
fn mounts_after_automount(root: &Root, points: &[PathBuf]) -> Result<Mounts, HostError> {
    let path = || root.path("proc/self/mountinfo");
    let read = || {
        let mounts = mounts::read(root).map_err(HostError::io("read", path()))?;
        Ok(mounts.unwrap_or_default())
    };
    let mounts: Mounts = read()?;
    let waiting: Vec<&PathBuf> = points
        .iter()
        .filter(|point| mounts.at(point).is_some_and(|mount| mount.kind == "autofs"))
        .collect();
    if waiting.is_empty() {
        return Ok(mounts);
    }
    for point in waiting {
        // Looking into the directory mounts it; where that fails, the mount is missing
        // below and that is what gets reported.
        if let Err(error) = fs::read_dir(root.path(point)) {
            tracing::debug!("cannot look into the automount {}: {error}", point.display());
        }
    }
    read()
}

fn is_whole_vfat(mount: &Mount) -> bool {
    mount.kind == "vfat" && mount.root == Path::new("/")
}

fn esp_at(
    root: &Root,
    mount: &Mount,
    hint: Option<Uuid>,
    is_configured: bool,
    durable: &Durable,
) -> Result<(Disk, Partition), HostError> {
    let not_on_disk =
        |device: String| HostError::EspNotOnDisk { point: mount.point.clone(), device };
    let Some(device) = BlockDevice::by_number(root, mount.device) else {
        return Err(not_on_disk(mount.source.display().to_string()));
    };
    // The firmware sees no device mapper and no RAID, so an ESP on one is two things.
    let (Some(number), Some(disk)) = (device.partition_number(), device.disk()) else {
        return Err(not_on_disk(device.name().to_owned()));
    };
    let disk = Disk::open_device(root, &disk.node(root), Some(disk), durable)?;
    let Some(esp) = disk.partitions().iter().find(|p| p.number == number).cloned() else {
        return Err(HostError::TableNotReread { disk: disk.path().to_owned(), number });
    };
    if let Some(expected) = hint.filter(|hint| *hint != esp.uuid) {
        let point = mount.point.clone();
        return Err(HostError::EspMismatch { point, found: esp.uuid, expected });
    }
    // Some hide their ESP from the firmware behind another type; then it has to be
    // configured or named by the loader.
    if !is_configured && hint.is_none() && esp.type_uuid != ESP_TYPE {
        return Err(HostError::EspNotMounted { points: vec![mount.point.display().to_string()] });
    }
    refuse_twins(root, &disk, &esp)?;
    Ok((disk, esp))
}

/// A cloned disk makes the firmware's choice a matter of luck.
fn refuse_twins(root: &Root, disk: &Disk, esp: &Partition) -> Result<(), HostError> {
    let twin_of = |path: &Path| HostError::EspAmbiguous {
        uuid: esp.uuid,
        reason: format!("{} has a partition with that GUID too", path.display()),
    };
    if disk.partitions().iter().filter(|partition| partition.uuid == esp.uuid).count() > 1 {
        return Err(twin_of(disk.path()));
    }
    for (path, sector_size) in other_disks(root, disk) {
        let has_it = |entry: &flipside_image::gpt::Entry| entry.uuid == esp.uuid;
        if !uuids_on(&path, sector_size, has_it).is_empty() {
            return Err(twin_of(&path));
        }
    }
    Ok(())
}

/// The nodes of all disks with a medium that are neither `disk` nor a part of it, with their sector
/// sizes.
pub(super) fn other_disks(root: &Root, disk: &Disk) -> Vec<(PathBuf, Option<u32>)> {
    let own = disk.device().map(BlockDevice::number);
    // The disks that a RAID or multipath disk is made of hold the same table.
    let parts = disk.device().map(BlockDevice::bottom).unwrap_or_default();
    let is_other = |other: &BlockDevice| {
        let is_ours = Some(other.number()) == own || parts.contains(other);
        !is_ours && other.size().is_some_and(|size| size > 0) && !other.name().starts_with("dm-")
    };
    let others = BlockDevice::disks(root).into_iter().filter(is_other);
    others.map(|other| (other.node(root), other.logical_block_size())).collect()
}

fn finish(
    root: &Root,
    config: &HostConfig,
    mount: &Mount,
    esp_disk: Disk,
    esp: Partition,
    durable: &Durable,
) -> Result<Place, HostError> {
    let esp_directory = root.path(&mount.point);
    let held = File::open(&esp_directory).map_err(HostError::io("open", &esp_directory))?;
    if root.is_live() {
        use std::os::unix::fs::MetadataExt as _;
        // An empty mount point receives no files: what is open now is the mount.
        let found = held.metadata().map_err(HostError::io("ask", &esp_directory))?;
        if device_number(found.dev()) != mount.device {
            let points = vec![mount.point.display().to_string()];
            return Err(HostError::EspNotMounted { points });
        }
    }
    let (disk, esp_disk) = match &config.disk {
        None => (esp_disk, None),
        Some(path) => {
            let device = BlockDevice::by_node(root, path);
            let own = esp_disk.device().map(BlockDevice::number);
            if device.is_some() && device.as_ref().map(BlockDevice::number) == own {
                (esp_disk, None)
            } else {
                let path = device.as_ref().map_or(root.path(path), |device| device.node(root));
                (Disk::open_device(root, &path, device, durable)?, Some(esp_disk))
            }
        }
    };
    Ok(Place { disk, esp_directory, esp, esp_disk, mount: Some(mount.clone()), _held: Some(held) })
}
