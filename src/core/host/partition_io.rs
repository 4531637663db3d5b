// SPDX-License-Identifier: MIT OR Apache-2.0

//! A partition as a [`Storage`]: a block device of its own, or a region of the
//! file that holds a disk's image.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::durable::{Durable, DurableFile};
use super::page_cache::drop_pages;
use super::storage::{ALIGNMENT, Storage};

/// Whether a region may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

/// An open partition. Two ways lead to it: past the page cache for what is aligned,
/// through it for the rest, and for all where the file system cannot do the former.
#[derive(Debug)]
pub struct PartitionIo {
    durable: Durable,
    name: String,
    buffered: DurableFile,
    direct: Option<DurableFile>,
    /// Cleared when the first direct transfer is refused.
    direct_works: AtomicBool,
    access: Access,
    range: Range<u64>,
}

impl PartitionIo {
    /// `buffered` was opened for `access`; `range` are its bytes that are the partition.
    pub(super) fn new(
        durable: &Durable,
        name: String,
        buffered: File,
        path: &Path,
        access: Access,
        range: Range<u64>,
    ) -> Self {
        // A direct transfer is aligned in the file, not in the region.
        let is_aligned = range.start.is_multiple_of(ALIGNMENT as u64);
        let direct = if is_aligned { open_direct(&buffered, access) } else { None };
        Self {
            direct_works: AtomicBool::new(direct.is_some()),
            direct: direct.map(|file| durable.adopt(file, path)),
            buffered: durable.adopt(buffered, path),
            durable: durable.clone(),
            name,
            access,
            range,
        }
    }

    /// Where `length` bytes at `offset` of the region stand in the file.
    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        let beyond = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{length} bytes at {offset} lie beyond the end of {}", self.name),
            )
        };
        let end = offset.checked_add(length as u64).ok_or_else(beyond)?;
        if end > self.capacity() {
            return Err(beyond());
        }
        self.range.start.checked_add(offset).ok_or_else(beyond)
    }

    /// How many bytes from the start of a transfer can go past the page cache.
    fn direct_length(&self, address: usize, place: u64, length: usize) -> usize {
        let is_aligned = address.is_multiple_of(ALIGNMENT)
            && place.is_multiple_of(ALIGNMENT as u64)
            && self.direct_works.load(Ordering::Relaxed);
        if is_aligned { length - length % ALIGNMENT } else { 0 }
    }

    /// Whether a refused direct transfer is to be made through the page cache instead.
    fn gives_up_direct(&self, error: &io::Error) -> bool {
        // Some file systems take the flag and refuse the transfer.
        let is_refused = error.raw_os_error() == Some(Errno::EINVAL as i32);
        if is_refused {
            self.direct_works.store(false, Ordering::Relaxed);
        }
        is_refused
    }

    fn write_buffered(&self, place: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.durable.write_at(&self.buffered, place, bytes)
    }

    fn read_buffered(&self, place: u64, bytes: &mut [u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // The kernel drops whole pages only, and those that are clean.
        let page = ALIGNMENT as u64;
        let start = place - place % page;
        let length = place.saturating_add(bytes.len() as u64).next_multiple_of(page) - start;
        drop_pages(self.buffered.file(), start, length)?;
        self.buffered.file().read_exact_at(bytes, place)
    }
}

impl Storage for PartitionIo {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn capacity(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.access != Access::Write {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} is open for reading only", self.name),
            ));
        }
        let place = self.place(offset, bytes.len())?;
        let length = self.direct_length(bytes.as_ptr().addr(), place, bytes.len());
        let (direct, rest) = bytes.split_at(length);
        if let (Some(file), false) = (&self.direct, direct.is_empty()) {
            match self.durable.write_at(file, place, direct) {
                Ok(()) => {}
                Err(error) if self.gives_up_direct(&error) => self.write_buffered(place, direct)?,
                Err(error) => return Err(error),
            }
        }
        self.write_buffered(place + length as u64, rest)
    }

    fn sync(&self) -> io::Result<()> {
        // Both descriptors are of one inode: what either wrote is made durable, and the
        // drive's cache is flushed.
        self.durable.sync(&self.buffered)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let place = self.place(offset, bytes.len())?;
        let length = self.direct_length(bytes.as_ptr().addr(), place, bytes.len());
        let (direct, rest) = bytes.split_at_mut(length);
        if let (Some(file), false) = (&self.direct, direct.is_empty()) {
            match file.file().read_exact_at(direct, place) {
                Ok(()) => {}
                Err(error) if self.gives_up_direct(&error) => self.read_buffered(place, direct)?,
                Err(error) => return Err(error),
            }
        }
        self.read_buffered(place + length as u64, rest)
    }
}

