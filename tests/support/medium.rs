// SPDX-License-Identifier: MIT OR Apache-2.0

//! Media that keep every promise but those that a test takes from them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flipside_core::host::storage::Storage;

/// A medium in memory that watches what reaches it.
#[derive(Default)]
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
    /// What the payload's bytes are: every write must be a part of them (P3).
    truth: Vec<u8>,
    /// The write, counted from 0, that fails; `None`: no write does.
    pub failing_write: Option<u64>,
    /// Whether sync fails.
    pub failing_sync: bool,
    /// The offset of a byte that cannot be read.
    pub unreadable: Option<u64>,
    /// The offset of a byte that is read wrongly once it was synced.
    pub flipped: Option<u64>,
    /// Whether what is read before a sync comes from memory.
    pub is_cached: bool,
    /// How long a write takes.
    pub write_time: Duration,
    /// How many writes there were.
    pub writes: AtomicU64,
    /// How many bytes were written.
    pub written: AtomicU64,
    /// How many syncs there were.
    pub syncs: AtomicU64,
    /// What was done, in order.
    pub steps: Mutex<Vec<Step>>,
}

/// Something that was done to a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes were written.
    Written(Range<u64>),
    /// A flush began. What is written from now on may not be part of it.
    Syncing,
    /// It ended.
    Synced,
    /// These bytes are read.
    Read(Range<u64>),
}

impl Memory {
    /// A medium with these contents, on which `truth` is to be written.
    pub fn new(contents: Vec<u8>, truth: &[u8]) -> Self {
        Self { bytes: Mutex::new(contents), truth: truth.to_vec(), ..Self::default() }
    }

    /// A medium with room for `truth` and `room` more bytes.
    pub fn with_room(truth: &[u8], room: usize) -> Self {
        Self::new(vec![0xa5; truth.len() + room], truth)
    }

    fn step(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }

    /// What it holds.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Storage for Memory {
    fn name(&self) -> String {
        "partition system-b".to_owned()
    }

    fn capacity(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::thread::sleep(self.write_time);
        let place = offset as usize..offset as usize + bytes.len();
        assert_eq!(self.truth.get(place.clone()), Some(bytes), "P3: wrong bytes at {offset}");
        if Some(self.writes.fetch_add(1, Ordering::SeqCst)) == self.failing_write {
            return Err(io::Error::other("the medium is worn out"));
        }
        self.written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        self.bytes.lock().unwrap()[place].copy_from_slice(bytes);
        self.step(Step::Written(offset..offset + bytes.len() as u64));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Step::Syncing);
        self.step(Step::Synced);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.failing_sync { Err(io::Error::other("the cache is gone")) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let place = offset as usize..offset as usize + bytes.len();
        self.step(Step::Read(offset..offset + bytes.len() as u64));
        if self.unreadable.is_some_and(|at| place.contains(&(at as usize))) {
            return Err(io::Error::other("bad block"));
        }
        let all = self.bytes.lock().unwrap();
        bytes.copy_from_slice(all.get(place.clone()).ok_or(io::ErrorKind::UnexpectedEof)?);
        if let Some(at) = self.flipped.filter(|_| self.syncs.load(Ordering::SeqCst) > 0)
            && place.contains(&(at as usize))
        {
            bytes[at as usize - offset as usize] ^= 1;
        }
        Ok(())
    }

    fn is_cached(&self) -> bool {
        self.is_cached
    }
}

/// A file as a medium, with direct I/O where its file system has it and the memory
/// allows it.
pub struct FileMedium {
    direct: File,
    buffered: File,
    capacity: u64,
}

impl FileMedium {
    /// Opens a file that has its size already, or a block device.
    pub fn open(path: &std::path::Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = File::options();
        options.read(true).write(true);
        let buffered = options.open(path)?;
        let flags = nix::fcntl::OFlag::O_DIRECT.bits();
        let direct = options.clone().custom_flags(flags).open(path);
        let direct = direct.or_else(|_| options.open(path))?;
        // A block device has no length in its metadata.
        let capacity = io::Seek::seek(&mut &buffered, io::SeekFrom::End(0))?;
        Ok(Self { capacity, direct, buffered })
    }

    fn file(&self, offset: u64, bytes: &[u8]) -> &File {
        let is_aligned = offset.is_multiple_of(4096)
            && bytes.len().is_multiple_of(4096)
            && bytes.as_ptr().addr().is_multiple_of(4096);
        if is_aligned { &self.direct } else { &self.buffered }
    }
}

impl Storage for FileMedium {
    fn name(&self) -> String {
        "a file".to_owned()
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(offset, bytes).write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.buffered.sync_all()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file(offset, bytes).read_exact_at(bytes, offset)
    }
}
