// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the medium gives back is what counts.

use std::sync::{Mutex, PoisonError};

use super::batch::{Batch, length};
use super::scan::scan;
use super::transfer::Target;
use super::written::{QuickSum, WrittenBatch};
use super::{InstallError, Options};
use crate::cancel::Cancel;
use crate::host::storage::Storage;
use crate::progress::{Event, Progress};
use flipside_image::{ChunkIndex, Payload};

/// P2: reads what was written from the medium again, after it was made durable, and compares it by
/// its sum.
pub(super) fn read_back(
    target: Target<'_>,
    options: &Options,
    quick: QuickSum,
    written: &[WrittenBatch],
) -> Result<(), InstallError> {
    let batches: Vec<Batch> = written.iter().map(|written| written.batch).collect();
    scan(target, options, &batches, &|nth, bytes| {
        written.get(nth).map_or(Ok(()), |written| target.compare(quick, *written, bytes?))
    })
}

/// P2: reads what an earlier run wrote, and hashes it.
pub(super) fn hash_back(
    target: Target<'_>,
    options: &Options,
    kept: &[Batch],
) -> Result<(), InstallError> {
    scan(target, options, kept, &|nth, bytes| {
        kept.get(nth).map_or(Ok(()), |batch| target.find_damage(*batch, bytes?))
    })
}

/// Reads a payload from the medium that should hold it and names the chunks whose
/// bytes are not those of the payload, in order.
///
/// # Errors
/// [`InstallError::PayloadTooLarge`], [`InstallError::Read`] and
/// [`InstallError::Stopped`].
pub fn verify(
    storage: &dyn Storage,
    payload: &Payload,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<Vec<ChunkIndex>, InstallError> {
    let target = Target { storage, payload, progress, stop };
    target.check_size()?;
    let damaged = Mutex::new(Vec::new());
    let all = Batch::split(payload, |_| true);
    scan(target, &Options::default(), &all, &|nth, bytes| {
        let (Some(batch), bytes) = (all.get(nth), bytes?) else { return Ok(()) };
        let wrong = target.checked(*batch, bytes).filter(|(_, is_right)| !is_right);
        let mut damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.extend(wrong.map(|(index, _)| index));
        target.report_read(*batch);
        Ok(())
    })?;
    let mut damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    damaged.sort_unstable();
    Ok(damaged)
}

impl Target<'_> {
    /// Whether `bytes`, which were read back, are what was written.
    pub(super) fn compare(
        &self,
        quick: QuickSum,
        written: WrittenBatch,
        bytes: &[u8],
    ) -> Result<(), InstallError> {
        if quick.of(written.batch, bytes) != written {
            self.find_damage(written.batch, bytes)?;
            // It was written as something else than what was checked.
            return Err(self.mismatch(written.batch.first()));
        }
        self.report_read(written.batch);
        Ok(())
    }

    /// Names the first chunk of `batch` that has not its hash.
    fn find_damage(&self, batch: Batch, bytes: &[u8]) -> Result<(), InstallError> {
        match self.checked(batch, bytes).find(|(_, is_right)| !is_right) {
            Some((index, _)) => Err(self.mismatch(index)),
            None => {
                self.report_read(batch);
                Ok(())
            }
        }
    }

    fn mismatch(&self, index: ChunkIndex) -> InstallError {
        let (storage, payload) = (self.storage.name(), self.payload.name.clone());
        InstallError::ReadBackMismatch { storage, payload, index }
    }

    /// Tells that `batch` was read and found right.
    pub(super) fn report_read(&self, batch: Batch) {
        let bytes = length(&batch.range(self.payload)) as u64;
        self.progress.event(Event::ReadBack(bytes));
    }
}
