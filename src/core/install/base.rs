// SPDX-License-Identifier: MIT OR Apache-2.0

//! The running slot's payload, as what a new one is made from. It is only read (P1), and what comes
//! out of it is hashed like everything else (P3).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::decode::Damage;
use super::job::Job;
use crate::host::storage::Storage;
use flipside_image::delta::{ChunkDelta, PayloadDelta, Window};
use flipside_image::{ChunkIndex, Layer};

/// A read that takes longer is one of a medium that fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many chunks decide whether the base is worth more tries.
const FIRST: u32 = 100;

/// The running slot's payload during one transfer.
pub(super) struct Base {
    storage: Box<dyn Storage>,
    pub(super) delta: PayloadDelta,
    tried: AtomicU32,
    failed: AtomicU32,
    is_over: AtomicBool,
    made: Mutex<Vec<Batch>>,
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
        let (tried, failed) = (AtomicU32::new(0), AtomicU32::new(0));
        let (is_over, made) = (AtomicBool::new(false), Mutex::default());
        Self { storage, delta, tried, failed, is_over, made }
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
        let is_slow = begun.elapsed() > PATIENCE;
        if read.is_err() || is_slow {
            let name = self.storage.name();
            let why = read.err().map_or_else(|| "it answers too slowly".into(), |e| e.to_string());
            self.give_up(&format!("{name} cannot be read: {why}"));
            return Err(Damage::Base);
        }
        Ok(())
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

    /// Counts a chunk. Where more than a third of the first hundred came out wrong, the base is
    /// another than the delta is from.
    pub(super) fn count(&self, unpacked: &Result<(), Damage>) {
        let tried = self.tried.fetch_add(1, Ordering::Relaxed);
        if unpacked.is_err() {
            let failed = self.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if tried < FIRST && failed > FIRST / 3 {
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

    /// `batch` was made, and written.
    pub(super) fn note_made(&self, batch: Batch) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }

    /// What was made and written.
    pub(super) fn take_made(&self) -> Vec<Batch> {
        std::mem::take(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many bytes `windows` have together.
pub(super) fn windows_length(windows: &[Window]) -> usize {
    windows.iter().map(|window| window.length as usize).sum()
}
