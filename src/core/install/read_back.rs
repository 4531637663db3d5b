// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the medium gives back is what counts.

use std::sync::{Mutex, PoisonError};

use super::batch::{Batch, length};
use super::scan::{Unreadable, scan};
use super::transfer::Target;
use super::{InstallError, Options};
use crate::cancel::Cancel;
use crate::host::storage::Storage;
use crate::progress::{Event, Progress};
use flipside_image::{ChunkIndex, Payload};

/// P2: reads what was written from the medium again, after it was made durable,
/// and hashes it.
pub(super) fn read_back(
    target: Target<'_>,
    options: &Options,
    written: &[Batch],
) -> Result<(), InstallError> {
    scan(target, options, written, Unreadable::IsError, &|index, is_right| {
        if is_right {
            target.report_read(index);
            return Ok(());
        }
        let (storage, payload) = (target.storage.name(), target.payload.name.clone());
        Err(InstallError::ReadBackMismatch { storage, payload, index })
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
    scan(target, &Options::default(), &all, Unreadable::IsError, &|index, is_right| {
        target.report_read(index);
        if !is_right {
            damaged.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        }
        Ok(())
    })?;
    let mut damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    damaged.sort_unstable();
    Ok(damaged)
}

impl Target<'_> {
    fn report_read(&self, index: ChunkIndex) {
        let bytes = length(&self.payload.chunk_range(index)) as u64;
        self.progress.event(Event::ReadBack(bytes));
    }
}
