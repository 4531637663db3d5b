// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the source: large spans of a layer, cut into work items.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::InstallError;
use super::batch::{Batch, length, within};
use super::buffer::Buffer;
use super::decode::Damage;
use super::transfer::Transfer;
use crate::blob_source::FetchError;
use crate::cancel::Stopped;
use crate::progress::Event;
use flipside_image::ChunkIndex;

/// How much one request asks for at most, in bytes: large, so that requests cost nothing;
/// not all, so that two connections share the work.
const BATCH_RANGE_BYTES: u64 = 16 << 20;

/// How often a thread that waits asks whether it is time to end.
const PATIENCE: Duration = Duration::from_millis(50);

/// A batch on its way, in the form that a worker takes.
pub(super) struct WorkItem {
    pub(super) batch: Batch,
    pub(super) buffer: Buffer,
}

/// Batches that lie side by side in the layer and are asked for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchRange {
    stored: Range<u64>,
    batches: Vec<Batch>,
}

impl BatchRange {
    /// How many bytes of the layer it is.
    pub(super) fn size(&self) -> u64 {
        self.stored.end - self.stored.start
    }
}

/// What a fetching thread takes from and gives to the workers.
#[derive(Clone)]
pub(super) struct Supply<'a> {
    pub(super) job: &'a Transfer<'a>,
    pub(super) empty: Receiver<Buffer>,
    pub(super) full: Sender<WorkItem>,
}

impl Supply<'_> {
    /// The next empty buffer, as soon as there is one.
    pub(super) fn buffer(&self) -> Result<Buffer, Stopped> {
        loop {
            self.job.abort.check()?;
            match self.empty.recv_timeout(PATIENCE) {
                Ok(mut buffer) => {
                    buffer.set_filled(0);
                    return Ok(buffer);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
            }
        }
    }

    /// Hands a work item to whichever worker is free.
    pub(super) fn send(&self, item: WorkItem) -> Result<(), Stopped> {
        self.full.send(item).map_err(|_| Stopped)
    }
}

/// Puts `batches` together to as few requests as is good.
pub(super) fn ranges(
    job: &Transfer<'_>,
    batches: &[Batch],
) -> Result<Vec<BatchRange>, InstallError> {
    let mut ranges: Vec<BatchRange> = Vec::new();
    for batch in batches {
        let missing = || job.bad(batch.first(), &Damage::LayerEnds);
        let stored = job.stored_range(*batch).ok_or_else(missing)?;
        match ranges.last_mut() {
            Some(last)
                if last.stored.end == stored.start
                    && stored.end - last.stored.start <= BATCH_RANGE_BYTES =>
            {
                last.stored.end = stored.end;
                last.batches.push(*batch);
            }
            _ => ranges.push(BatchRange { stored, batches: vec![*batch] }),
        }
    }
    Ok(ranges)
}

/// Fetches a span and hands out its work items. Ends early, without an error of its own,
/// when the others end.
pub(super) fn fetch(supply: &Supply<'_>, range: &BatchRange) -> Result<(), InstallError> {
    let job = supply.job;
    let mut batches = range.batches.iter().copied();
    let Ok(mut open) = next_item(supply, &mut batches) else { return Ok(()) };
    if range.size() == 0 {
        return Ok(());
    }
    let mut is_too_long = false;
    let streamed = job.stream(range.stored.clone(), &mut |mut piece| {
        while !piece.is_empty() {
            let Some((mut item, wanted)) = open.take() else {
                is_too_long = true;
                return Err(Stopped);
            };
            let taken = item.buffer.fill_up(wanted, piece);
            piece = piece.get(taken..).unwrap_or_default();
            if item.buffer.bytes().len() >= wanted {
                supply.send(item)?;
                open = next_item(supply, &mut batches)?;
            } else {
                open = Some((item, wanted));
            }
        }
        Ok(())
    });
    let missing = open.map(|(item, _)| item.batch).or_else(|| batches.next());
    match (streamed, missing, range.batches.last()) {
        (_, None, Some(last)) if is_too_long => Err(job.bad(last.last(), &Damage::LayerGoesOn)),
        (Ok(()), Some(batch), _) => Err(job.bad(batch.first(), &Damage::LayerEnds)),
        (streamed, _, _) => job.unless_stopped(streamed),
    }
}

/// The next work item that bytes of the layer are wanted for, and how many. Those before it, which
/// are copied, are handed out as they are.
fn next_item(
    supply: &Supply<'_>,
    batches: &mut impl Iterator<Item = Batch>,
) -> Result<Option<(WorkItem, usize)>, Stopped> {
    for batch in batches {
        let wanted = supply.job.stored_range(batch).map_or(0, |range| length(&range));
        let item = WorkItem { batch, buffer: supply.buffer()? };
        if wanted > 0 {
            return Ok(Some((item, wanted)));
        }
        supply.send(item)?;
    }
    Ok(None)
}

/// Fetches one chunk once more into its place in the work item: bytes can turn on the way.
/// `damage` is what was wrong with it, and stays so where it may not be tried again.
pub(super) fn fetch_again(
    job: &Transfer<'_>,
    index: ChunkIndex,
    item: &mut WorkItem,
    damage: &Damage,
) -> Result<(), InstallError> {
    let may_try = |left: u32| left.checked_sub(1);
    let (Some(range), Some(all), Ok(_)) = (
        job.stored_range(Batch::of(index)),
        job.stored_range(item.batch),
        job.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_try),
    ) else {
        return Err(job.bad(index, damage));
    };
    let place = within(&all, &range);
    let mut space = item.buffer.bytes_mut().get_mut(place).unwrap_or_default();
    let streamed = job.stream(range, &mut |piece| {
        let (now, later) =
            std::mem::take(&mut space).split_at_mut_checked(piece.len()).ok_or(Stopped)?;
        now.copy_from_slice(piece);
        space = later;
        Ok(())
    });
    job.unless_stopped(streamed)
}

impl Transfer<'_> {
    /// How many bytes of the layer `batches` are.
    pub(super) fn fetch_size(&self, batches: &[Batch]) -> Result<u64, InstallError> {
        if self.is_stream() {
            return Ok(if batches.is_empty() { 0 } else { self.layer.descriptor.size });
        }
        Ok(ranges(self, batches)?.iter().map(BatchRange::size).sum())
    }

    /// Streams a range of the layer, counting what comes.
    pub(super) fn stream(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Stopped>,
    ) -> Result<(), FetchError> {
        self.source.stream(self.layer.descriptor, range, &mut |piece| {
            if self.is_over() {
                return Err(Stopped);
            }
            let bytes = piece.len() as u64;
            self.fetched.fetch_add(bytes, Ordering::Relaxed);
            self.target.progress.event(Event::Fetched(bytes));
            take(piece)
        })
    }

    /// The error of a transfer, but for one that ended because everything ends.
    pub(super) fn unless_stopped(
        &self,
        streamed: Result<(), FetchError>,
    ) -> Result<(), InstallError> {
        match streamed {
            Ok(()) | Err(FetchError::Stopped(_)) => Ok(()),
            Err(source) => {
                Err(InstallError::Fetch { payload: self.target.payload.name.clone(), source })
            }
        }
    }
}
