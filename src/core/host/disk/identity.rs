// SPDX-License-Identifier: MIT OR Apache-2.0

//! Another identity for a partition, with everybody else kept out meanwhile.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant};

use super::Disk;
use crate::host::error::HostError;
use crate::host::gpt;
use crate::host::partition::Partition;
use flipside_image::PartitionIdentity;
use flipside_image::gpt::Entry;

/// udev and systemd-repart hold the lock for moments.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

impl Disk {
    /// Gives `partition` another UUID, type or flags, durably, and returns it as it is
    /// now; this [`Disk`] still has it as it was. Where that changes nothing, nothing is
    /// written. The table is read again first, under the lock by which udev and others
    /// keep out (systemd's `BLOCK_DEVICE_LOCKING`).
    ///
    /// The kernel keeps the old UUID (`/sys/.../uevent`, `root=PARTUUID=`) until it reads
    /// the table again, at the latest at the next boot; udev renews
    /// `/dev/disk/by-partuuid` by itself when the disk is closed.
    ///
    /// # Errors
    /// `partition-uuid-duplicate`, `partition-identity-invalid`, `gpt-damaged`, `gpt-stale`
    /// and `disk-locked` before anything is written; `disk-failed` and `read-back-mismatch`, after
    /// which one copy of the table is whole.
    pub fn set_identity(
        &self,
        partition: &Partition,
        identity: &PartitionIdentity,
    ) -> Result<Partition, HostError> {
        let disk = self.durable.open_disk(&self.path).map_err(HostError::io("open", &self.path))?;
        self.lock(disk.file())?;
        let (wanted, now) = (partition.entry(), disk.file());
        if self.is_other_file(now)? {
            return Err(HostError::TableNotReread {
                disk: self.path.clone(),
                number: partition.number,
            });
        }
        let entry =
            gpt::set_identity(&self.durable, &disk, self.size, self.sector_size, &wanted, identity)
                .map_err(|source| HostError::Identity {
                    disk: self.path.clone(),
                    number: partition.number,
                    source,
                })?;
        let Entry { type_uuid, uuid, flags, .. } = entry;
        Ok(Partition { type_uuid, uuid, flags, ..partition.clone() })
    }

    fn is_other_file(&self, file: &File) -> Result<bool, HostError> {
        let key = |file: &File| {
            let found = file.metadata().map_err(HostError::io("ask", &self.path))?;
            Ok((found.dev(), found.ino(), found.rdev()))
        };
        Ok(key(&self.file)? != key(file)?)
    }

    /// Released when `file` is closed.
    fn lock(&self, file: &File) -> Result<(), HostError> {
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                    thread::sleep(LOCK_INTERVAL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(HostError::DiskLocked { disk: self.path.clone() });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(HostError::io("lock", &self.path)(error));
                }
            }
        }
    }
}
