// SPDX-License-Identifier: MIT OR Apache-2.0

//! The running slot's payload, as what a new one is made from. It is only read (P1), and what comes
//! out of it is hashed like everything else (P3).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::decode::Damage;
use crate::host::storage::Storage;
use flipside_image::ChunkIndex;
use flipside_image::delta::{ChunkDelta, PayloadDelta, Window};

/// A read that takes longer is one of a medium that fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reads that take this long each may take [`SLOW_TOTAL`] together.
const SLOW: Duration = Duration::from_millis(500);
const SLOW_TOTAL: Duration = Duration::from_secs(60);
/// So many chunks at least decide whether the base is worth more tries.
const FIRST: u32 = 100;

/// The running slot's payload during one transfer.
pub(super) struct Base<'a> {
    storage: Box<dyn Storage>,
    pub(super) delta: &'a PayloadDelta,
    tried: AtomicU32,
    failed: AtomicU32,
    /// How long slow reads took, in milliseconds.
    waited: AtomicU64,
    is_over: AtomicBool,
    made: Mutex<BTreeSet<ChunkIndex>>,
}

impl<'a> Base<'a> {
    /// `storage`, from which `delta` makes a payload.
    pub(super) fn new(storage: Box<dyn Storage>, delta: &'a PayloadDelta) -> Self {
        let (tried, failed, waited) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU64::new(0));
        let (is_over, made) = (AtomicBool::new(false), Mutex::default());
        Self { storage, delta, tried, failed, waited, is_over, made }
    }

    /// Whether chunk `index` can be made.
    pub(super) fn has(&self, index: ChunkIndex) -> bool {
        self.delta.chunk(index) != ChunkDelta::Full
    }

    /// The most bytes of it from which one chunk is made by a patch.
    pub(super) fn widest(&self) -> usize {
        let length = |chunk| match chunk {
            ChunkDelta::Patch { windows, .. } => windows_length(windows),
            ChunkDelta::Full | ChunkDelta::Copy(_) => 0,
        };
        self.delta.chunks().map(length).max().unwrap_or(0)
    }

    /// Fills `bytes` from `offset`.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Damage> {
        let begun = Instant::now();
        let read = self.storage.read_at(offset, bytes);
        if read.is_err() || self.is_too_slow(begun.elapsed()) {
            let name = self.storage.name();
            let why = read.err().map_or_else(|| "it answers too slowly".into(), |e| e.to_string());
            self.give_up(&format!("{name} cannot be read: {why}"));
            return Err(Damage::Base);
        }
        Ok(())
    }

    /// Whether a read of this length is one too many.
    fn is_too_slow(&self, took: Duration) -> bool {
        let slow = if took < SLOW { Duration::ZERO } else { took };
        let slow = u64::try_from(slow.as_millis()).unwrap_or(u64::MAX);
        let waited = self.waited.fetch_add(slow, Ordering::Relaxed).saturating_add(slow);
        took > PATIENCE || u128::from(waited) > SLOW_TOTAL.as_millis()
    }

    /// Fills `prefix` with the windows, one after the other.
    pub(super) fn read_windows(
        &self,
        windows: &[Window],
        mut prefix: &mut [u8],
    ) -> Result<(), Damage> {
        for window in windows {
            let space = std::mem::take(&mut prefix).split_at_mut_checked(window.length as usize);
            let (now, later) = space.ok_or(Damage::Base)?;
            self.read(window.offset, now)?;
            prefix = later;
        }
        Ok(())
    }

    /// Counts a chunk. Where more than a third of the first hundred came out wrong, or of all so far,
    /// the base is another than the delta is from.
    pub(super) fn count(&self, unpacked: &Result<(), Damage>) {
        let tried = self.tried.fetch_add(1, Ordering::Relaxed);
        if unpacked.is_err() {
            let failed = self.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if failed > FIRST / 3 && failed.saturating_mul(3) > tried.max(FIRST) {
                self.give_up("it gives wrong bytes");
            }
        }
    }

    /// Has the rest fetched in full. Says so once.
    pub(super) fn give_up(&self, why: &str) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            let payload = &self.delta.name;
            tracing::warn!("the rest of payload {payload} is fetched in full: {why}");
        }
    }

    /// Whether the rest is fetched in full.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether chunk `index` needs no patch.
    pub(super) fn is_copied(&self, index: ChunkIndex) -> bool {
        matches!(self.delta.chunk(index), ChunkDelta::Copy(_))
    }

    /// `batch` was made, and written.
    pub(super) fn note_made(&self, batch: Batch) {
        self.made().extend(batch.chunks());
    }

    /// What was made and written.
    pub(super) fn made(&self) -> MutexGuard<'_, BTreeSet<ChunkIndex>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes `windows` have together.
