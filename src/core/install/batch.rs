// SPDX-License-Identifier: MIT OR Apache-2.0

//! Batches: neighbouring chunks that travel together, so that small chunks
//! cost neither a system call nor a hand-over each.

use std::ops::Range;

use crate::host::storage::ALIGNMENT;
use flipside_image::{ChunkIndex, ChunkSize, Payload};

/// What a batch covers at most, in bytes, unless a single chunk is larger.
const BATCH_BYTES: u32 = 1 << 20;

/// Neighbouring chunks, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    first: u32,
    count: u32,
}

impl Batch {
    /// The chunk that is alone in its batch.
    pub(super) fn of(index: ChunkIndex) -> Self {
        Self { first: index.0, count: 1 }
    }

    /// The batches of the chunks that `is_wanted`, in order. They end where a device
    /// likes to write: at multiples of [`ALIGNMENT`], as far as the chunk size allows.
    pub(super) fn split(payload: &Payload, is_wanted: impl Fn(ChunkIndex) -> bool) -> Vec<Self> {
        let most = chunks_per_batch(payload.chunk_size);
        let mut batches: Vec<Self> = Vec::new();
        for index in (0..payload.chunk_count()).filter(|index| is_wanted(ChunkIndex(*index))) {
            match batches.last_mut() {
                Some(last) if last.first + last.count == index && index % most != 0 => {
                    last.count += 1;
                }
                _ => batches.push(Self { first: index, count: 1 }),
            }
        }
        batches
    }

    /// The batches of `chunks`, which are in order.
    pub(super) fn join(chunks: impl Iterator<Item = ChunkIndex>) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        for ChunkIndex(index) in chunks {
            match batches.last_mut() {
                Some(last) if last.first + last.count == index => last.count += 1,
                _ => batches.push(Self { first: index, count: 1 }),
            }
        }
        batches
    }

    /// Its chunks.
    pub(super) fn chunks(self) -> impl Iterator<Item = ChunkIndex> {
        (self.first..self.first + self.count).map(ChunkIndex)
    }

    /// Its first chunk.
    pub(super) fn first(self) -> ChunkIndex {
        ChunkIndex(self.first)
    }

    /// Its last chunk.
    pub(super) fn last(self) -> ChunkIndex {
        ChunkIndex(self.first + self.count - 1)
    }

    /// The bytes of the payload that it covers.
    pub(super) fn range(self, payload: &Payload) -> Range<u64> {
        payload.chunk_range(self.first()).start..payload.chunk_range(self.last()).end
    }
}

/// The number of bytes in `range`, which covers no more than a batch and so fits.
pub(super) fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)
}

/// `inner` as seen from the start of `outer`.
pub(super) fn within(outer: &Range<u64>, inner: &Range<u64>) -> Range<usize> {
    let start = length(&(outer.start..inner.start));
    start..start.saturating_add(length(inner))
}

fn chunks_per_batch(size: ChunkSize) -> u32 {
    let most = (BATCH_BYTES / size.bytes()).max(1);
    // So many chunks end at a multiple of the alignment, which is a power of two.
    let step = (ALIGNMENT >> size.bytes().trailing_zeros().min(ALIGNMENT.trailing_zeros())) as u32;
    if most >= step { most - most % step } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::Digest;

    fn payload(chunk: u64, count: u64) -> Payload {
        Payload {
            name: "system".parse().unwrap(),
            size: chunk * count,
            chunk_size: ChunkSize::new(chunk).unwrap(),
            chunks: vec![Digest::of(b""); count as usize],
            frames: None,
            partition: None,
        }
    }

    #[test]
    fn small_chunks_travel_together_and_end_aligned() {
        for (chunk, most) in [
            (1, 1 << 20),
            (1000, 1024),
            (1024, 1024),
            (4096, 256),
            (4100, 255),
            (1 << 20, 1),
            (3 << 20, 1),
            (16 << 20, 1),
        ] {
            let per_batch = chunks_per_batch(ChunkSize::new(chunk).unwrap());
            assert!(u64::from(per_batch) <= most, "{chunk}");
            if chunk.is_multiple_of(4) && chunk < 1 << 20 && chunk != 4100 {
                assert_eq!(chunk * u64::from(per_batch) % 4096, 0, "{chunk}");
            }
        }
    }

    #[test]
    fn unwanted_chunks_part_batches() {
        let payload = payload(256 << 10, 10);
        let batches = Batch::split(&payload, |index| index.0 != 2 && index.0 < 9);
        let chunks: Vec<Vec<u32>> =
            batches.iter().map(|batch| batch.chunks().map(|index| index.0).collect()).collect();
        assert_eq!(chunks, [vec![0, 1], vec![3], vec![4, 5, 6, 7], vec![8]]);
        assert_eq!(batches[2].range(&payload), 1 << 20..2 << 20);
    }

    #[test]
    fn neighbours_are_joined() {
        let chunks = |list: &[u32]| Batch::join(list.iter().copied().map(ChunkIndex));
        let batch = |first, count| Batch { first, count };
        assert_eq!(chunks(&[3, 4, 5, 9, 11, 12]), [batch(3, 3), batch(9, 1), batch(11, 2)]);
        assert_eq!(chunks(&[]), []);
    }

    #[test]
    fn an_empty_payload_has_no_batch() {
        assert_eq!(Batch::split(&payload(1, 0), |_| true), []);
    }
}
