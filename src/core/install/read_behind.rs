// SPDX-License-Identifier: MIT OR Apache-2.0

//! The read-back that goes on while the rest is still written.

use std::collections::VecDeque;

use crossbeam_channel::Receiver;

use super::InstallError;
use super::batch::{Batch, length};
use super::buffer::Buffer;
use super::scan::{read_batch, space};
use super::transfer::Target;
use super::written::{QuickSum, WrittenBatch};

/// When what was written is read back, counted in bytes that were written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBehind {
    /// After so many it is made durable.
    pub flush: u64,
    /// After so many it is read, so that a drive answers less from its own cache.
    pub distance: u64,
}

impl Default for ReadBehind {
    fn default() -> Self {
        Self { flush: 64 << 20, distance: 256 << 20 }
    }
}

/// Reads back what comes through `written`, until nobody writes any more. Returns what is left to
/// be read: after the last flush.
pub(super) fn read_behind(
    target: Target<'_>,
    behind: ReadBehind,
    quick: QuickSum,
    written: &Receiver<WrittenBatch>,
) -> Result<Vec<WrittenBatch>, InstallError> {
    let mut queue = Queue::default();
    let mut buffer = None;
    for batch in written {
        queue.push(batch, length(&batch.batch.range(target.payload)) as u64);
        // What is in memory alone says nothing of the medium.
        if target.storage.is_cached() || target.stop.is_requested() {
            continue;
        }
        if queue.unflushed >= behind.flush {
            target.storage.sync().map_err(|source| target.sync_error(source))?;
            queue.flushed();
        }
        while let Some(batch) = queue.pop(behind.distance) {
            let whole = || Buffer::new(space(target, &Batch::split(target.payload, |_| true)));
            let bytes = read_batch(target, batch.batch, buffer.get_or_insert_with(whole))?;
            target.compare(quick, batch, bytes)?;
        }
    }
    Ok(queue.rest())
}

/// What was written and not read back, in order.
#[derive(Default)]
struct Queue {
    /// Each with how much was written before its end.
    batches: VecDeque<(WrittenBatch, u64)>,
    /// How many of them are durable.
    durable: usize,
    /// How much was written, in bytes.
    written: u64,
    /// How much of that since the last flush.
    unflushed: u64,
}

impl Queue {
    fn push(&mut self, batch: WrittenBatch, size: u64) {
        self.written = self.written.saturating_add(size);
        self.unflushed = self.unflushed.saturating_add(size);
        self.batches.push_back((batch, self.written));
    }

    /// All that is in the queue has been made durable.
    fn flushed(&mut self) {
        self.durable = self.batches.len();
        self.unflushed = 0;
    }

    /// The next batch that is durable and lies so far behind.
    fn pop(&mut self, distance: u64) -> Option<WrittenBatch> {
        let (_, end) = self.batches.front()?;
        if self.written.saturating_sub(*end) < distance {
            return None;
        }
        self.durable = self.durable.checked_sub(1)?;
        self.batches.pop_front().map(|(batch, _)| batch)
    }

    fn rest(self) -> Vec<WrittenBatch> {
        self.batches.into_iter().map(|(batch, _)| batch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::ChunkIndex;

    #[test]
    fn nothing_leaves_the_queue_before_it_is_durable_and_far_enough_behind() {
        let batch = |index| QuickSum::new().of(Batch::of(ChunkIndex(index)), b"");
        let batches: Vec<_> = (0..4).map(batch).collect();
        let mut queue = Queue::default();
        queue.push(batches[0], 10);
        queue.push(batches[1], 10);
        assert_eq!(queue.pop(0), None);
        queue.flushed();
        assert_eq!((queue.pop(20), queue.unflushed), (None, 0));
        assert_eq!(queue.pop(10), Some(batches[0]));
        assert_eq!(queue.pop(10), None);
        queue.push(batches[2], 10);
        assert_eq!(queue.pop(10), Some(batches[1]));
        queue.push(batches[3], 10);
        assert_eq!(queue.pop(10), None);
        assert_eq!(queue.rest(), &batches[2..]);
    }
}
