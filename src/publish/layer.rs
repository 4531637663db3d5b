// SPDX-License-Identifier: MIT OR Apache-2.0

//! One payload file becomes one layer: its chunks are hashed and compressed on all
//! cores and written in order. What is written depends on the bytes and the level
//! alone, never on how many workers there were.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use flipside_core::cancel::Cancel;
use flipside_core::progress::{Event, Progress};
use flipside_image::{ChunkSize, Digest, Hasher};
use zstd::bulk::Compressor;

use super::PublishError;
use super::input::Input;

/// How layers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerEncoding {
    /// One zstd frame per chunk, at this level, 1 to 22.
    Zstd(i32),
    /// As the payload is, so that extents can be shared.
    Uncompressed,
}

/// Chunks smaller than this are read, hashed and handed over together.
const BATCH: u32 = 1 << 20;

/// What the buffers of all workers together may take, in bytes. Only large chunks on
/// machines with many cores reach it.
const MEMORY: u64 = 1 << 30;

/// A layer that was made.
pub(super) struct Stored {
    /// Of the layer.
    pub(super) digest: Digest,
    /// Of the layer, in bytes.
    pub(super) size: u64,
    /// The hash of each chunk.
    pub(super) chunks: Vec<Digest>,
    /// The size of each frame; `None` where nothing was compressed.
    pub(super) frames: Option<Vec<u64>>,
}

/// Everything that a layer is made with.
pub(super) struct Recipe<'a> {
    pub(super) encoding: LayerEncoding,
    pub(super) chunk_size: ChunkSize,
    /// `None`: as many as there are cores.
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a Cancel,
}

/// Some chunks one after another: which, their hashes and sizes, and what goes into the layer.
#[derive(Default)]
struct Batch {
    index: u64,
    payload_bytes: u64,
    chunks: Vec<(Digest, u64)>,
    bytes: Vec<u8>,
}

impl Recipe<'_> {
    /// Makes the layer of `input`, handing its bytes to `write` in order.
    pub(super) fn store(
        &self,
        input: &Input,
        write: &mut dyn FnMut(&[u8]) -> Result<(), PublishError>,
    ) -> Result<Stored, PublishError> {
        let batch_size = self.batch_size();
        let batches = input.size().div_ceil(batch_size);
        let workers = self.workers(batch_size, batches);
        let in_flight = workers.saturating_mul(2).saturating_add(1);
        let (give, take) = bounded(in_flight);
        let (done, finished) = bounded(in_flight);
        for _ in 0..in_flight {
            // The channel has room for exactly these.
            let _ = give.try_send(Batch::default());
        }
        let next = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..workers {
                let (take, done, next) = (take.clone(), done.clone(), &next);
                scope.spawn(move || self.work(input, batch_size, batches, next, &take, &done));
            }
            drop((take, done));
            // Leaving this early drops the channels, which ends the workers.
            self.collect(batches, give, finished, write)
        })
    }

    fn batch_size(&self) -> u64 {
        let chunk = self.chunk_size.bytes();
        u64::from((BATCH / chunk).max(1)) * u64::from(chunk)
    }

    fn workers(&self, batch_size: u64, batches: u64) -> usize {
        let cores = match self.workers {
            Some(workers) => workers.get(),
            None => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        // Each worker reads into one buffer, and two more hold what it made.
        let affordable = (MEMORY / batch_size.saturating_mul(3)).max(1);
        let useful = affordable.min(batches).max(1);
        cores.min(usize::try_from(useful).unwrap_or(usize::MAX))
    }

    /// Takes one batch after another until there are none left. A buffer is taken before a
    /// batch is chosen, so the lowest batch that is not written yet always has one: the
    /// queue cannot lock up.
    fn work(
        &self,
        input: &Input,
        batch_size: u64,
        batches: u64,
        next: &AtomicU64,
        take: &Receiver<Batch>,
        done: &Sender<Result<Batch, PublishError>>,
    ) {
        let mut maker = match Maker::new(self.encoding) {
            Ok(maker) => maker,
            Err(error) => {
                let _ = done.send(Err(error));
                return;
            }
        };
        while let Ok(mut batch) = take.recv() {
            batch.index = next.fetch_add(1, Ordering::Relaxed);
            if batch.index >= batches {
                return;
            }
            let start = batch.index.saturating_mul(batch_size);
            let length = batch_size.min(input.size().saturating_sub(start));
            let made = self
                .stop
                .check()
                .map_err(PublishError::from)
                .and_then(|()| maker.make(input, start, length, self.chunk_size, &mut batch));
            let failed = made.is_err();
            if done.send(made.map(|()| batch)).is_err() || failed {
                return;
            }
        }
    }

    /// Brings the batches back into order and writes them.
    fn collect(
        &self,
        batches: u64,
        give: Sender<Batch>,
        finished: Receiver<Result<Batch, PublishError>>,
        write: &mut dyn FnMut(&[u8]) -> Result<(), PublishError>,
    ) -> Result<Stored, PublishError> {
        let mut early = std::collections::BTreeMap::new();
        let mut hasher = Hasher::new();
        let mut size = 0_u64;
        let mut chunks = Vec::new();
        let mut frames = Vec::new();
        for index in 0..batches {
            let batch = loop {
                if let Some(batch) = early.remove(&index) {
                    break batch;
                }
                match finished.recv() {
                    Ok(Ok(batch)) => early.insert(batch.index, batch),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        let what = "a worker ended before its work was done".to_owned();
                        return Err(PublishError::PlanInvalid { what });
                    }
                };
            };
            hasher.update(&batch.bytes);
            write(&batch.bytes)?;
            size = size.saturating_add(batch.bytes.len() as u64);
            for (chunk, frame) in &batch.chunks {
                chunks.push(*chunk);
                frames.push(*frame);
            }
            self.progress.event(Event::Written(batch.payload_bytes));
            let _ = give.try_send(batch);
        }
        if batches == 0
            && let LayerEncoding::Zstd(level) = self.encoding
        {
            // A layer of no bytes would be no zstd stream: plain readers get an empty frame.
            let frame = Maker::new(LayerEncoding::Zstd(level))?.empty_frame()?;
            hasher.update(&frame);
            write(&frame)?;
            size = frame.len() as u64;
        }
        let frames = matches!(self.encoding, LayerEncoding::Zstd(_)).then_some(frames);
        Ok(Stored { digest: hasher.finish(), size, chunks, frames })
    }
}

