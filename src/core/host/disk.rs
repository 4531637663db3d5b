// SPDX-License-Identifier: MIT OR Apache-2.0

//! The disk with the slots: a block device, or its image in a file.

mod access;
mod identity;
mod nearest;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flipside_image::SYSTEM_PAYLOAD;
use nix::fcntl::OFlag;
use uuid::Uuid;

use super::device::{BlockDevice, device_number};
use super::durable::Durable;
use super::error::HostError;
use super::gpt;
use super::partition::{Node, Partition};
use super::{Root, Slot};
use crate::settings::{HostConfig, SlotLabels};

/// A disk whose partition table was read and found sound.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    device: Option<BlockDevice>,
    file: File,
    is_block_device: bool,
    size: u64,
    sector_size: u32,
    uuid: Uuid,
    partitions: Vec<Partition>,
    durable: Durable,
}

impl Disk {
    /// Opens the disk at `path`, a block device or a file with a disk's image.
    ///
    /// # Errors
    /// The device's, any damage to the table (`gpt-damaged`), and a table that the
    /// kernel has not read again since it was changed (`gpt-stale`).
    pub(crate) fn open(root: &Root, path: &Path, durable: &Durable) -> Result<Self, HostError> {
        let found = std::fs::metadata(path).map_err(HostError::io("open", path))?;
        let device = found
            .file_type()
            .is_block_device()
            .then(|| BlockDevice::by_number(root, device_number(found.rdev())))
            .flatten();
        Self::open_device(root, path, device, durable)
    }

    /// As [`Disk::open`], where sysfs told the device already.
    pub(super) fn open_device(
        root: &Root,
        path: &Path,
        device: Option<BlockDevice>,
        durable: &Durable,
    ) -> Result<Self, HostError> {
        let (file, is_block_device, size) = open_for_reading(path)?;
        if let (true, Some(device)) = (is_block_device, &device) {
            let found = file.metadata().map_err(HostError::io("ask", path))?.rdev();
            if device_number(found) != device.number() {
                let source = io::Error::other("it is not the device that sysfs describes");
                return Err(HostError::io("open", path)(source));
            }
        }
        let sector_size = device.as_ref().and_then(BlockDevice::logical_block_size);
        let table = gpt::read(&file, size, sector_size)
            .map_err(|source| HostError::table(path, is_block_device, source))?;
        let nodes = device.as_ref().map(BlockDevice::partitions).unwrap_or_default();
        let mut partitions = Vec::with_capacity(table.entries.len());
        for entry in &table.entries {
            let stale =
                || HostError::TableNotReread { disk: path.to_owned(), number: entry.number };
            let node = nodes.iter().find(|n| n.partition_number() == Some(entry.number));
            let partition = Partition::new(
                entry,
                table.sector_size,
                node.map(|node| Node { path: node.node(root), number: node.number() }),
            )
            .ok_or_else(stale)?;
            // Where kernel and table disagree, a number names two things.
            if let Some(node) = node
                && (node.start(), node.size()) != (Some(partition.start), Some(partition.size))
            {
                return Err(stale());
            }
            partitions.push(partition);
        }
        Ok(Self {
            path: path.to_owned(),
            device,
            file,
            is_block_device,
            size,
            sector_size: table.sector_size,
            uuid: table.disk_uuid,
            partitions,
            durable: durable.clone(),
        })
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes per sector: 512 or 4096.
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// The disk's own GUID.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Its partitions, by number, as they were when the disk was opened.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    pub(super) fn device(&self) -> Option<&BlockDevice> {
        self.device.as_ref()
    }

    /// The partition with this GPT label.
    ///
    /// # Errors
    /// `slot-missing`, `label-ambiguous`.
    pub fn by_label(&self, label: &str) -> Result<&Partition, HostError> {
        let mut with_label = self.partitions.iter().filter(|p| p.label == label);
        let disk = || self.path.clone();
        match (with_label.next(), with_label.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(HostError::SlotMissing {
                disk: disk(),
                label: label.to_owned(),
                seen: self.nearest_labels(&[label]),
            }),
            (Some(one), Some(other)) => Err(HostError::LabelAmbiguous {
                disk: disk(),
                label: label.to_owned(),
                one: one.number,
                other: other.number,
            }),
        }
    }

    /// The only partition with this GUID.
    pub fn by_uuid(&self, uuid: Uuid) -> Option<&Partition> {
        let mut with_uuid = self.partitions.iter().filter(|partition| partition.uuid == uuid);
        let one = with_uuid.next();
        one.filter(|_| with_uuid.next().is_none())
    }

    /// Its partitions that have the type of an EFI system partition.
    pub fn esps(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|partition| partition.type_uuid == gpt::ESP_TYPE)
    }

    /// Checks that every label of the configuration is one partition's, and that no
    /// partition serves two.
    ///
    /// # Errors
    /// `slot-missing`, `label-ambiguous`, `slots-identical`.
    pub fn check_slots(&self, config: &HostConfig) -> Result<(), HostError> {
        let mut seen: Vec<(String, &Partition)> = Vec::new();
        for (payload, labels) in payloads(config) {
            for slot in Slot::BOTH {
                let partition = self.by_label(labels.of(slot))?;
                let name = format!("slot {slot} of {payload}");
                if let Some((one, _)) = seen.iter().find(|(_, p)| p.number == partition.number) {
                    return Err(HostError::SlotsIdentical {
                        disk: self.path.clone(),
                        one: one.clone(),
                        other: name,
                        number: partition.number,
                        label: partition.label.clone(),
                    });
                }
                seen.push((name, partition));
            }
        }
        Ok(())
    }

    /// The slot that `partition` belongs to, as any payload's.
    pub fn slot_of(&self, config: &HostConfig, partition: &Partition) -> Option<Slot> {
        Slot::BOTH
            .into_iter()
            .find(|slot| payloads(config).any(|(_, labels)| labels.of(*slot) == partition.label))
    }

    /// The partition that `device` is, if it is one of this disk's.
    pub(super) fn partition_of(&self, device: &BlockDevice) -> Option<&Partition> {
        let number = device.partition_number()?;
        let partition = self.partitions.iter().find(|p| p.number == number)?;
        let is_on_this_disk = match &self.device {
            Some(own) => device.disk().is_some_and(|disk| disk.number() == own.number()),
            // A disk in a file is its host's only one.
            None => {
                (device.start(), device.size()) == (Some(partition.start), Some(partition.size))
            }
        };
        is_on_this_disk.then_some(partition)
    }
}

/// `system` and the payloads of `host.payloads`, each with its labels.
pub fn payloads(config: &HostConfig) -> impl Iterator<Item = (&str, &SlotLabels)> {
    let further = config.payloads.iter().map(|(name, labels)| (name.as_str(), labels));
    std::iter::once((SYSTEM_PAYLOAD, &config.slots)).chain(further)
}

/// Opens a disk without waiting for a medium; also whether it is a block device, and its size.
pub(super) fn open_for_reading(path: &Path) -> Result<(File, bool, u64), HostError> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(HostError::io("open", path))?;
    let found = file.metadata().map_err(HostError::io("ask", path))?;
    let is_block_device = found.file_type().is_block_device();
    if !is_block_device && !found.is_file() {
        let source = io::Error::other("it is neither a block device nor a file");
        return Err(HostError::io("read", path)(source));
    }
    let size = file.seek(SeekFrom::End(0)).map_err(HostError::io("measure", path))?;
    Ok((file, is_block_device, size))
}

#[cfg(test)]
mod tests;
