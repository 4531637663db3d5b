// SPDX-License-Identifier: MIT OR Apache-2.0

//! A place for a payload on its way: a file without a name in the state directory. It costs no
//! memory, and whatever ends the run leaves nothing of it.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use super::durable::{Durable, DurableFile};

/// What stays free beside it, in bytes: for the journal, the configs that are kept, and for others.
const RESERVE: u64 = 32 << 20;
/// The most bytes of it on a file system that is in memory, where it would count against the limits of
/// the process.
const MEMORY_LIMIT: u64 = 16 << 20;
/// Such file systems, as statfs(2) names them (`TMPFS_MAGIC`, `RAMFS_MAGIC`).
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// The file, open.
#[derive(Debug)]
pub(crate) struct Spool {
    durable: Durable,
    file: DurableFile,
}

impl Spool {
    /// For `size` bytes, in `directory`.
    ///
    /// # Errors
    /// `StorageFull` where there is no room; the file system's, where it has no such files.
    pub(crate) fn create(durable: &Durable, directory: &Path, size: u64) -> io::Result<Self> {
        let room = statvfs(directory)?;
        let free = room.blocks_available().saturating_mul(room.fragment_size());
        let kind = u32::try_from(statfs(directory)?.filesystem_type().0);
        let is_in_memory = kind.is_ok_and(|kind| IN_MEMORY.contains(&kind));
        if free < size.saturating_add(RESERVE) || (is_in_memory && size > MEMORY_LIMIT) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Self { file: durable.create_unnamed(directory, size)?, durable: durable.clone() })
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.durable.write_unnamed(&self.file, offset, bytes)
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.file().read_exact_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spooled_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Durable::new(), directory.path(), 10_000).unwrap();
        spool.write_at(4000, b"some bytes").unwrap();
        let mut found = [1; 12];
        spool.read_at(3998, &mut found).unwrap();
        assert_eq!(&found, b"\0\0some bytes");
        assert!(spool.read_at(9_999, &mut found).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_there_is_no_room_there_is_no_spool() {
        let directory = tempfile::tempdir().unwrap();
        for size in [u64::MAX, u64::MAX - RESERVE, 1 << 60] {
            let refused = Spool::create(&Durable::new(), directory.path(), size).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        }
    }
}
