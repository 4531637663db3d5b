// SPDX-License-Identifier: MIT OR Apache-2.0

//! A worker: decodes a work item, hashes every chunk of it, and writes it.

use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};

use super::InstallError;
use super::base::{Base, windows_length};
use super::batch::{Batch, length, within};
use super::buffer::Buffer;
use super::decode::{Damage, FrameDecoder, check_hash, decode_patch};
use super::fetch::{WorkItem, fetch_again};
use super::transfer::{Target, Transfer};
use super::written::WrittenBatch;
use crate::progress::Event;
use flipside_image::ChunkIndex;
use flipside_image::delta::ChunkDelta;

/// Decodes frames into a buffer of its own.
struct Decoding {
    decoder: FrameDecoder,
    chunks: Buffer,
    /// What a patch is made from.
    prefix: Buffer,
}

impl Decoding {
    fn new(size: usize, base: Option<&Base<'_>>) -> Self {
        let prefix = Buffer::new(base.map_or(0, Base::widest));
        Self { decoder: FrameDecoder::new(), chunks: Buffer::new(size), prefix }
    }
}

/// Takes work items until there are no more, gives their buffers back, and says in `done` what was
/// written. Where they hold frames, `decoded` is the most that the frames of one decode to.
pub(super) fn write_parcels(
    job: &Transfer<'_>,
    decoded: Option<usize>,
    full: &Receiver<WorkItem>,
    empty: &Sender<Buffer>,
    done: &Sender<WrittenBatch>,
) -> Result<(), InstallError> {
    let mut decoding = decoded.map(|size| Decoding::new(size, job.base));
    for mut item in full {
        if job.is_over() {
            break;
        }
        write_parcel(job, decoding.as_mut(), &mut item, done)?;
        // Nobody takes it any more when all was fetched.
        let _ = empty.send(item.buffer);
    }
    Ok(())
}

fn write_parcel(
    job: &Transfer<'_>,
    mut decoding: Option<&mut Decoding>,
    item: &mut WorkItem,
    done: &Sender<WrittenBatch>,
) -> Result<(), InstallError> {
    if let Some(decoding) = &mut decoding {
        decoding.chunks.set_filled(length(&item.batch.range(job.target.payload)));
    }
    let mut right = Vec::new();
    for index in item.batch.chunks() {
        if job.is_over() {
            break;
        }
        let unpacked = unpack(job, decoding.as_deref_mut(), item, index);
        if let Some(base) = job.base {
            base.count(&unpacked);
        }
        match unpacked {
            Ok(()) => {}
            Err(damage) if job.base.is_some() => {
                tracing::debug!("chunk {index} is fetched in full: {damage}");
                continue;
            }
            Err(damage) => {
                fetch_again(job, index, item, &damage)?;
                let again = unpack(job, decoding.as_deref_mut(), item, index);
                if again.is_err() && job.abort.is_raised() {
                    // It may have come only half.
                    return Ok(());
                }
                again.map_err(|damage| job.bad(index, &damage))?;
            }
        }
        right.push(index);
    }
    // P3: every chunk in there was unpacked, which hashes it.
    let bytes = decoding.map_or(item.buffer.bytes(), |decoding| decoding.chunks.bytes());
    for batch in Batch::join(right.into_iter()) {
        write(job, item.batch, bytes, batch, done)?;
    }
    Ok(())
}

/// Writes `batch`, a part of `whole`, whose bytes these are.
fn write(
    job: &Transfer<'_>,
    whole: Batch,
    bytes: &[u8],
    batch: Batch,
    done: &Sender<WrittenBatch>,
) -> Result<(), InstallError> {
    let Target { storage, payload, progress, .. } = job.target;
    let range = batch.range(payload);
    let bytes = bytes.get(within(&whole.range(payload), &range)).unwrap_or_default();
    storage
        .write_at(range.start, bytes)
        .map_err(|source| job.target.write_error(range.start, source))?;
    if let Some(quick) = job.quick {
        // Nobody takes it any more when everything ends.
        let _ = done.send(quick.of(batch, bytes));
    }
    if let Some(base) = job.base {
        base.note_made(batch);
    }
    let written = bytes.len() as u64;
    job.written.fetch_add(written, Ordering::Relaxed);
    progress.event(Event::Written(written));
    Ok(())
}

/// Brings one chunk of the work item into the form in which it is written, and checks it.
fn unpack(
    job: &Transfer<'_>,
    decoding: Option<&mut Decoding>,
    item: &mut WorkItem,
    index: ChunkIndex,
) -> Result<(), Damage> {
    let payload = job.target.payload;
    let place = within(&item.batch.range(payload), &payload.chunk_range(index));
    let hash = payload.chunks.get(index.0 as usize).ok_or(Damage::LayerEnds)?;
    let Some(decoding) = decoding else {
        return check_hash(item.buffer.bytes().get(place).unwrap_or_default(), hash);
    };
    let stored = |batch| job.stored_range(batch).ok_or(Damage::LayerEnds);
    let frame = within(&stored(item.batch)?, &stored(Batch::of(index))?);
    let frame = item.buffer.bytes().get(frame).unwrap_or_default();
    let chunk = decoding.chunks.bytes_mut().get_mut(place).unwrap_or_default();
    match job.base.map(|base| (base, base.delta.chunk(index))) {
        None => decoding.decoder.decode(frame, chunk)?,
        Some((base, ChunkDelta::Copy(offset))) => base.read(offset, chunk)?,
        Some((base, ChunkDelta::Patch { windows, .. })) => {
            decoding.prefix.set_filled(windows_length(windows));
            base.read_windows(windows, decoding.prefix.bytes_mut())?;
            decode_patch(decoding.prefix.bytes(), frame, chunk)?;
        }
        Some((_, ChunkDelta::Full)) => return Err(Damage::Base),
    }
    check_hash(chunk, hash)
}