pub(super) fn windows_length(windows: &[Window]) -> usize {
    windows.iter().map(|window| window.length as usize).sum()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use flipside_image::{ChunkSize, Digest, Payload};

    /// A slot whose bytes are their offsets, and which cannot be read from one on.
    struct Slot {
        broken_from: u64,
    }

    impl Storage for Slot {
        fn name(&self) -> String {
            "partition system-a".to_owned()
        }

        fn capacity(&self) -> u64 {
            1000
        }

        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            panic!("P1: the running slot is written to")
        }

        fn sync(&self) -> io::Result<()> {
            panic!("P1: the running slot is written to")
        }

        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            if offset + bytes.len() as u64 > self.broken_from {
                return Err(io::Error::other("bad block"));
            }
            for (at, byte) in (offset..).zip(bytes) {
                *byte = at as u8;
            }
            Ok(())
        }
    }

    /// Of chunks of ten bytes.
    fn delta(chunks: &[ChunkDelta<'_>]) -> PayloadDelta {
        let payload = Payload {
            name: "system".parse().unwrap(),
            size: chunks.len() as u64 * 10,
            chunk_size: ChunkSize::new(10).unwrap(),
            chunks: vec![Digest::of(b"x"); chunks.len()],
            frames: None,
            partition: None,
        };
        let frames = chunks.iter().map(|chunk| match chunk {
            ChunkDelta::Patch { size, .. } => *size as usize,
            _ => 0,
        });
        let layer = vec![0; frames.sum()];
        let layer = flipside_image::Descriptor::of("x", &layer);
        PayloadDelta::of(&payload, 1000, chunks.iter().copied(), layer).unwrap()
    }

    fn base(broken_from: u64, delta: &PayloadDelta) -> Base<'_> {
        Base::new(Box::new(Slot { broken_from }), delta)
    }

    #[test]
    fn windows_are_read_one_after_the_other() {
        let window = |offset, length| Window { offset, length };
        let windows = [window(7, 2), window(3, 1), window(200, 3)];
        let patch = ChunkDelta::Patch { size: 5, windows: &windows };
        let delta = delta(&[ChunkDelta::Full, patch, ChunkDelta::Copy(30)]);
        let base = base(1000, &delta);
        assert_eq!((base.widest(), windows_length(&windows)), (6, 6));
        let found: Vec<bool> = (0..4).map(|index| base.has(ChunkIndex(index))).collect();
        assert_eq!(found, [false, true, true, false]);
        let mut prefix = [0; 6];
        base.read_windows(&windows, &mut prefix).unwrap();
        assert_eq!(prefix, [7, 8, 3, 200, 201, 202]);
        assert!(base.read_windows(&windows, &mut prefix[..5]).is_err());
        assert!(!base.is_over());
    }

    #[test]
    fn a_slot_that_cannot_be_read_is_left() {
        let delta = delta(&[ChunkDelta::Copy(30)]);
        let base = base(100, &delta);
        let mut bytes = [0; 10];
        base.read(90, &mut bytes).unwrap();
        assert!(!base.is_over());
        assert!(base.read(91, &mut bytes).is_err());
        assert!(base.is_over());
    }

    #[test]
    fn more_than_a_third_of_the_first_hundred_wrong_is_the_end() {
        let chunks = |wrong: &dyn Fn(u32) -> bool| {
            let delta = delta(&[ChunkDelta::Copy(0)]);
            let base = base(1000, &delta);
            (0..1000)
                .for_each(|nth| base.count(&if wrong(nth) { Err(Damage::Hash) } else { Ok(()) }));
            base.is_over()
        };
        assert!(chunks(&|nth| nth < 34));
        assert!(chunks(&|nth| nth % 2 == 0));
        assert!(!chunks(&|nth| nth < 33));
        // The same of all so far, later on.
        assert!(chunks(&|nth| nth > 300));
        assert!(!chunks(&|nth| nth > 100 && nth % 3 == 0));
    }

    #[test]
    fn slow_reads_are_counted_together() {
        // Reads until it is too slow, of a day of them.
        let reads = |millis: u64| {
            let delta = delta(&[]);
            let (base, took) = (base(1000, &delta), Duration::from_millis(millis));
            (1..200_000).find(|_| base.is_too_slow(took))
        };
        for (millis, expected) in
            [(499, None), (500, Some(121)), (4000, Some(16)), (5000, Some(13)), (5001, Some(1))]
        {
            assert_eq!(reads(millis), expected, "{millis}");
        }
    }
}