/// The same file again, past the page cache; `None` where its file system cannot.
fn open_direct(buffered: &File, access: Access) -> Option<File> {
    // Not by name, which may lead elsewhere by now, but this very inode (P1). Without
    // O_EXCL: on a block device the first descriptor holds the claim.
    OpenOptions::new()
        .read(true)
        .write(access == Access::Write)
        .custom_flags((OFlag::O_DIRECT | OFlag::O_CLOEXEC).bits())
        .open(format!("/proc/self/fd/{}", buffered.as_raw_fd()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Page-aligned memory inside of a larger buffer.
    struct Aligned(Vec<u8>, usize);

    impl Aligned {
        fn new(length: usize) -> Self {
            let bytes = vec![0; length + ALIGNMENT];
            let start = bytes.as_ptr().align_offset(ALIGNMENT);
            Self(bytes, start)
        }

        fn bytes(&mut self, length: usize) -> &mut [u8] {
            &mut self.0[self.1..self.1 + length]
        }
    }

    fn region(path: &Path, range: Range<u64>) -> PartitionIo {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        PartitionIo::new(&Durable::new(), "partition x".into(), file, path, Access::Write, range)
    }

    #[test]
    fn every_alignment_writes_the_same_bytes_and_nothing_around_them() {
        // A file system with direct I/O (usually), and one without (on older kernels).
        for directory in [Path::new("/var/tmp"), Path::new("/dev/shm")] {
            let directory = tempfile::tempdir_in(directory).unwrap();
            let path = directory.path().join("disk.img");
            for (start, size) in [(8192, 40_000), (512, 9_216), (8192, 4096), (4096, 100)] {
                let end = start + size;
                std::fs::write(&path, vec![0xee; usize::try_from(end).unwrap() + 5000]).unwrap();
                let region = region(&path, start..end);
                assert_eq!(region.capacity(), size);
                let length = usize::try_from(size).unwrap();
                for skip in [0, 1, 512] {
                    let mut memory = Aligned::new(length + 512);
                    let bytes = &mut memory.bytes(length + 512)[skip..skip + length];
                    for (at, byte) in bytes.iter_mut().enumerate() {
                        *byte = (at % 251) as u8 ^ skip as u8;
                    }
                    let half = length / 2;
                    region.write_at(0, &bytes[..half]).unwrap();
                    region.write_at(half as u64, &bytes[half..]).unwrap();
                    region.sync().unwrap();
                    let file = std::fs::read(&path).unwrap();
                    let start = usize::try_from(start).unwrap();
                    assert_eq!(file[start..start + length], *bytes);
                    assert!(file[..start].iter().all(|b| *b == 0xee));
                    assert!(file[start + length..].iter().all(|b| *b == 0xee));
                    let expected = bytes.to_vec();
                    let mut again = Aligned::new(length);
                    region.read_at(0, again.bytes(length)).unwrap();
                    assert_eq!(again.bytes(length), expected);
                    let mut crooked = vec![0; length - 1];
                    region.read_at(1, &mut crooked).unwrap();
                    assert_eq!(crooked, expected[1..]);
                }
            }
        }
    }

    #[test]
    fn nothing_beyond_the_end_is_read_or_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        std::fs::write(&path, vec![0; 20_000]).unwrap();
        let region = region(&path, 4096..8192);
        for (offset, length) in [(4096, 1), (0, 4097), (4095, 2), (u64::MAX, 1), (u64::MAX, 2)] {
            assert!(region.write_at(offset, &vec![1; length]).is_err(), "{offset}+{length}");
            assert!(region.read_at(offset, &mut vec![1; length]).is_err(), "{offset}+{length}");
        }
        region.write_at(4096, &[]).unwrap();
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
    }
}
