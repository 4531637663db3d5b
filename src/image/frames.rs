// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the frame of each chunk lies in a compressed layer.

use std::ops::Range;

use super::{ChunkIndex, ChunkSize, ImageError};

/// The frames of one layer: one zstd frame per chunk, back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTable {
    /// Where frame `i` starts, and behind the last frame where it ends, in
    /// bytes: one more than there are chunks.
    starts: Vec<u64>,
}

/// The most bytes that a frame of a chunk of `chunk` bytes may have. zstd's own
/// bound for what does not compress is `n + n/256 + 64` (`ZSTD_COMPRESSBOUND`);
/// this leaves room for other encoders and still bounds memory.
pub const fn frame_limit(chunk: u64) -> u64 {
    chunk + chunk / 64 + 1024
}

impl FrameTable {
    /// Builds the table from the compressed sizes in the config, in bytes, for
    /// a payload of `size` bytes.
    ///
    /// # Errors
    /// [`ImageError::Inconsistent`] unless there is one size per chunk, and each
    /// is at least 1 and at most what zstd can make of the chunk.
    pub fn new(sizes: &[u64], chunk_size: ChunkSize, size: u64) -> Result<Self, ImageError> {
        if let Some(index) = sizes.iter().position(|frame| *frame == 0) {
            let what = format!("frame {index} is said to have 0 bytes");
            return Err(ImageError::Inconsistent { what });
        }
        Self::with_gaps(sizes, chunk_size, size)
    }

    /// The table of a payload of so many chunks, none of which has a frame.
    pub fn empty(chunks: usize) -> Self {
        Self { starts: vec![0; chunks.saturating_add(1)] }
    }

    /// The same, where chunks may have no frame: then its size is 0.
    ///
    /// # Errors
    /// As [`FrameTable::new`].
    pub fn with_gaps(sizes: &[u64], chunk_size: ChunkSize, size: u64) -> Result<Self, ImageError> {
        let inconsistent = |what| Err(ImageError::Inconsistent { what });
        if sizes.len() as u64 != chunk_size.count(size) {
            return inconsistent(format!(
                "{} frame sizes for {} chunks",
                sizes.len(),
                chunk_size.count(size)
            ));
        }
        let limit = frame_limit(u64::from(chunk_size.bytes()));
        let mut starts = Vec::with_capacity(sizes.len() + 1);
        let mut end = 0_u64;
        starts.push(end);
        for (index, frame) in sizes.iter().enumerate() {
            if *frame > limit {
                return inconsistent(format!("frame {index} is said to have {frame} bytes"));
            }
            // At most 2^32 frames of 2^25 bytes: no overflow.
            end += frame;
            starts.push(end);
        }
        Ok(Self { starts })
    }

    /// The bytes of the layer that hold the frame of chunk `index`; `None`
    /// beyond the last chunk.
    pub fn range(&self, index: ChunkIndex) -> Option<Range<u64>> {
        let index = index.0 as usize;
        Some(*self.starts.get(index)?..*self.starts.get(index.checked_add(1)?)?)
    }

    /// The size that the layer must have, in bytes.
    pub fn layer_size(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The compressed size of each frame in bytes, as the config stores it.
    pub fn sizes(&self) -> Vec<u64> {
        self.starts.windows(2).filter_map(|w| Some(w.last()? - w.first()?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_lie_back_to_back() {
        let table = FrameTable::new(&[3, 1, 7], ChunkSize::new(10).unwrap(), 25).unwrap();
        assert_eq!(table.range(ChunkIndex(0)), Some(0..3));
        assert_eq!(table.range(ChunkIndex(1)), Some(3..4));
        assert_eq!(table.range(ChunkIndex(2)), Some(4..11));
        assert_eq!(table.range(ChunkIndex(3)), None);
        assert_eq!(table.range(ChunkIndex(u32::MAX)), None);
        assert_eq!(table.layer_size(), 11);
        assert_eq!(table.sizes(), [3, 1, 7]);
    }

    #[test]
    fn tables_that_cannot_be_are_refused() {
        let ten = ChunkSize::new(10).unwrap();
        for (sizes, size) in [
            (vec![], 1),
            (vec![1], 0),
            (vec![1, 1], 10),
            (vec![0], 10),
            (vec![frame_limit(10) + 1], 10),
            (vec![u64::MAX], 10),
        ] {
            assert!(FrameTable::new(&sizes, ten, size).is_err(), "{sizes:?} {size}");
        }
        assert!(FrameTable::new(&[frame_limit(10)], ten, 10).is_ok());
    }

    proptest! {
        #[test]
        fn any_sizes_are_taken_or_refused(
            sizes in proptest::collection::vec(any::<u64>(), 0..9),
            chunk in 1..=super::super::MAX_CHUNK_SIZE,
            size in any::<u64>(),
        ) {
            let chunk = ChunkSize::new(u64::from(chunk)).unwrap();
            if let Ok(table) = FrameTable::new(&sizes, chunk, size) {
                prop_assert_eq!(table.sizes(), sizes);
            }
        }
    }
}
