// SPDX-License-Identifier: MIT OR Apache-2.0

//! Block devices as the kernel shows them in sysfs
//! (`Documentation/ABI/stable/sysfs-block` and `testing/sysfs-block`).

use std::fs;
use std::path::{Path, PathBuf};

pub use flipside_image::proc::DeviceNumber;
use nix::sys::stat::{major, minor};

use super::Root;

/// sysfs counts in these, whatever the disk's sectors are.
const SYSFS_SECTOR: u64 = 512;
/// How many layers of device mapper, RAID and loop devices are looked through.
const DEEPEST_STACK: u32 = 8;

/// The device number in `st_dev` or `st_rdev`.
pub fn device_number(raw: u64) -> DeviceNumber {
    // Neither has more than 32 bits.
    DeviceNumber { major: major(raw) as u32, minor: minor(raw) as u32 }
}

/// The peripheral device type of CD and DVD drives (SPC-4, section 6.4.2; `device/type` in sysfs).
const OPTICAL: &str = "5";

/// A block device: a disk, a partition, or something stacked on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    name: String,
    number: DeviceNumber,
    directory: PathBuf,
}

impl BlockDevice {
    /// The device with this number, if there is one.
    pub fn by_number(root: &Root, number: DeviceNumber) -> Option<Self> {
        Self::in_directory(&root.path(format!("sys/dev/block/{number}")))
    }

    /// The device that the kernel calls `name`, if there is one.
    pub fn by_name(root: &Root, name: &str) -> Option<Self> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return None;
        }
        Self::in_directory(&root.path("sys/class/block").join(name))
    }

    /// The device behind the node `path` of this host (`/dev/vda2`,
    /// `/dev/mapper/usr`), if it is one.
    pub fn by_node(root: &Root, path: &Path) -> Option<Self> {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
        let node = root.path(path);
        match fs::metadata(&node) {
            Ok(found) if found.file_type().is_block_device() => {
                Self::by_number(root, device_number(found.rdev()))
            }
            _ => {
                let node = fs::canonicalize(&node).unwrap_or(node);
                Self::by_name(root, node.file_name()?.to_str()?)
            }
        }
    }

    /// Every disk (not partition) that there is, by name. No optical drive: it cannot be written, and
    /// without a medium each look at it fills the kernel's log with errors.
    pub fn disks(root: &Root) -> Vec<Self> {
        let mut disks = Self::children(&root.path("sys/block"));
        disks.retain(|disk| {
            read_line(&disk.directory.join("device/type")).as_deref() != Some(OPTICAL)
        });
        disks
    }

    /// The labels of all partitions, as the kernel read them from tables (`PARTNAME` of their
    /// uevents; what is not ASCII is not told).
    pub fn labels(root: &Root) -> Vec<String> {
        let devices = Self::children(&root.path("sys/class/block"));
        let label = |device: &Self| {
            let text = fs::read_to_string(device.directory.join("uevent")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("PARTNAME=")).map(str::to_owned)
        };
        devices.iter().filter_map(label).collect()
    }

    fn in_directory(directory: &Path) -> Option<Self> {
        let directory = fs::canonicalize(directory).ok()?;
        let number = read_line(&directory.join("dev"))?.parse().ok()?;
        // sysfs writes a slash in a name as an exclamation mark (cciss!c0d0).
        let name = directory.file_name()?.to_str()?.replace('!', "/");
        Some(Self { name, number, directory })
    }

    fn children(directory: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let mut children: Vec<Self> =
            entries.flatten().filter_map(|entry| Self::in_directory(&entry.path())).collect();
        children.sort_by(|one, other| one.name.cmp(&other.name));
        children
    }

    /// The kernel's name: `nvme0n1p3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn number(&self) -> DeviceNumber {
        self.number
    }

    /// Its node.
    pub fn node(&self, root: &Root) -> PathBuf {
        root.path("dev").join(&self.name)
    }

    /// Its number on its disk, if it is a partition.
    pub fn partition_number(&self) -> Option<u32> {
        read_line(&self.directory.join("partition"))?.parse().ok()
    }

    /// The disk that this partition is on.
    pub fn disk(&self) -> Option<Self> {
        self.partition_number()?;
        Self::in_directory(self.directory.parent()?)
    }

    /// The partitions of this disk.
    pub fn partitions(&self) -> Vec<Self> {
        let mut children = Self::children(&self.directory);
        children.retain(|child| child.partition_number().is_some());
        children
    }

    /// Where it starts on its disk, in bytes.
    pub fn start(&self) -> Option<u64> {
        self.sectors("start")
    }

    /// Its size in bytes.
    pub fn size(&self) -> Option<u64> {
        self.sectors("size")
    }

    fn sectors(&self, attribute: &str) -> Option<u64> {
        let sectors: u64 = read_line(&self.directory.join(attribute))?.parse().ok()?;
        sectors.checked_mul(SYSFS_SECTOR)
    }

    /// How many sectors were written to it since the kernel started (`Documentation/block/stat.rst`,
    /// the seventh field).
    pub fn sectors_written(&self) -> Option<u64> {
        read_line(&self.directory.join("stat"))?.split_ascii_whitespace().nth(6)?.parse().ok()
    }

    /// Bytes per sector of this disk.
    pub fn logical_block_size(&self) -> Option<u32> {
        read_line(&self.directory.join("queue/logical_block_size"))?.parse().ok()
    }

    /// The file behind this loop device, as its opener called it.
    pub fn backing_file(&self) -> Option<PathBuf> {
        read_line(&self.directory.join("loop/backing_file")).map(PathBuf::from)
    }

    /// The devices that this one is made of (device mapper, RAID, bcache).
    pub fn parts(&self) -> Vec<Self> {
        Self::children(&self.directory.join("slaves"))
    }

    /// The devices at the bottom of the stack that this one is the top of; itself where
    /// it is no stack.
    pub fn bottom(&self) -> Vec<Self> {
        let mut bottom = Vec::new();
        self.collect_bottom(DEEPEST_STACK, &mut bottom);
        bottom
    }

    fn collect_bottom(&self, depth: u32, bottom: &mut Vec<Self>) {
        let parts = if depth == 0 { Vec::new() } else { self.parts() };
        if parts.is_empty() && !bottom.contains(self) {
            bottom.push(self.clone());
        }
        for part in parts {
            part.collect_bottom(depth.saturating_sub(1), bottom);
        }
    }
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optical_drives_are_no_disks() {
        let host = crate::host::test_host::Host::new();
        for (name, major, kind) in [("sda", 8, "0"), ("sr0", 11, "5")] {
            host.add_disk(name, major);
            host.write(&format!("sys/devices/virtual/{name}/device/type"), &format!("{kind}\n"));
        }
        let disks = BlockDevice::disks(&host.root());
        let names: Vec<&str> = disks.iter().map(BlockDevice::name).collect();
        assert_eq!(names, ["sda", "vda"]);
    }

    #[test]
    fn names_do_not_lead_out_of_sysfs() {
        let root = Root::live();
        for name in ["", ".", "..", "../../proc", "a/b"] {
            assert_eq!(BlockDevice::by_name(&root, name), None, "{name}");
        }
    }
}
