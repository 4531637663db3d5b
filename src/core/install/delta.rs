// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part of a payload that is made from the running slot's.

use super::base::Base;
use super::batch::Batch;
use super::plan::Plan;
use super::transfer::Transfer;
use super::written::WrittenBatch;
use super::{InstallError, Options, pipeline};
#[cfg(feature = "testing")]
use flipside_image::delta::PayloadDelta;
use flipside_image::{Compression, Layer, Payload};

impl Base {
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
    base: &Base,
    options: &Options,
    plan: &mut Plan,
    batches: &[Batch],
    unread: &mut Vec<WrittenBatch>,
) -> Result<(), InstallError> {
    match pipeline::transfer(job, options, plan, batches, unread) {
        Err(error @ (InstallError::Image(_) | InstallError::Fetch { .. }))
            if !error.is_stopped() =>
        {
            base.give_up(&error.to_string());
        }
        written => written?,
    }
    plan.fetch_all_but(&base.take_made());
    Ok(())
}

/// Puts a payload onto `storage` as an install does, where `delta` makes a part of it from `base`.
///
/// # Errors
/// [`InstallError`].
#[cfg(feature = "testing")]
pub fn write_made(
    source: &dyn crate::blob_source::BlobSource,
    layer: &Layer<'_>,
    (base, delta): (Box<dyn crate::host::storage::Storage>, PayloadDelta),
    storage: &dyn crate::host::storage::Storage,
    options: &Options,
) -> Result<super::Written, InstallError> {
    let (progress, stop) = (&crate::progress::Silent, &crate::cancel::Cancel::new());
    let target = super::Target { storage, payload: layer.payload, progress, stop };
    super::write_target(target, source, layer, Some(&Base::new(base, delta)), options)
}
