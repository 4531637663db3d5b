// SPDX-License-Identifier: MIT OR Apache-2.0

//! Chunks: the fixed-size pieces of a payload that are hashed one by one.

use std::fmt;
use std::ops::Range;

/// The largest chunk flipside takes, in bytes: one has to fit in memory.
pub const MAX_CHUNK_SIZE: u32 = 16 << 20;

/// The size that `image build` chooses, in bytes.
pub const DEFAULT_CHUNK_SIZE: ChunkSize = ChunkSize(1 << 20);

/// The place of a chunk in its payload, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkIndex(pub u32);

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A chunk size outside the limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a chunk size of {size} bytes is not between 1 and {MAX_CHUNK_SIZE}")]
pub struct ChunkSizeError {
    /// In bytes.
    pub size: u64,
}

/// The size of every chunk of a payload but the last, in bytes: at least 1, at
/// most [`MAX_CHUNK_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// Checks a size.
    ///
    /// # Errors
    /// [`ChunkSizeError`] where it is 0 or over the limit.
    pub fn new(bytes: u64) -> Result<Self, ChunkSizeError> {
        match u32::try_from(bytes) {
            Ok(size) if (1..=MAX_CHUNK_SIZE).contains(&size) => Ok(Self(size)),
            _ => Err(ChunkSizeError { size: bytes }),
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// How many chunks a payload of `size` bytes has.
    pub fn count(self, size: u64) -> u64 {
        size.div_ceil(u64::from(self.0))
    }

    /// The bytes of the payload that chunk `index` covers, empty beyond its end.
    pub fn range(self, index: ChunkIndex, size: u64) -> Range<u64> {
        let chunk = u64::from(self.0);
        // At most 2^32 chunks of 2^24 bytes: no overflow.
        let start = (u64::from(index.0) * chunk).min(size);
        start..(start + chunk).min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // lists of ranges, some of them short
    fn the_last_chunk_is_the_shorter_one() {
        let four = ChunkSize::new(4).unwrap();
        for (size, ranges) in [
            (0, vec![]),
            (1, vec![0..1]),
            (4, vec![0..4]),
            (5, vec![0..4, 4..5]),
            (8, vec![0..4, 4..8]),
        ] {
            assert_eq!(four.count(size), ranges.len() as u64);
            for (index, range) in ranges.into_iter().enumerate() {
                assert_eq!(four.range(ChunkIndex(index as u32), size), range);
            }
        }
        assert_eq!(four.range(ChunkIndex(9), 8), 8..8);
    }

    #[test]
    fn sizes_outside_the_limits_are_refused() {
        for bad in [0, u64::from(MAX_CHUNK_SIZE) + 1, 1 << 32, u64::MAX] {
            assert!(ChunkSize::new(bad).is_err(), "{bad}");
        }
        assert!(ChunkSize::new(u64::from(MAX_CHUNK_SIZE)).is_ok());
    }
}
