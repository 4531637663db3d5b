// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that direct I/O takes, made once and used again.

use crate::host::storage::ALIGNMENT;

/// Bytes that begin at a multiple of [`ALIGNMENT`]. Pages that were never
/// filled cost no memory.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Longer than the capacity, so that an aligned part of that size lies in it. Never
    /// resized: that would move it.
    memory: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Buffer {
    /// An empty buffer for `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let memory = vec![0; capacity.saturating_add(ALIGNMENT)];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, filled: 0 }
    }

    /// What was filled.
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.filled).unwrap_or_default()
    }

    /// What was filled, to be changed.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.filled).unwrap_or_default()
    }

    /// Takes the first `length` bytes as filled, whatever they are; no more than the
    /// capacity.
    pub(super) fn set_filled(&mut self, length: usize) {
        self.filled = length.min(self.memory.len() - ALIGNMENT);
    }

    /// Adds as many of `piece` as are missing to `length` filled bytes; says how many.
    pub(super) fn fill_up(&mut self, length: usize, piece: &[u8]) -> usize {
        let from = self.filled;
        let taken = length.saturating_sub(from).min(piece.len());
        self.set_filled(from + taken);
        let taken = self.filled - from;
        let space = self.bytes_mut().get_mut(from..).unwrap_or_default();
        space.copy_from_slice(piece.get(..taken).unwrap_or_default());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_is_aligned_and_has_its_capacity() {
        for capacity in [0, 1, 1000, 4096, 4097, 1 << 20] {
            let mut buffer = Buffer::new(capacity);
            buffer.set_filled(capacity + 1);
            assert_eq!(buffer.bytes().len(), capacity);
            assert_eq!(buffer.bytes().as_ptr().addr() % ALIGNMENT, 0);
        }
    }

    #[test]
    fn filling_up_stops_at_the_wanted_length_and_at_the_capacity() {
        let mut buffer = Buffer::new(6);
        assert_eq!(buffer.fill_up(4, b"abc"), 3);
        assert_eq!(buffer.fill_up(4, b"def"), 1);
        assert_eq!(buffer.fill_up(4, b"ef"), 0);
        assert_eq!(buffer.bytes(), b"abcd");
        assert_eq!(buffer.fill_up(9, b"efgh"), 2);
        assert_eq!(buffer.bytes(), b"abcdef");
        buffer.set_filled(0);
        assert_eq!(buffer.fill_up(1, b"z"), 1);
        assert_eq!(buffer.bytes(), b"z");
    }
}
