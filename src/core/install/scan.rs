// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads chunks from a medium and hashes them, on all cores.

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

/// What a chunk is that the medium does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Not the right one.
    IsWrong,
    /// The end of the scan, as [`InstallError::Read`].
    IsError,
}

/// Takes what was found: the chunk, and whether its hash was right. Called from
/// several threads, in any order.
pub(super) type Found<'a> = dyn Fn(ChunkIndex, bool) -> Result<(), InstallError> + Sync + 'a;

/// Hashes every chunk of `batches` as the medium has it.
pub(super) fn scan(
    target: Target<'_>,
    options: &Options,
    batches: &[Batch],
    unreadable: Unreadable,
    found: &Found<'_>,
) -> Result<(), InstallError> {
    let abort = Abort::new(target.stop);
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let widest = batches.iter().map(|batch| length(&batch.range(target.payload))).max();
    // Room for the blocks into which a batch reaches at both ends.
    let space = widest.unwrap_or(0) + 2 * ALIGNMENT;
    let work = || {
        let mut buffer = Buffer::new(space);
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if abort.is_raised() {
                break;
            }
            scan_batch(target, *batch, &mut buffer, unreadable, found)?;
            done.fetch_add(length(&batch.range(target.payload)) as u64, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..memory_limit::readers(options, space).min(batches.len()) {
            abort.start(scope, &target.payload.name, work);
        }
    });
    let all: u64 = batches.iter().map(|batch| length(&batch.range(target.payload)) as u64).sum();
    abort.finish(&target.payload.name, all - done.into_inner())
}

fn scan_batch(
    target: Target<'_>,
    batch: Batch,
    buffer: &mut Buffer,
    unreadable: Unreadable,
    found: &Found<'_>,
) -> Result<(), InstallError> {
    let payload = target.payload;
    let range = batch.range(payload);
    // Whole blocks, so that they come from the medium and not from the page cache.
    let block = ALIGNMENT as u64;
    let blocks = range.start - range.start % block
        ..range.end.next_multiple_of(block).min(target.storage.capacity());
    buffer.set_filled(length(&blocks));
    let read = match target.storage.read_at(blocks.start, buffer.bytes_mut()) {
        Err(source) if unreadable == Unreadable::IsError => {
            return Err(target.read_error(range.start, source));
        }
        read => read.is_ok(),
    };
    for index in batch.chunks() {
        let place = within(&blocks, &payload.chunk_range(index));
        let bytes = buffer.bytes().get(place).unwrap_or_default();
        let hash = payload.chunks.get(index.0 as usize);
        found(index, read && hash.is_some_and(|hash| check_hash(bytes, hash).is_ok()))?;
    }
    Ok(())
}
