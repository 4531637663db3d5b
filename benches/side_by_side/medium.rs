// SPDX-License-Identifier: MIT OR Apache-2.0

//! What slots are on: files, and loop devices over files.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};

use crate::bed::MIB;
use crate::measure::Command;

/// What a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    File,
    BlockDevice,
}

impl Medium {
    /// The better one of those that this machine has.
    pub fn best() -> Self {
        if nix::unistd::geteuid().is_root() { Self::BlockDevice } else { Self::File }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::BlockDevice => "block device",
        }
    }
}

/// A file as a block device, as long as this value lives.
#[derive(Debug)]
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Past the page cache of the file.
    pub fn over(file: &Path) -> Self {
        let losetup = format!("losetup --direct-io=on --show -f {}", file.display());
        Self(PathBuf::from(Command::shell(&losetup).output().trim()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let device = self.0.display();
        // Its partitions first, if it has any.
        Command::shell(&format!("partx -d {device} 2>/dev/null; losetup -d {device}")).output();
    }
}

/// A slot of its own, for those who have no host.
pub struct Slot {
    file: PathBuf,
    device: Option<LoopDevice>,
    size: u64,
}

impl Slot {
    pub fn new(file: PathBuf, size: u64, medium: Medium) -> Self {
        let created = File::create(&file).unwrap();
        fallocate(&created, FallocateFlags::empty(), 0, size.cast_signed()).unwrap();
        let device = (medium == Medium::BlockDevice).then(|| LoopDevice::over(&file));
        Self { file, device, size }
    }

    pub fn path(&self) -> &Path {
        self.device.as_ref().map_or(&self.file, LoopDevice::path)
    }

    /// Leaves nothing of what an install has written.
    pub fn spoil(&self) {
        overwrite(self.path(), 0..self.size);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Fills a part of a disk with what no image has, makes that durable, and leaves nothing of the disk
/// in the page cache.
pub fn overwrite(path: &Path, range: Range<u64>) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(range.start)).unwrap();
    let block: Vec<u8> = (0..MIB).map(|at| (at % 241) as u8).collect();
    let mut left = range.end - range.start;
    while left > 0 {
        let now = left.min(MIB);
        file.write_all(&block[..now as usize]).unwrap();
        left -= now;
    }
    forget(&file);
}

/// Gives the blocks of a part of a file back.
pub fn punch(path: &Path, range: Range<u64>) {
    let file = File::options().write(true).open(path).unwrap();
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let length = (range.end - range.start).cast_signed();
    fallocate(&file, flags, range.start.cast_signed(), length).unwrap();
    forget(&file);
}

fn forget(file: &File) {
    file.sync_all().unwrap();
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}
