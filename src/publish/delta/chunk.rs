// SPDX-License-Identifier: MIT OR Apache-2.0

//! How one chunk is made from the old payload: copied, patched, or not at all.

use std::collections::HashMap;

use flipside_image::delta::{ChunkDelta, Window};
use flipside_image::{ChunkIndex, Digest, Layer, Payload};

use super::super::PublishError;
use super::blocks::{Blocks, Found};
use super::patch;
use super::payload_file::PayloadFile;
use super::windows::{self, Shift, Votes};

/// What the entry of a patch takes in the delta's config, in bytes. A patch has to save more.
const ENTRY: u64 = 64;
/// How far around a chunk is looked for where its content has moved to, in bytes.
const NEIGHBOURHOOD: u64 = 1 << 20;

/// Where a chunk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChunkOrigin {
    Full,
    Copy(u64),
    /// The size of its frame in bytes, and the windows.
    Patch(u64, Vec<Window>),
}

impl ChunkOrigin {
    /// The same for the delta's config.
    pub(super) fn entry(&self) -> ChunkDelta<'_> {
        match self {
            Self::Full => ChunkDelta::Full,
            Self::Copy(offset) => ChunkDelta::Copy(*offset),
            Self::Patch(size, windows) => ChunkDelta::Patch { size: *size, windows },
        }
    }
}

/// A chunk that was made.
#[derive(Debug)]
pub(super) struct MadeChunk {
    pub(super) origin: ChunkOrigin,
    /// What goes into the delta's layer: nothing but for a patch.
    pub(super) frame: Vec<u8>,
}

impl MadeChunk {
    const FULL: Self = Self { origin: ChunkOrigin::Full, frame: Vec::new() };

    fn copy(offset: u64) -> Self {
        Self { origin: ChunkOrigin::Copy(offset), frame: Vec::new() }
    }

    fn patch(frame: Vec<u8>, windows: Vec<Window>) -> Self {
        Self { origin: ChunkOrigin::Patch(frame.len() as u64, windows), frame }
    }
}

/// Everything that the chunks of one payload are made with.
pub(super) struct ChunkMaker<'a> {
    pub(super) old: &'a PayloadFile,
    pub(super) new: &'a PayloadFile,
    /// The old payload as its image describes it.
    pub(super) from: &'a Payload,
    /// The new one, and how its image stores it.
    pub(super) to: Layer<'a>,
    pub(super) blocks: Blocks,
    /// Where the old payload has each of its chunks first, if its chunks are as large as the new ones.
    pub(super) old_chunks: HashMap<&'a Digest, u64>,
    pub(super) level: i32,
}

impl ChunkMaker<'_> {
    /// Makes chunk `index`.
    pub(super) fn make(&self, index: ChunkIndex) -> Result<MadeChunk, PublishError> {
        if let Some(offset) = self.same_chunk(index) {
            return Ok(MadeChunk::copy(offset));
        }
        let range = self.to.payload.chunk_range(index);
        let chunk = self.new.read(range.start, range.end.saturating_sub(range.start))?;
        let found = self.blocks.find(&chunk, range.start);
        let shift = self.shift(&found, index)?;
        if let Some(place) = windows::moved(&range, shift, self.old.size())
            && self.old.read(place.start, place.end.saturating_sub(place.start))? == chunk
        {
            return Ok(MadeChunk::copy(place.start));
        }
        let windows = windows::choose(&range, shift, &found, self.old.size());
        let full = self.full_size(index);
        if windows.is_empty() || full <= ENTRY {
            return Ok(MadeChunk::FULL);
        }
        let frame = self.patch(&windows, &chunk)?;
        match (frame.len() as u64).saturating_add(ENTRY) < full {
            true => Ok(MadeChunk::patch(frame, windows)),
            false => Ok(MadeChunk::FULL),
        }
    }

    /// A chunk that is at `offset` of the old payload, as a patch.
    pub(super) fn as_patch(
        &self,
        index: ChunkIndex,
        offset: u64,
    ) -> Result<MadeChunk, PublishError> {
        let range = self.to.payload.chunk_range(index);
        let length = range.end.saturating_sub(range.start);
        let chunk = self.new.read(range.start, length)?;
        let window = Window { offset, length: u32::try_from(length).unwrap_or(u32::MAX) };
        let frame = self.patch(&[window], &chunk)?;
        Ok(MadeChunk::patch(frame, vec![window]))
    }

    /// What is fetched of the new image for chunk `index`, in bytes.
    pub(super) fn full_size(&self, index: ChunkIndex) -> u64 {
        let range = match self.to.frames {
            Some(frames) => frames.range(index).unwrap_or_default(),
            None => self.to.payload.chunk_range(index),
        };
        range.end.saturating_sub(range.start)
    }

    fn patch(&self, windows: &[Window], chunk: &[u8]) -> Result<Vec<u8>, PublishError> {
        let size = windows.iter().map(|window| window.length as usize).sum();
        let mut prefix = Vec::with_capacity(size);
        for window in windows {
            prefix.extend(self.old.read(window.offset, u64::from(window.length))?);
        }
        patch::compress(self.level, &prefix, chunk)
    }

    /// Where the old payload has a chunk of the same hash, in the same place if it can be.
    fn same_chunk(&self, index: ChunkIndex) -> Option<u64> {
        let hash = self.to.payload.chunks.get(index.0 as usize)?;
        let first = *self.old_chunks.get(hash)?;
        let is_in_place = self.from.chunks.get(index.0 as usize) == Some(hash);
        Some(if is_in_place { self.from.chunk_range(index).start } else { first })
    }

    /// How far the chunk has moved: as most of its blocks say, or those around it where too few of
    /// its own are found.
    fn shift(&self, found: &[Found], index: ChunkIndex) -> Result<Shift, PublishError> {
        let mut votes = Votes::default();
        votes.add(found);
        if let Some(shift) = votes.clear() {
            return Ok(shift);
        }
        let range = self.to.payload.chunk_range(index);
        let before = range.start.saturating_sub(NEIGHBOURHOOD)..range.start;
        let behind = range.end..range.end.saturating_add(NEIGHBOURHOOD).min(self.new.size());
        for part in [before, behind] {
            let bytes = self.new.read(part.start, part.end.saturating_sub(part.start))?;
            votes.add(&self.blocks.find(&bytes, part.start));
        }
        Ok(votes.clear().unwrap_or_default())
    }
}
