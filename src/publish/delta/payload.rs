// SPDX-License-Identifier: MIT OR Apache-2.0

//! The delta of one payload: its chunks made on all cores, and their frames written in order.

use std::collections::HashMap;
use std::path::Path;

use flipside_core::progress::{Event, Phase};
use flipside_image::delta::{DELTA_CHUNK_LIMIT, DELTA_FRAMES_TYPE, PayloadDelta};
use flipside_image::{ChunkIndex, Compression, Descriptor, Digest, Hasher, Layer, Payload};

use super::super::PublishError;
use super::super::layout::NewBlob;
use super::blocks::Blocks;
use super::chunk::{ChunkMaker, ChunkOrigin, MadeChunk};
use super::opened::OpenedImage;
use super::ordered::in_order;
use super::payload_file::PayloadFile;
use super::run::Run;

/// A payload that has a delta.
pub(super) struct MadePayload {
    pub(super) delta: PayloadDelta,
    /// The size of the frames that are still fetched from the new image, in bytes.
    pub(super) full: u64,
}

/// The frames that were written, and where each chunk comes from.
struct Written<'a, 'b> {
    blob: &'a mut NewBlob<'b>,
    hasher: Hasher,
    size: u64,
    origins: Vec<ChunkOrigin>,
}

impl Written<'_, '_> {
    fn write(&mut self, frame: &[u8]) -> Result<(), PublishError> {
        self.hasher.update(frame);
        self.size = self.size.saturating_add(frame.len() as u64);
        self.blob.write(frame)
    }

    /// Some registries take no empty blob: a layer without a frame gets the last chunk that is copied
    /// as a patch.
    fn fill(&mut self, maker: &ChunkMaker<'_>) -> Result<(), PublishError> {
        let origins = self.origins.iter_mut().zip((0_u32..).map(ChunkIndex));
        let copied = origins.filter_map(|(origin, index)| match *origin {
            ChunkOrigin::Copy(offset) => Some((origin, index, offset)),
            ChunkOrigin::Full | ChunkOrigin::Patch(..) => None,
        });
        let Some((origin, index, offset)) = copied.last() else { return Ok(()) };
        let made = maker.as_patch(index, offset)?;
        *origin = made.origin;
        self.write(&made.frame)
    }
}

/// Makes the delta of the payload of `layer` of the image `to`, and writes its frames to `blob`.
/// `None` where it would be of no use: the old image has no such payload, or nothing in common with it.
pub(super) fn make(
    from: &OpenedImage,
    to: &OpenedImage,
    layer: Layer<'_>,
    directory: &Path,
    blob: &mut NewBlob<'_>,
    run: &Run<'_>,
) -> Result<Option<MadePayload>, PublishError> {
    let payload = layer.payload;
    let old_layer = from.image.layer(payload.name.as_str());
    let Some(old_layer) = old_layer.filter(|old| takes_delta(&layer) && old.payload.size > 0)
    else {
        return Ok(None);
    };
    let old = PayloadFile::of(from, &old_layer, directory, run)?;
    let new = PayloadFile::of(to, &layer, directory, run)?;
    let (name, size) = (format!("delta of {}", payload.name), payload.size);
    run.progress.event(Event::Phase(Phase::Writing));
    run.progress.event(Event::Payload { name, size, kept: 0, fetch: 0 });
    let blocks = Blocks::of(&old, run)?;
    let old_chunks = chunks_of(old_layer.payload, payload);
    let (old, new, from) = (&old, &new, old_layer.payload);
    let maker = ChunkMaker { old, new, from, to: layer, blocks, old_chunks, level: run.level };
    let mut written = Written { blob, hasher: Hasher::new(), size: 0, origins: Vec::new() };
    let make = |number: u64| {
        run.stop.check()?;
        let index = ChunkIndex(u32::try_from(number).unwrap_or(u32::MAX));
        let range = payload.chunk_range(index);
        Ok((maker.make(index)?, range.end.saturating_sub(range.start)))
    };
    let count = u64::from(payload.chunk_count());
    in_order(count, run.workers, &make, &mut |(made, length): (MadeChunk, u64)| {
        written.write(&made.frame)?;
        written.origins.push(made.origin);
        run.progress.event(Event::Written(length));
        Ok(())
    })?;
    if written.size == 0 {
        written.fill(&maker)?;
    }
    if written.size == 0 {
        return Ok(None);
    }
    let full = (0_u32..).map(ChunkIndex).zip(&written.origins);
    let full = full.filter(|(_, origin)| **origin == ChunkOrigin::Full);
    let full = full.map(|(index, _)| maker.full_size(index)).fold(0, u64::saturating_add);
    let layer = Descriptor::new(DELTA_FRAMES_TYPE, written.hasher.finish(), written.size);
    let entries = written.origins.iter().map(ChunkOrigin::entry);
    let delta = PayloadDelta::of(payload, from.size, entries, layer)?;
    Ok(Some(MadePayload { delta, full }))
}

/// The first offset of each chunk of the old payload, if `new` is cut in the same way.
fn chunks_of<'a>(old: &'a Payload, new: &Payload) -> HashMap<&'a Digest, u64> {
    if old.chunk_size != new.chunk_size {
        return HashMap::new();
    }
    let mut offsets = HashMap::new();
    for (index, hash) in old.chunks() {
        offsets.entry(hash).or_insert_with(|| old.chunk_range(index).start);
    }
    offsets
}

/// Whether a delta can have the payload of `layer`.
pub(super) fn takes_delta(layer: &Layer<'_>) -> bool {
    let is_stream = layer.compression == Compression::Zstd && layer.frames.is_none();
    !is_stream && layer.payload.chunk_size.bytes() <= DELTA_CHUNK_LIMIT && layer.payload.size > 0
}
