// SPDX-License-Identifier: MIT OR Apache-2.0

//! The threads of a transfer, and what goes between them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{bounded, unbounded};

use super::base::Base;
use super::batch::{Batch, length};
use super::buffer::Buffer;
use super::fetch::{BatchRange, Supply, fetch, ranges};
use super::memory_limit::MemoryLimit;
use super::plan::Plan;
use super::read_behind::read_behind;
use super::stream::fetch_stream;
use super::transfer::Transfer;
use super::write::write_parcels;
use super::written::WrittenBatch;
use super::{InstallError, Options};
use flipside_image::Payload;

/// Fetches, decodes, checks and writes `batches`, which are all that `plan` wants. What is to be read
/// back and was not yet is added to `unread`.
pub(super) fn transfer(
    job: &Transfer<'_>,
    options: &Options,
    plan: &Plan,
    batches: &[Batch],
    unread: &mut Vec<WrittenBatch>,
) -> Result<(), InstallError> {
    let payload = job.target.payload;
    let ranges = if job.is_stream() { Vec::new() } else { ranges(job, batches)? };
    let size = bytes(payload, batches);
    let Sizes { item, decoded } = Sizes::of(job, batches);
    let prefix = job.base.map_or(0, Base::widest);
    let memory_limit = MemoryLimit::new(options, item, decoded.unwrap_or(0) + prefix);
    let (fill, full) = bounded(memory_limit.items);
    let (give, empty) = bounded(memory_limit.items);
    for _ in 0..memory_limit.items {
        let _ = give.send(Buffer::new(item));
    }
    let (tell, written) = unbounded();
    let (next, left) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let supply = Supply { job, empty, full: fill };
        for _ in 0..memory_limit.connections.min(ranges.len()) {
            let (supply, ranges, next) = (supply.clone(), &ranges, &next);
            job.abort.start(scope, &payload.name, move || fetch_spans(&supply, ranges, next));
        }
        if job.is_stream() && !batches.is_empty() {
            let supply = supply.clone();
            job.abort.start(scope, &payload.name, move || fetch_stream(&supply, plan));
        }
        for _ in 0..memory_limit.workers.min(batches.len()) {
            let (full, give, tell) = (full.clone(), give.clone(), tell.clone());
            job.abort.start(scope, &payload.name, move || {
                write_parcels(job, decoded, &full, &give, &tell)
            });
        }
        if let Some(quick) = job.quick.filter(|_| !batches.is_empty()) {
            let (written, left) = (&written, &left);
            job.abort.start(scope, &payload.name, move || {
                let rest = read_behind(job.target, options.read_behind, quick, written)?;
                *left.lock().unwrap_or_else(PoisonError::into_inner) = rest;
                Ok(())
            });
        }
        // Now only the threads hold the channels, and each side sees the other end.
        drop((supply, full, give, tell));
    });
    unread.append(&mut left.into_inner().unwrap_or_else(PoisonError::into_inner));
    let written = job.written.load(Ordering::Relaxed);
    // Of what is made from a base, the rest is fetched.
    let is_all_wanted = job.base.is_none() || job.abort.is_raised();
    let left = if is_all_wanted { size - written } else { 0 };
    job.abort.finish(&payload.name, left)
}

fn fetch_spans(
    supply: &Supply<'_>,
    ranges: &[BatchRange],
    next: &AtomicUsize,
) -> Result<(), InstallError> {
    while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
        if supply.job.is_over() {
            break;
        }
        fetch(supply, range)?;
    }
    Ok(())
}

/// How many bytes `batches` cover.
pub(super) fn bytes(payload: &Payload, batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| length(&batch.range(payload)) as u64).sum()
}

/// How large buffers have to be, in bytes.
struct Sizes {
    /// What is handed from a fetching thread to a worker.
    item: usize,
    /// What a worker makes of it; `None` where a work item has the chunks as they are.
    decoded: Option<usize>,
}

impl Sizes {
    fn of(job: &Transfer<'_>, batches: &[Batch]) -> Self {
        let payload = job.target.payload;
        let chunks = |batches: &[Batch]| {
            batches.iter().map(|batch| length(&batch.range(payload))).max().unwrap_or(0)
        };
        if job.is_stream() {
            // What stands in the target already is decoded as well.
            return Self { item: chunks(&Batch::split(payload, |_| true)), decoded: None };
        }
        let stored = batches.iter().filter_map(|batch| job.stored_range(*batch));
        Self {
            item: stored.map(|range| length(&range)).max().unwrap_or(0),
            decoded: job.layer.frames.is_some().then(|| chunks(batches)),
        }
    }
}
