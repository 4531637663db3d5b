// SPDX-License-Identifier: MIT OR Apache-2.0

//! A payload's way from the image to its place: shared with it, or installed like on any
//! host.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use flipside_core::cancel::Cancel;
use flipside_core::host::storage::Storage;
use flipside_core::install::{self, Options};
use flipside_core::progress::Progress;
use flipside_image::{Compression, Layer, Payload};
use flipside_source::Source;

use super::DiskBuildError;
use super::gpt::Partition;
use super::reflink;
use super::target::Target;

/// Something in memory that an install writes.
pub(super) struct Memory {
    name: String,
    size: u64,
    bytes: Mutex<Vec<u8>>,
}

impl Memory {
    /// Of `size` bytes, all zero.
    pub(super) fn new(name: &str, size: u64) -> Self {
        let bytes = Mutex::new(vec![0; usize::try_from(size).unwrap_or(usize::MAX)]);
        Self { name: name.to_owned(), size, bytes }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, offset: u64, length: usize, f: impl FnOnce(&mut [u8]) -> R) -> io::Result<R> {
        let mut memory = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = memory.get_mut(start..).and_then(|rest| rest.get_mut(..length));
        Ok(f(range.ok_or(io::ErrorKind::UnexpectedEof)?))
    }
}

impl Storage for Memory {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn capacity(&self) -> u64 {
        self.size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(offset, bytes.len(), |to| to.copy_from_slice(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.with(offset, bytes.len(), |from| bytes.copy_from_slice(from))
    }
}

/// A partition of the target.
pub(super) struct Region<'a> {
    pub target: &'a Target,
    pub partition: &'a Partition,
}

impl Region<'_> {
    /// Where `length` bytes at `offset` lie on the disk.
    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        let end = offset.checked_add(length as u64);
        match end.filter(|end| *end <= self.partition.size) {
            Some(_) => Ok(self.partition.start.saturating_add(offset)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Storage for Region<'_> {
    fn name(&self) -> String {
        format!("partition {}", self.partition.label)
    }

    fn capacity(&self) -> u64 {
        self.partition.size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.target.write_io(self.place(offset, bytes.len())?, bytes)
    }

    /// Once for the whole disk, by whoever built it.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.target.read_io(self.place(offset, bytes.len())?, bytes)
    }
}

/// Shares the payload's blocks with the target where image and file system allow that,
/// without looking at them. Says whether it did.
///
/// # Errors
/// The target's, for the bytes behind the last whole block.
pub(super) fn share(
    layer: &Layer<'_>,
    blob: &File,
    region: &Region<'_>,
) -> Result<bool, DiskBuildError> {
    if layer.compression != Compression::None || !region.target.is_fresh() {
        return Ok(false);
    }
    let Some(block) = reflink::block_size(blob) else { return Ok(false) };
    let size = layer.payload.size;
    let whole = size - size % block;
    if whole == 0
        || reflink::share(region.target.file(), region.partition.start, blob, whole).is_err()
    {
        return Ok(false);
    }
    // Less than a block.
    let mut tail = vec![0; usize::try_from(size - whole).unwrap_or(0)];
    blob.read_exact_at(&mut tail, whole)
        .and_then(|()| region.write_at(whole, &tail))
        .map_err(region.target.error("write"))?;
    Ok(true)
}

/// Installs the payload of `layer` on `medium`: no byte gets there before the hash of its
/// chunk matched.
///
/// # Errors
/// [`install::InstallError`].
pub(super) fn copy(
    source: &dyn Source,
    layer: &Layer<'_>,
    storage: &dyn Storage,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<(), DiskBuildError> {
    let options = Options { read_back: false, ..Options::default() };
    install::write_payload(source, layer, storage, &options, progress, stop)?;
    Ok(())
}

/// Reads a payload back from the target.
///
/// # Errors
/// [`DiskBuildError::ReadBackDiffers`].
pub(super) fn verify(
    payload: &Payload,
    region: &Region<'_>,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<(), DiskBuildError> {
    let damaged = install::verify(region, payload, progress, stop)?;
    let Some(first) = damaged.first() else { return Ok(()) };
    let (name, count) = (&payload.name, damaged.len());
    let chunks = if count == 1 { "chunk" } else { "chunks" };
    let what = format!("{} ({count} {chunks} of {name}, from chunk {first})", region.name());
    Err(DiskBuildError::ReadBackDiffers { what })
}
