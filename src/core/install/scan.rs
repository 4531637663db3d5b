// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads batches from a medium, on all cores.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::abort::Abort;
use super::batch::{Batch, length, within};
use super::buffer::Buffer;
use super::decode::check_hash;
use super::memory_limit;
use super::transfer::Target;
use super::{InstallError, Options};
use crate::host::storage::ALIGNMENT;
use flipside_image::ChunkIndex;

/// Takes what stands at the place of a batch, the nth of those that are read. Called from several
/// threads, in any order.
pub(super) type Take<'a> =
    dyn Fn(usize, Result<&[u8], InstallError>) -> Result<(), InstallError> + Sync + 'a;

/// Reads every batch of `batches` as the medium has it.
pub(super) fn scan(
    target: Target<'_>,
    options: &Options,
    batches: &[Batch],
    take: &Take<'_>,
) -> Result<(), InstallError> {
    let abort = Abort::new(target.stop);
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let space = space(target, batches);
    let work = || {
        let mut buffer = Buffer::new(space);
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(nth).filter(|_| !abort.is_raised()) else {
                return Ok(());
            };
            take(nth, read_batch(target, *batch, &mut buffer))?;
            done.fetch_add(length(&batch.range(target.payload)) as u64, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..memory_limit::readers(options, space).min(batches.len()) {
            abort.start(scope, &target.payload.name, work);
        }
    });
    let all: u64 = batches.iter().map(|batch| length(&batch.range(target.payload)) as u64).sum();
    abort.finish(&target.payload.name, all - done.into_inner())
}

/// How large a buffer has to be into which any of `batches` is read, in bytes.
pub(super) fn space(target: Target<'_>, batches: &[Batch]) -> usize {
    let widest = batches.iter().map(|batch| length(&batch.range(target.payload))).max();
    // Room for the blocks into which a batch reaches at both ends.
    widest.unwrap_or(0) + 2 * ALIGNMENT
}

/// The bytes of `batch` as the medium has them.
pub(super) fn read_batch<'a>(
    target: Target<'_>,
    batch: Batch,
    buffer: &'a mut Buffer,
) -> Result<&'a [u8], InstallError> {
    let range = batch.range(target.payload);
    // Whole blocks, so that they come from the medium and not from the page cache.
    let block = ALIGNMENT as u64;
    let blocks = range.start - range.start % block
        ..range.end.next_multiple_of(block).min(target.storage.capacity());
    buffer.set_filled(length(&blocks));
    let read = target.storage.read_at(blocks.start, buffer.bytes_mut());
    read.map_err(|source| target.read_error(range.start, source))?;
    Ok(buffer.bytes().get(within(&blocks, &range)).unwrap_or_default())
}

impl Target<'_> {
    /// The chunks of `batch`, whose bytes these are, and whether each has its hash.
    pub(super) fn checked(
        &self,
        batch: Batch,
        bytes: &[u8],
    ) -> impl Iterator<Item = (ChunkIndex, bool)> {
        let (payload, range) = (self.payload, batch.range(self.payload));
        batch.chunks().map(move |index| {
            let place = within(&range, &payload.chunk_range(index));
            let chunk = bytes.get(place).unwrap_or_default();
            let hash = payload.chunks.get(index.0 as usize);
            (index, hash.is_some_and(|hash| check_hash(chunk, hash).is_ok()))
        })
    }
}
