// SPDX-License-Identifier: MIT OR Apache-2.0

//! What all stages of one payload share.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::InstallError;
use super::abort::Abort;
use super::base::Base;
use super::batch::Batch;
use super::decode::Damage;
use super::written::QuickSum;
use crate::blob_source::BlobSource;
use crate::cancel::Cancel;
use crate::host::storage::Storage;
use crate::progress::{Event, Progress};
use flipside_image::{ChunkIndex, Compression, ImageError, Layer, Payload};

/// How many chunks of a payload may be fetched a second time.
const RETRIES: u32 = 8;

/// A payload and where it stands or shall stand.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) payload: &'a Payload,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a Cancel,
}

impl Target<'_> {
    /// Refuses a payload that does not fit.
    pub(super) fn check_size(&self) -> Result<(), InstallError> {
        let (size, capacity) = (self.payload.size, self.storage.capacity());
        if size <= capacity {
            return Ok(());
        }
        let (payload, storage) = (self.payload.name.clone(), self.storage.name());
        Err(InstallError::PayloadTooLarge { payload, size, storage, capacity })
    }

    pub(super) fn read_error(&self, offset: u64, source: io::Error) -> InstallError {
        let (payload, storage) = (self.payload.name.clone(), self.storage.name());
        InstallError::Read { payload, storage, offset, source }
    }

    pub(super) fn write_error(&self, offset: u64, source: io::Error) -> InstallError {
        let (payload, storage) = (self.payload.name.clone(), self.storage.name());
        InstallError::Write { payload, storage, offset, source }
    }

    pub(super) fn sync_error(&self, source: io::Error) -> InstallError {
        let (payload, storage) = (self.payload.name.clone(), self.storage.name());
        InstallError::Sync { payload, storage, source }
    }
}

/// The transfer of a payload from its source to its target.
pub(super) struct Transfer<'a> {
    pub(super) target: Target<'a>,
    pub(super) source: &'a dyn BlobSource,
    pub(super) layer: Layer<'a>,
    pub(super) abort: Abort<'a>,
    /// Bytes of the layer that came.
    pub(super) fetched: AtomicU64,
    /// Bytes of the payload that were written.
    pub(super) written: AtomicU64,
    /// Chunks that may still be fetched again.
    pub(super) retries: AtomicU32,
    /// Of what is written here, where it is to be read back.
    pub(super) quick: Option<QuickSum>,
    /// What the chunks are made from, where the layer is one of patches.
    pub(super) base: Option<&'a Base<'a>>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        target: Target<'a>,
        source: &'a dyn BlobSource,
        layer: Layer<'a>,
        quick: Option<QuickSum>,
    ) -> Self {
        Self {
            target,
            quick,
            base: None,
            source,
            layer,
            abort: Abort::new(target.stop),
            fetched: AtomicU64::new(0),
            written: AtomicU64::new(0),
            retries: AtomicU32::new(RETRIES),
        }
    }

    /// Tells that it begins: how many bytes of the payload are to be written, and how many are to be
    /// fetched for them.
    pub(super) fn announce(&self, write: u64, fetch: u64) {
        let Payload { name, size, .. } = self.target.payload;
        let (name, size, kept) = (name.to_string(), *size, size.saturating_sub(write));
        self.target.progress.event(Event::Payload { name, size, kept, fetch });
    }

    /// Whether to end now: all of it, or because the base is no good.
    pub(super) fn is_over(&self) -> bool {
        self.abort.is_raised() || self.base.is_some_and(Base::is_over)
    }

    /// Whether the layer can only be decoded from its start.
    pub(super) fn is_stream(&self) -> bool {
        self.layer.compression == Compression::Zstd && self.layer.frames.is_none()
    }

    /// Where in the layer a batch lies; `None` in a stream, where nobody knows.
    pub(super) fn stored_range(&self, batch: Batch) -> Option<Range<u64>> {
        match (self.layer.compression, self.layer.frames) {
            (Compression::None, _) => Some(batch.range(self.target.payload)),
            (Compression::Zstd, Some(frames)) => {
                Some(frames.range(batch.first())?.start..frames.range(batch.last())?.end)
            }
            (Compression::Zstd, None) => None,
        }
    }

    /// The error that names a chunk and what is wrong with it.
    pub(super) fn bad(&self, index: ChunkIndex, damage: &Damage) -> InstallError {
        let payload = self.target.payload.name.to_string();
        ImageError::BadChunk { payload, index, what: damage.to_string() }.into()
    }
}
