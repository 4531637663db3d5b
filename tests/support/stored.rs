// SPDX-License-Identifier: MIT OR Apache-2.0

//! A payload stored as a layer, frame by frame as a test wants it, and a source that
//! hands it out.

use std::ops::Range;
use std::sync::Mutex;

use flipside_core::blob_source::{FetchError, Sink};
use flipside_image::{
    ChunkSize, Compression, Descriptor, Digest, FrameTable, ImageError, Layer, Payload,
};

/// How a layer stores its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One zstd frame per chunk.
    Frames,
    /// One plain zstd stream.
    Stream,
    /// The bytes themselves.
    Plain,
}

pub const KINDS: [Kind; 3] = [Kind::Frames, Kind::Stream, Kind::Plain];

/// A payload and its layer.
pub struct Stored {
    /// The payload's bytes.
    pub truth: Vec<u8>,
    /// The payload as the config describes it.
    pub payload: Payload,
    /// The layer's bytes.
    pub blob: Vec<u8>,
    compression: Compression,
    descriptor: Descriptor,
}

/// Bytes that compress about as an OS does, with runs of zeroes; no two chunks alike.
pub fn some_bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes()[2..]);
        bytes.extend(std::iter::repeat_n(0, (state >> 60) as usize));
    }
    bytes.truncate(length);
    bytes
}

impl Stored {
    pub fn new(kind: Kind, chunk_size: u64, truth: Vec<u8>) -> Self {
        let chunks = || truth.chunks(chunk_size as usize);
        let frames: Vec<_> =
            chunks().map(|chunk| zstd::bulk::compress(chunk, 1).unwrap()).collect();
        let hashes = chunks().map(Digest::of).collect();
        match kind {
            Kind::Frames => Self::of_frames(chunk_size, truth, hashes, &frames),
            Kind::Stream => {
                let blob = zstd::stream::encode_all(truth.as_slice(), 1).unwrap();
                Self::assemble(Compression::Zstd, chunk_size, truth, hashes, None, blob)
            }
            Kind::Plain => {
                let blob = truth.clone();
                Self::assemble(Compression::None, chunk_size, truth, hashes, None, blob)
            }
        }
    }

    /// With frames that need not be what the hashes say.
    pub fn of_frames(
        chunk_size: u64,
        truth: Vec<u8>,
        hashes: Vec<Digest>,
        frames: &[Vec<u8>],
    ) -> Self {
        let sizes: Vec<u64> = frames.iter().map(|frame| frame.len() as u64).collect();
        Self::assemble(Compression::Zstd, chunk_size, truth, hashes, Some(&sizes), frames.concat())
    }

    fn assemble(
        compression: Compression,
        chunk_size: u64,
        truth: Vec<u8>,
        chunks: Vec<Digest>,
        frames: Option<&[u64]>,
        blob: Vec<u8>,
    ) -> Self {
        let chunk_size = ChunkSize::new(chunk_size).unwrap();
        let size = truth.len() as u64;
        let frames = frames.map(|sizes| FrameTable::new(sizes, chunk_size, size).unwrap());
        let name = "system".parse().unwrap();
        let payload = Payload { name, size, chunk_size, chunks, frames, partition: None };
        let mut stored = Self {
            truth,
            payload,
            descriptor: Descriptor {
                media_type: compression.media_type().to_owned(),
                digest: Digest::of(&blob),
                size: 0,
                artifact_type: None,
                platform: None,
                annotations: Default::default(),
            },
            blob: Vec::new(),
            compression,
        };
        stored.replace_blob(blob);
        stored
    }

    /// Makes the layer another than the config describes.
    pub fn replace_blob(&mut self, blob: Vec<u8>) {
        self.descriptor.size = blob.len() as u64;
        self.blob = blob;
    }

    pub fn layer(&self) -> Layer<'_> {
        Layer {
            payload: &self.payload,
            descriptor: &self.descriptor,
            compression: self.compression,
            frames: self.payload.frames.as_ref(),
        }
    }

    /// The place of a chunk's frame in the blob.
    pub fn frame(&self, index: u32) -> Range<usize> {
        let index = flipside_image::ChunkIndex(index);
        let range = match &self.payload.frames {
            Some(frames) => frames.range(index).unwrap(),
            None => self.payload.chunk_range(index),
        };
        range.start as usize..range.end as usize
    }
}

/// Hands out a blob, damaged as a test wants it.
pub struct BlobSource<'a> {
    blob: &'a [u8],
    /// How many bytes it hands over at a time.
    pub piece: usize,
    /// The byte at which every transfer fails.
    pub failing_at: Option<u64>,
    /// Called before a piece is handed over, with its place and its bytes.
    #[allow(clippy::type_complexity)]
    pub on_piece: Box<dyn Fn(Range<u64>, &mut [u8]) + Send + Sync + 'a>,
    /// The ranges that were asked for.
    pub asked: Mutex<Vec<Range<u64>>>,
}

impl<'a> BlobSource<'a> {
    pub fn new(blob: &'a [u8]) -> Self {
        Self {
            blob,
            piece: 10_000,
            failing_at: None,
            on_piece: Box::new(|_, _| {}),
            asked: Mutex::new(Vec::new()),
        }
    }

    /// How many bytes were asked for.
    pub fn asked_bytes(&self) -> u64 {
        self.asked.lock().unwrap().iter().map(|range| range.end - range.start).sum()
    }
}

/// What a source says that breaks off for good.
pub fn broken() -> FetchError {
    FetchError::failed(ImageError::NotAnOsImage { what: "a broken line".to_owned() })
}

impl flipside_core::blob_source::BlobSource for BlobSource<'_> {
    fn stream(
        &self,
        _: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        self.asked.lock().unwrap().push(range.clone());
        // A layer that was cut short ends early.
        let end = range.end.min(self.blob.len() as u64);
        for at in (range.start..end).step_by(self.piece) {
            let place = at..(at + self.piece as u64).min(end);
            if self.failing_at.is_some_and(|at| place.contains(&at)) {
                return Err(broken());
            }
            let mut piece = self.blob[place.start as usize..place.end as usize].to_vec();
            (self.on_piece)(place, &mut piece);
            sink(&piece)?;
        }
        Ok(())
    }
}
