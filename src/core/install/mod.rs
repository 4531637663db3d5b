// SPDX-License-Identifier: MIT OR Apache-2.0

//! An install: its order, and a payload's way onto a medium.
//!
//! - `job`: what is installed; `transaction`: the order of P4; `check`: its step 2; `boot_file`: the boot file in steps 2 and 6;
//!   `arm`: the last steps alone
//! - `obstacles`: what stands against any install on this host; `trust`: whether the firmware would start it
//! - `slot`: whether a slot holds what its record says
//! - the rest: fetch → decode → verify → write, then read back. Bounded in memory, on all cores.
//!
//! Fetching threads stream large spans of the layer and cut them into work items of one
//! chunk, or of neighbouring small ones. Workers decode a work item, hash each of its chunks
//! and write it where it belongs. Between them go a fixed number of buffers.

mod abort;
mod arm;
mod base;
mod batch;
mod boot_file;
mod buffer;
mod check;
mod decode;
mod delta;
mod fetch;
mod job;
mod memory_limit;
mod obstacles;
mod pipeline;
mod plan;
mod read_back;
mod read_behind;
mod scan;
mod slot;
mod stream;
mod transaction;
mod transfer;
mod trust;
mod write;
mod written;

pub use arm::arm_installed;
pub(crate) use arm::{note_unarmed, put_first_in_loader, secure};
pub use check::check;
#[cfg(feature = "testing")]
pub use delta::write_payload_from;
pub use plan::ChunkSource;
pub use read_back::verify;
pub use read_behind::ReadBehind;

pub use crate::install_error::InstallError;
pub use job::Job;
pub use slot::{FetchConfig, SlotContents, config, contents};
pub use transaction::Checked;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::blob_source::BlobSource;
use crate::cancel::Cancel;
use crate::host::storage::Storage;
use crate::progress::{Event, Phase, Progress};
use base::Base;
use flipside_image::Layer;
use pipeline::bytes;
use plan::Plan;
use transfer::{Target, Transfer};
use written::QuickSum;

/// How to install a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Read everything that was written from the medium again and compare it.
    pub read_back: bool,
    /// When that is done.
    pub read_behind: ReadBehind,
    /// An earlier run was cut off: look at the whole target for chunks to keep, also
    /// where a few samples of it show none.
    pub resume: bool,
    /// Threads that decode, hash and write, at most; otherwise as many as keep all cores
    /// busy. Memory may allow fewer.
    pub workers: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { read_back: true, read_behind: ReadBehind::default(), resume: false, workers: None }
    }
}

/// What an install did, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Of the payload: stood in the target already.
    pub kept: u64,
    /// Of the payload: were written.
    pub written: u64,
    /// Of the layer, and of a delta: were fetched.
    pub fetched: u64,
}

impl Written {
    fn add(&mut self, job: &Transfer<'_>) {
        let now = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        self.written = self.written.saturating_add(now(&job.written));
        self.fetched = self.fetched.saturating_add(now(&job.fetched));
    }
}

/// Puts a payload onto `medium`: what does not stand there already is fetched, decoded,
/// checked and written; then all is made durable and read back. When it returns `Ok`, the
/// medium holds the payload. After an error it holds whole chunks of the payload besides
/// what stood there before, and calling again goes on from there.
///
/// # Errors
/// [`InstallError`]. [`InstallError::PayloadTooLarge`] before anything is touched.
pub fn write_payload(
    source: &dyn BlobSource,
    layer: &Layer<'_>,
    storage: &dyn Storage,
    options: &Options,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<Written, InstallError> {
    let target = Target { storage, payload: layer.payload, progress, stop };
    write_target(target, source, layer, None, options)
}

/// The same, where `base` has a part of the payload, or what it is made from.
fn write_target(
    target: Target<'_>,
    source: &dyn BlobSource,
    layer: &Layer<'_>,
    base: Option<&Base<'_>>,
    options: &Options,
) -> Result<Written, InstallError> {
    let Target { storage, payload, progress, .. } = target;
    target.check_size()?;

    progress.event(Event::Phase(Phase::Comparing));
    let mut plan = Plan::make(target, options)?;
    let kept = plan.batches(payload, ChunkSource::Kept);
    let missing = payload.size.saturating_sub(bytes(payload, &kept));
    if let Some(base) = base {
        plan.use_base(base);
    }
    let mut fetched = plan.batches(payload, ChunkSource::Fetched);

    progress.event(Event::Phase(Phase::Writing));
    let (quick, mut unread) = (QuickSum::new(), Vec::new());
    let job = |layer| Transfer::new(target, source, layer, options.read_back.then_some(quick));
    let mut full = job(*layer);
    let mut written = Written::default();
    match base {
        None => full.announce(missing, full.fetch_size(&fetched)?),
        Some(base) => {
            let patches = Transfer { base: Some(base), ..job(base.layer(payload)) };
            let made = plan.batches(payload, ChunkSource::Made);
            let size = full.fetch_size(&fetched)?;
            patches.announce(missing, patches.fetch_size(&made)?.saturating_add(size));
            let done = (&mut unread, &mut written);
            delta::write(&patches, base, options, &mut plan, &made, done)?;
            fetched = plan.batches(payload, ChunkSource::Fetched);
            let more = full.fetch_size(&fetched)?.saturating_sub(size);
            if more > 0 {
                full.announce(bytes(payload, &fetched), more);
            }
        }
    }
    match pipeline::transfer(&full, options, &plan, &fetched, &mut unread) {
        // A mirror that is broken or lies must not keep hosts from the registry's own bytes.
        Err(InstallError::Image(damage)) if source.leave_out_mirrors() => {
            tracing::warn!("the mirrors are left out: {damage}");
            let plan = Plan::make(target, &Options { resume: true, ..options.clone() })?;
            let missing = plan.batches(payload, ChunkSource::Fetched);
            full = job(*layer);
            full.announce(bytes(payload, &missing), full.fetch_size(&missing)?);
            pipeline::transfer(&full, options, &plan, &missing, &mut unread)?;
        }
        ended => ended?,
    }
    written.add(&full);
    written.kept = payload.size.saturating_sub(written.written);
    storage.sync().map_err(|source| target.sync_error(source))?;

    if options.read_back {
        progress.event(Event::Phase(Phase::ReadingBack));
        read_back::read_back(target, options, quick, &unread)?;
        if storage.is_cached() {
            read_back::hash_back(target, options, &kept)?;
        } else {
            // P2: it was read from the medium, and hashed, before anything was written.
            kept.iter().for_each(|batch| target.report_read(*batch));
        }
    }
    Ok(written)
}
