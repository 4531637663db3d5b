// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where this host's ESP is, and the disk with its slots.

mod directory;
mod mounted;
mod signs;

use std::fs::File;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Root;
use super::disk::{Disk, open_for_reading};
use super::durable::Durable;
use super::error::HostError;
use super::fat;
use super::gpt::{self, ESP_TYPE};
use super::mounts::Mount;
use super::partition::Partition;
use crate::settings::HostConfig;
use flipside_image::efi::device_path::PartitionNode;
use flipside_image::gpt::Entry;

/// What a host's boot files and slots are on.
#[derive(Debug)]
pub struct Place {
    /// The disk with the slots.
    pub disk: Disk,
    /// The ESP's content.
    pub esp_directory: PathBuf,
    /// The ESP's partition.
    pub esp: Partition,
    /// The disk that holds the ESP, where it is another.
    esp_disk: Option<Disk>,
    /// How the ESP is mounted; none on a host in a directory.
    mount: Option<Mount>,
    /// Keeps an automount from ending while the ESP is used.
    _held: Option<File>,
}

/// Finds the ESP and the slots' disk. `esp_hint` is the partition that the boot loader
/// named (`LoaderDevicePartUUID`, `StubDevicePartUUID`), where it did.
///
/// # Errors
/// `esp-not-mounted`, `esp-mismatch`, `esp-ambiguous`, `esp-not-on-disk`, `disk-missing`,
/// and those of [`Disk::open`].
pub(crate) fn find(
    root: &Root,
    config: &HostConfig,
    esp_hint: Option<Uuid>,
    durable: &Durable,
) -> Result<Place, HostError> {
    if root.is_live() {
        mounted::find(root, config, esp_hint, durable)
    } else {
        directory::find(root, config, esp_hint, durable)
    }
}

/// Where ESPs are mounted, in the order of the Boot Loader Specification and bootctl.
const USUAL_POINTS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

/// Where this host's ESP may be mounted.
fn points(config: &HostConfig) -> Vec<PathBuf> {
    match &config.esp {
        Some(point) => vec![point.clone()],
        None => USUAL_POINTS.map(PathBuf::from).to_vec(),
    }
}

/// The same, and `None` on a machine that is no flipside host: it has no partition with a slot's
/// label, and nothing says that it should have one. What says so: the settings (`host.disk`,
/// `host.esp`), flipside's files on the ESP or in its state directory, how the system was booted,
/// labels that differ in upper and lower case, and what the `firmware` says.
///
/// # Errors
/// As [`find`], and `slot-missing`.
pub(crate) fn find_if_host(
    root: &Root,
    config: &HostConfig,
    esp_hint: Option<Uuid>,
    durable: &Durable,
    firmware: impl Fn() -> Option<String>,
) -> Result<Option<Place>, HostError> {
    let sign = |disk: Option<&Disk>| signs::of_host(root, config, disk).or_else(&firmware);
    match find(root, config, esp_hint, durable) {
        Ok(place) if place.disk.has_slots(config) => Ok(Some(place)),
        Ok(place) => match sign(Some(&place.disk)) {
            Some(sign) => Err(place.disk.slots_missing(config, &sign)),
            None => Ok(None),
        },
        Err(error) if is_about_the_esp(&error) && sign(None).is_none() => {
            tracing::debug!("no slots here: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether nothing else is wrong than that no ESP is there, or not one that could be used. A
/// damaged table is something else: the slots may be in it.
fn is_about_the_esp(error: &HostError) -> bool {
    matches!(
        error,
        HostError::EspNotMounted { .. }
            | HostError::EspNotOnDisk { .. }
            | HostError::EspAmbiguous { .. }
            | HostError::EspMismatch { .. }
            | HostError::DiskMissing { .. }
            | HostError::Table { source: gpt::TableError::Missing, .. }
    )
}

impl Place {
    /// The disk that holds the ESP; nearly always the slots' disk.
    pub fn esp_disk(&self) -> &Disk {
        self.esp_disk.as_ref().unwrap_or(&self.disk)
    }

    /// The ESP as a boot entry's device path names it.
    pub fn esp_node(&self) -> PartitionNode {
        let sector = u64::from(self.esp_disk().sector_size()).max(1);
        PartitionNode {
            number: self.esp.number,
            start_lba: self.esp.start / sector,
            size_lba: self.esp.size / sector,
            uuid: self.esp.uuid,
        }
    }

    /// Another disk of this host, not the slots', that has a partition with this GUID. Disks that
    /// cannot be read are passed over.
    pub(crate) fn other_disk_with(&self, root: &Root, uuid: Uuid) -> Option<PathBuf> {
        let others = match &self.mount {
            Some(_) => mounted::other_disks(root, &self.disk),
            None => directory::other_disks(root, &self.disk),
        };
        let has_it = |(path, sector_size): &(PathBuf, Option<u32>)| {
            !uuids_on(path, *sector_size, |entry| entry.uuid == uuid).is_empty()
        };
        others.into_iter().find(has_it).map(|(path, _)| path)
    }

    /// Whether the ESP's file system may be written: sound, and mounted for writing.
    /// Changes nothing.
    ///
    /// On a host in a directory the ESP's files are not in its partition; a partition that
    /// nobody formatted is passed over.
    ///
    /// # Errors
    /// `esp-damaged`, `esp-read-only`, the device's.
    pub fn check_esp(&self) -> Result<(), HostError> {
        let used = match &self.mount {
            Some(mount) => {
                let point = || mount.point.clone();
                match (mount.is_read_only, mount.is_file_system_read_only) {
                    (true, _) => return Err(HostError::EspReadOnly { point: point() }),
                    // `errors=remount-ro`, vfat's default, changes the file system alone.
                    (false, true) => return Err(HostError::EspFailed { point: point() }),
                    (false, false) => fat::Use::Mounted,
                }
            }
            None => fat::Use::Offline,
        };
        let partition = self.esp_disk().open_for_reading(&self.esp)?;
        match fat::check_patiently(&partition, used) {
            Ok(_) => Ok(()),
            Err(source) => Err(HostError::EspDamaged { source }),
        }
    }
}

/// The GUIDs of the partitions on the disk at `path` that satisfy `wanted`, as far as
/// one can tell: a foreign disk may hold anything.
fn uuids_on(path: &Path, sector_size: Option<u32>, wanted: impl Fn(&Entry) -> bool) -> Vec<Uuid> {
    let Ok((file, _, size)) = open_for_reading(path) else { return Vec::new() };
    let entries = gpt::glance(&file, size, sector_size).unwrap_or_default();
    entries.into_iter().filter(wanted).map(|entry| entry.uuid).collect()
}

fn is_esp(entry: &Entry) -> bool {
    entry.type_uuid == ESP_TYPE
}

#[cfg(test)]
mod tests;
