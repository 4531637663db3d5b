// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part of a payload that is made from the running slot's.

use super::base::Base;
use super::batch::Batch;
use super::plan::{ChunkSource, Plan};
use super::transfer::Transfer;
use super::written::WrittenBatch;
use super::{InstallError, Options, Written, pipeline};
use flipside_image::{Compression, Layer, Payload};
#[cfg(feature = "testing")]
use {
    super::transfer::Target, super::write_target, crate::blob_source::BlobSource,
    crate::cancel::Cancel, crate::host::storage::Storage, crate::progress::Silent,
    flipside_image::delta::PayloadDelta,
};

impl Base<'_> {
    /// The layer of patches as one of `payload`.
    pub(super) fn layer<'a>(&'a self, payload: &'a Payload) -> Layer<'a> {
        Layer {
            payload,
            descriptor: &self.delta.layer,
            compression: Compression::Zstd,
            frames: Some(&self.delta.frames),
        }
    }
}

/// Writes what can be made of `batches`, all of those that `plan` wants made, and has the rest
/// fetched: a delta that is of no use is no reason to end an install.
pub(super) fn write(
    job: &Transfer<'_>,
    base: &Base<'_>,
    options: &Options,
    plan: &mut Plan,
    batches: &[Batch],
    (unread, written): (&mut Vec<WrittenBatch>, &mut Written),
) -> Result<(), InstallError> {
    let patched = pipeline::transfer(job, options, plan, batches, unread);
    written.add(job);
    match patched {
        Err(error) if error.is_of_source() => {
            let payload = job.target.payload;
            tracing::warn!("payload {} is not patched any further: {error}", payload.name);
            let made = base.made().clone();
            let is_left = |index| {
                plan.source(index) == ChunkSource::Made
                    && base.is_copied(index)
                    && !made.contains(&index)
            };
            let copies = Batch::split(payload, is_left);
            let again = Transfer::new(job.target, job.source, job.layer, job.quick);
            let again = Transfer { base: Some(base), ..again };
            pipeline::transfer(&again, options, plan, &copies, unread)?;
            written.add(&again);
        }
        patched => patched?,
    }
    plan.fetch_all_but(&base.made());
    Ok(())
}

/// Puts a payload onto `storage` as an update does on a host whose running slot holds `old`, from
/// which `delta` makes what it can. In the product the slot and the delta are found by the
/// transaction.
///
/// # Errors
/// [`InstallError`], as of [`write_payload`](super::write_payload).
#[cfg(feature = "testing")]
pub fn write_payload_from(
    old: Box<dyn Storage>,
    delta: &PayloadDelta,
    source: &dyn BlobSource,
    layer: &Layer<'_>,
    storage: &dyn Storage,
    options: &Options,
) -> Result<Written, InstallError> {
    let (progress, stop) = (&Silent, &Cancel::new());
    let target = Target { storage, payload: layer.payload, progress, stop };
    write_target(target, source, layer, Some(&Base::new(old, delta)), options)
}
