// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a host has of an older image, and what a new one costs it.

use serde::{Deserialize, Serialize};

use super::{ChunkDelta, Delta, PayloadDelta};
use crate::{Compression, Image, ImageConfig, Layer};

/// The image in the running slot, and how a new one is made from it.
#[derive(Debug)]
pub struct OldImage {
    /// Its config, which the slot's record names. Payloads that may not be used are left out.
    pub config: ImageConfig,
    /// The delta, where there is one.
    pub delta: Option<Delta>,
}

impl OldImage {
    /// How the payload of `layer` is made: by the delta, and otherwise by copying what has the same
    /// hash. `None` where nothing can be.
    pub fn delta_of(&self, layer: &Layer<'_>) -> Option<PayloadDelta> {
        let name = &layer.payload.name;
        let old = self.config.payloads.iter().find(|payload| payload.name == *name)?;
        let delta = self.delta.as_ref().and_then(|delta| delta.payload(name));
        let usable = delta.filter(|delta| delta.from_size == old.size && delta.is_worth_it(layer));
        let usable = usable.cloned();
        let mut delta = usable.unwrap_or_else(|| PayloadDelta::new(layer.payload, old.size));
        delta.add_copies(old, layer.payload);
        let is_of_use = delta.chunks().any(|chunk| chunk != ChunkDelta::Full);
        is_of_use.then_some(delta)
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
        let delta_from = old.and_then(|old| Some(old.delta.as_ref()?.from_version.clone()));
        Self { bytes, full, delta_from }
    }
}