/// One worker's tools.
struct Maker {
    compressor: Option<Compressor<'static>>,
    read: Vec<u8>,
    frame: Vec<u8>,
}

impl Maker {
    fn new(encoding: LayerEncoding) -> Result<Self, PublishError> {
        let compressor = match encoding {
            LayerEncoding::Zstd(level) => Some(Compressor::new(level).map_err(no_compressor)?),
            LayerEncoding::Uncompressed => None,
        };
        Ok(Self { compressor, read: Vec::new(), frame: Vec::new() })
    }

    fn make(
        &mut self,
        input: &Input,
        start: u64,
        length: u64,
        chunk_size: ChunkSize,
        batch: &mut Batch,
    ) -> Result<(), PublishError> {
        // At most a batch, and that is at most one chunk or `BATCH`.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        batch.payload_bytes = length as u64;
        batch.chunks.clear();
        let Some(compressor) = &mut self.compressor else {
            batch.bytes.resize(length, 0);
            input.read(&mut batch.bytes, start)?;
            for chunk in batch.bytes.chunks(chunk_size.bytes() as usize) {
                batch.chunks.push((Digest::of(chunk), chunk.len() as u64));
            }
            return Ok(());
        };
        self.read.resize(length, 0);
        input.read(&mut self.read, start)?;
        batch.bytes.clear();
        for chunk in self.read.chunks(chunk_size.bytes() as usize) {
            compress(compressor, chunk, &mut self.frame)?;
            batch.chunks.push((Digest::of(chunk), self.frame.len() as u64));
            if batch.bytes.is_empty() {
                std::mem::swap(&mut batch.bytes, &mut self.frame);
            } else {
                batch.bytes.extend_from_slice(&self.frame);
            }
        }
        Ok(())
    }

    fn empty_frame(&mut self) -> Result<Vec<u8>, PublishError> {
        let mut frame = Vec::new();
        if let Some(compressor) = &mut self.compressor {
            compress(compressor, &[], &mut frame)?;
        }
        Ok(frame)
    }
}

/// Compresses `chunk` into `frame`: with its content size in the header, which a reader
/// needs to bound its memory, and without a checksum, since the chunk's SHA-256 says more
/// (RFC 8878, section 3.1.1.1).
fn compress(
    compressor: &mut Compressor<'_>,
    chunk: &[u8],
    frame: &mut Vec<u8>,
) -> Result<(), PublishError> {
    frame.clear();
    frame.reserve(zstd::zstd_safe::compress_bound(chunk.len()));
    compressor.compress_to_buffer(chunk, frame).map_err(no_compressor)?;
    Ok(())
}

fn no_compressor(source: std::io::Error) -> PublishError {
    PublishError::PlanInvalid { what: format!("zstd refused: {source}") }
}
