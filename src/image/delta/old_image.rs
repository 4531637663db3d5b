// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a host has of an older image, and what a new one costs it.

use serde::{Deserialize, Serialize};

use super::{ChunkDelta, Delta, PayloadDelta};
use crate::{Compression, Image, ImageConfig, Layer};

/// How the payloads of a new image are made from those in the running slot.
#[derive(Debug)]
pub struct OldImage {
    /// Of those of which something can be made.
    payloads: Vec<PayloadDelta>,
    /// The version that the delta is from, where one is of use.
    delta_from: Option<String>,
}

impl OldImage {
    /// How `image` is made from the image with the config `old`: by `delta`, and otherwise by copying
    /// what has the same hash.
    pub fn new(old: &ImageConfig, delta: Option<Delta>, image: &Image) -> Self {
        let mut payloads = Vec::new();
        let (from_version, mut deltas) =
            delta.map(|delta| (delta.from_version, delta.payloads)).unzip();
        let mut is_of_use = false;
        for layer in image.layers() {
            let name = &layer.payload.name;
            let Some(old) = old.payloads.iter().find(|old| old.name == *name) else { continue };
            let is_usable = |delta: &PayloadDelta| {
                delta.name == *name && delta.from_size == old.size && delta.is_worth_it(&layer)
            };
            let at = deltas.iter().flatten().position(is_usable);
            let usable = at.and_then(|at| deltas.as_mut().map(|deltas| deltas.swap_remove(at)));
            is_of_use |= usable.is_some();
            let mut delta = usable.unwrap_or_else(|| PayloadDelta::new(layer.payload, old.size));
            delta.add_copies(old, layer.payload);
            payloads.push(delta);
        }
        payloads.retain(|delta| delta.chunks().any(|chunk| chunk != ChunkDelta::Full));
        Self { payloads, delta_from: from_version.filter(|_| is_of_use) }
    }

    /// How the payload of `layer` is made; `None` where nothing of it can be.
    pub fn delta_of(&self, layer: &Layer<'_>) -> Option<&PayloadDelta> {
        self.payloads.iter().find(|delta| delta.name == layer.payload.name)
    }

    /// How many bytes are fetched for the payload of `layer`.
    pub fn download(&self, layer: &Layer<'_>) -> u64 {
        let Some(delta) = self.delta_of(layer) else { return layer.descriptor.size };
        let payload = layer.payload;
        let full = payload.chunks().filter(|(index, _)| delta.chunk(*index) == ChunkDelta::Full);
        let size = |range: std::ops::Range<u64>| range.end.saturating_sub(range.start);
        let fetched = match (layer.compression, layer.frames) {
            (Compression::None, _) => full.map(|(i, _)| size(payload.chunk_range(i))).sum(),
            (_, Some(frames)) => full.filter_map(|(i, _)| frames.range(i)).map(size).sum(),
            // One stream is decoded from its start, whatever of it is wanted.
            (_, None) if full.count() > 0 => layer.descriptor.size,
            (_, None) => 0,
        };
        delta.frames.layer_size().saturating_add(fetched)
    }
}

/// How many bytes an update costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// That are fetched.
    pub bytes: u64,
    /// That would be without what the host has already.
    pub full: u64,
    /// The version that the delta is from, where there is one.
    pub delta_from: Option<String>,
}

impl Download {
    /// Of the payloads of `image` that `is_taken`, on a host that has `old`.
    pub fn of(image: &Image, old: Option<&OldImage>, is_taken: impl Fn(&str) -> bool) -> Self {
        let (mut bytes, mut full) = (0_u64, 0_u64);
        for layer in image.layers().filter(|layer| is_taken(layer.payload.name.as_str())) {
            let size = layer.descriptor.size;
            full = full.saturating_add(size);
            bytes = bytes.saturating_add(old.map_or(size, |old| old.download(&layer)));
        }
        let delta_from = old.and_then(|old| old.delta_from.clone());
        Self { bytes, full, delta_from }
    }
}
