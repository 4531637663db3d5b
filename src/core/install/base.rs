// SPDX-License-Identifier: MIT OR Apache-2.0

//! The running slot's payload, as what a new one is made from. It is only read (P1), and what comes
//! out of it is hashed like everything else (P3).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::decode::Damage;
use super::job::Job;
use crate::host::storage::Storage;
use flipside_image::delta::{ChunkDelta, PayloadDelta, Window};
use flipside_image::{ChunkIndex, Layer};

/// A read that takes longer is one of a medium that fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reads that take this long each may take [`SLOW_TOTAL`] together.
const SLOW: Duration = Duration::from_millis(500);
const SLOW_TOTAL: Duration = Duration::from_secs(60);
/// So many chunks at least decide whether the base is worth more tries.
const FIRST: u32 = 100;

/// The running slot's payload during one transfer.
pub(super) struct Base {
    storage: Box<dyn Storage>,
    pub(super) delta: PayloadDelta,
    tried: AtomicU32,
    failed: AtomicU32,
    /// How long slow reads took, in milliseconds.
    waited: AtomicU64,
    is_over: AtomicBool,
    made: Mutex<BTreeSet<ChunkIndex>>,
}

impl Base {
    /// What the running slot has for the payload of `layer`; `None` where that is nothing.
    pub(super) fn open(job: &Job<'_>, layer: &Layer<'_>) -> Option<Self> {
        let old = job.old?;
        let delta = old.delta_of(layer)?;
        let name = delta.name.as_str();
        let storage = match job.host.open_base(name) {
            Ok(storage) => storage?,
            Err(error) => {
                tracing::warn!("payload {name} is fetched in full: {error}");
                return None;
            }
        };
        let holds = storage.capacity();
        (holds >= delta.from_size).then(|| Self::new(storage, delta))
    }

    /// `storage`, from which `delta` makes a payload.
    pub(super) fn new(storage: Box<dyn Storage>, delta: PayloadDelta) -> Self {
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
        let read = self.storage.read_cached(offset, bytes);
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
    use super::*;
    use flipside_image::{ChunkSize, Payload};

    struct Nothing;

    impl Storage for Nothing {
        fn name(&self) -> String {
            String::new()
        }

        fn capacity(&self) -> u64 {
            0
        }

        fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }

        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }

        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn slow_reads_are_counted_together() {
        let payload = Payload {
            name: "system".parse().unwrap(),
            size: 0,
            chunk_size: ChunkSize::new(4096).unwrap(),
            chunks: Vec::new(),
            frames: None,
            partition: None,
        };
        let base = || Base::new(Box::new(Nothing), PayloadDelta::new(&payload, 0));
        // Reads until it is too slow, of a day of them.
        let reads = |millis: u64| {
            let (base, took) = (base(), Duration::from_millis(millis));
            (1..200_000).find(|_| base.is_too_slow(took))
        };
        for (millis, expected) in
            [(499, None), (500, Some(121)), (4000, Some(16)), (5000, Some(13)), (5001, Some(1))]
        {
            assert_eq!(reads(millis), expected, "{millis}");
        }
    }
}
