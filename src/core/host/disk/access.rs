// SPDX-License-Identifier: MIT OR Apache-2.0

//! Opening a disk's partitions, and P1: never the running slot's for writing.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use super::Disk;
use crate::host::device::device_number;
use crate::host::error::HostError;
use crate::host::partition::{Identity, Partition};
use crate::host::partition_io::{Access, PartitionIo};
use crate::host::protected::Protected;

impl Disk {
    /// What `partition` is, whatever it is called.
    ///
    /// # Errors
    /// The device's.
    pub fn identity(&self, partition: &Partition) -> Result<Identity, HostError> {
        match &partition.node {
            Some(node) if self.is_block_device => Ok(Identity::Device(node.number)),
            _ => region_identity(&self.file, &self.path, partition),
        }
    }

    /// Opens a partition of the slot that does not run, for writing; on a block device
    /// exclusively, so that the kernel too refuses a mounted one.
    ///
    /// # Errors
    /// `target-is-running` (P1), `target-in-use`, the device's.
    pub fn open_target(
        &self,
        partition: &Partition,
        running: &Protected,
    ) -> Result<PartitionIo, HostError> {
        let refuse_running = |identity: &Identity| {
            if running.has(identity) {
                return Err(HostError::TargetIsRunning { partition: self.name_of(partition) });
            }
            Ok(())
        };
        // P1: before it is opened, since opening for writing is what must not happen;
        // and after, since only an open file cannot be exchanged any more.
        refuse_running(&self.identity(partition)?)?;
        let (path, flags) = self.way_to(partition)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags.bits());
        let file = options.open(path).map_err(|source| {
            if source.kind() == ErrorKind::ResourceBusy {
                return HostError::TargetInUse { partition: self.name_of(partition) };
            }
            HostError::Io { operation: "open for writing", path: path.to_owned(), source }
        })?;
        refuse_running(&self.opened_identity(&file, partition)?)?;
        self.region(partition, file, path, Access::Write)
    }

    /// Opens a partition for reading.
    ///
    /// # Errors
    /// The device's.
    pub fn open_for_reading(&self, partition: &Partition) -> Result<PartitionIo, HostError> {
        let (path, _) = self.way_to(partition)?;
        let file = File::open(path).map_err(HostError::io("open", path))?;
        self.region(partition, file, path, Access::Read)
    }

    fn way_to<'a>(&'a self, partition: &'a Partition) -> Result<(&'a Path, OFlag), HostError> {
        match &partition.node {
            Some(node) if self.is_block_device => {
                Ok((&node.path, OFlag::O_EXCL | OFlag::O_CLOEXEC))
            }
            // The kernel has not made a device for it.
            None if self.is_block_device => {
                Err(HostError::TableNotReread { disk: self.path.clone(), number: partition.number })
            }
            _ => Ok((&self.path, OFlag::O_CLOEXEC)),
        }
    }

    /// What `file`, opened for `partition`, really is; an error where it is something else.
    fn opened_identity(&self, file: &File, partition: &Partition) -> Result<Identity, HostError> {
        let opened = if self.is_block_device {
            let found = file.metadata().map_err(HostError::io("ask", &self.path))?;
            Identity::Device(device_number(found.rdev()))
        } else {
            region_identity(file, &self.path, partition)?
        };
        if opened == self.identity(partition)? {
            return Ok(opened);
        }
        Err(HostError::TableNotReread { disk: self.path.clone(), number: partition.number })
    }

    fn region(
        &self,
        partition: &Partition,
        mut file: File,
        path: &Path,
        access: Access,
    ) -> Result<PartitionIo, HostError> {
        self.opened_identity(&file, partition)?;
        let range = if self.is_block_device {
            let size = file.seek(SeekFrom::End(0)).map_err(HostError::io("measure", path))?;
            if size != partition.size {
                return Err(HostError::TableNotReread {
                    disk: self.path.clone(),
                    number: partition.number,
                });
            }
            0..size
        } else {
            partition.range()
        };
        let name = self.name_of(partition);
        Ok(PartitionIo::new(&self.durable, name, file, path, access, range))
    }

    fn name_of(&self, partition: &Partition) -> String {
        format!("partition {}", partition.label)
    }
}

fn region_identity(file: &File, path: &Path, partition: &Partition) -> Result<Identity, HostError> {
    let found = file.metadata().map_err(HostError::io("ask", path))?;
    Ok(Identity::Region { file_system: found.dev(), inode: found.ino(), range: partition.range() })
}
