// SPDX-License-Identifier: MIT OR Apache-2.0

//! How one payload is made from an older one, chunk by chunk.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    DELTA_CHUNK_LIMIT, DELTA_FRAMES_TYPE, DeltaFlaw, WINDOWS, WINDOWS_BESIDES, WINDOWS_FACTOR,
    WINDOWS_LIMIT, malformed,
};
use crate::bounded;
use crate::{
    ChunkIndex, Compression, Descriptor, Digest, FrameTable, Image, Layer, Payload, PayloadName,
};

/// Bytes of the old payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u32)", into = "(u64, u32)")]
pub struct Window {
    /// Where they start.
    pub offset: u64,
    /// How many they are.
    pub length: u32,
}

impl From<(u64, u32)> for Window {
    fn from((offset, length): (u64, u32)) -> Self {
        Self { offset, length }
    }
}

impl From<Window> for (u64, u32) {
    fn from(window: Window) -> Self {
        (window.offset, window.length)
    }
}

impl Window {
    /// Where they end; `None` where no number is that large.
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.length))
    }
}

/// Where a chunk of the new payload comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkDelta<'a> {
    /// From the new image: `null`.
    Full,
    /// The old payload has its bytes at this offset: `{"copy": OFFSET}`.
    Copy(u64),
    /// A zstd frame of `size` bytes in the delta's layer decodes to it, with the windows of the old
    /// payload, one after the other, as its prefix: `{"frame": SIZE, "windows": [[OFFSET, LENGTH]]}`.
    Patch {
        /// How many bytes the frame has.
        size: u64,
        /// One to four, of at most 4 MiB together.
        windows: &'a [Window],
    },
}

/// How the chunks of a payload are made from the payload of the same name in an older image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadDelta {
    /// The payload.
    pub name: PayloadName,
    /// The size of the old payload in bytes.
    pub from_size: u64,
    /// The patch frames, back to back.
    pub layer: Descriptor,
    /// Where in the layer the frame of each chunk stands; of no bytes where it needs none.
    pub frames: FrameTable,
    chunks: Vec<Entry>,
    /// Those of all patches, in order.
    windows: Vec<Window>,
}

/// One chunk, in few bytes: a payload may have a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Full,
    Copy(u64),
    /// Its first window, and their number.
    Patch(u32, u8),
}

/// A payload as it stands in a delta's config.
#[derive(Deserialize)]
pub(super) struct Raw<'a> {
    name: String,
    from_size: u64,
    /// Read once it is known how many there may be.
    #[serde(borrow)]
    chunks: &'a RawValue,
}

/// The same, to be written.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    name: &'a str,
    from_size: u64,
    #[serde(serialize_with = "write_chunks")]
    chunks: &'a PayloadDelta,
}

impl PayloadDelta {
    /// One that makes no chunk of `to` yet, from an old payload of `from_size` bytes.
    pub fn new(to: &Payload, from_size: u64) -> Self {
        Self {
            name: to.name.clone(),
            from_size,
            layer: Descriptor::of(DELTA_FRAMES_TYPE, b""),
            frames: FrameTable::empty(to.chunks.len()),
            chunks: vec![Entry::Full; to.chunks.len()],
            windows: Vec::new(),
        }
    }

    /// One of these chunks, whose frames are `layer`.
    ///
    /// # Errors
    /// [`DeltaFlaw`] where they do not fit `to` and `from_size`.
    pub fn of<'a>(
        to: &Payload,
        from_size: u64,
        chunks: impl Iterator<Item = ChunkDelta<'a>>,
        layer: Descriptor,
    ) -> Result<Self, DeltaFlaw> {
        let mut list = List::new(to, from_size);
        chunks.into_iter().try_for_each(|chunk| list.push(chunk))?;
        list.finish(layer)
    }

    pub(super) fn check(
        raw: &Raw<'_>,
        layer: &Descriptor,
        image: &Image,
    ) -> Result<Self, DeltaFlaw> {
        let Some(full) = image.layer(&raw.name) else {
            let name: String = raw.name.chars().take(80).collect();
            return Err(DeltaFlaw(format!("the image has no payload {name:?}")));
        };
        let to = full.payload;
        let is_stream = full.compression == Compression::Zstd && full.frames.is_none();
        if is_stream || to.chunk_size.bytes() > DELTA_CHUNK_LIMIT {
            return Err(DeltaFlaw(format!("payload {} takes no delta", to.name)));
        }
        let mut list = List::new(to, raw.from_size);
        let mut json = serde_json::Deserializer::from_str(raw.chunks.get());
        Seed(&mut list).deserialize(&mut json).map_err(malformed)?;
        list.finish(layer.clone())
    }

    pub(super) fn written(&self) -> Written<'_> {
        Written { name: self.name.as_str(), from_size: self.from_size, chunks: self }
    }

    /// Whether the patches are less to fetch than the layer of the whole payload, and need no more of
    /// the old one than a publisher's do: who makes a delta must not decide how long an update takes.
    pub(super) fn is_worth_it(&self, full: &Layer<'_>) -> bool {
        let read = self.windows.iter().map(|window| u64::from(window.length)).sum::<u64>();
        let limit = full.payload.size.saturating_mul(WINDOWS_FACTOR);
        self.frames.layer_size() < full.descriptor.size
            && read <= limit.saturating_add(WINDOWS_BESIDES)
    }

    /// Where chunk `index` comes from.
    pub fn chunk(&self, index: ChunkIndex) -> ChunkDelta<'_> {
        match self.chunks.get(index.0 as usize) {
            None | Some(Entry::Full) => ChunkDelta::Full,
            Some(Entry::Copy(offset)) => ChunkDelta::Copy(*offset),
            Some(Entry::Patch(first, count)) => {
                let first = *first as usize;
                let windows = self.windows.get(first..first + usize::from(*count));
                let frame = self.frames.range(index).unwrap_or_default();
                ChunkDelta::Patch {
                    size: frame.end - frame.start,
                    windows: windows.unwrap_or_default(),
                }
            }
        }
    }

    /// Every chunk in order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkDelta<'_>> {
        let count = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        (0..count).map(|index| self.chunk(ChunkIndex(index)))
    }

    /// Has each chunk of `to` that needs no patch copied from where the old payload `from` has one of
    /// the same hash.
    pub fn add_copies(&mut self, from: &Payload, to: &Payload) {
        if from.chunk_size != to.chunk_size || from.size != self.from_size {
            return;
        }
        // The same hash is the same length.
        let old: HashMap<&Digest, u64> =
            from.chunks().map(|(index, hash)| (hash, from.chunk_range(index).start)).collect();
        for (entry, (index, hash)) in self.chunks.iter_mut().zip(to.chunks()) {
            let range = to.chunk_range(index);
            match old.get(hash) {
                Some(offset)
                    if !matches!(entry, Entry::Patch(..))
                        && fits(*offset, &range, self.from_size) =>
                {
                    *entry = Entry::Copy(*offset);
                }
                _ => {}
            }
        }
    }
}

/// Whether the old payload of `size` bytes has as many as `range` at `offset`.
fn fits(offset: u64, range: &Range<u64>, size: u64) -> bool {
    offset.checked_add(range.end - range.start).is_some_and(|end| end <= size)
}

/// Chunks that are checked one after the other.
struct List<'a> {
    to: &'a Payload,
    from_size: u64,
    chunks: Vec<Entry>,
    frames: Vec<u64>,
    windows: Vec<Window>,
}

impl<'a> List<'a> {
    fn new(to: &'a Payload, from_size: u64) -> Self {
        Self { to, from_size, chunks: Vec::new(), frames: Vec::new(), windows: Vec::new() }
    }

    fn push(&mut self, chunk: ChunkDelta<'_>) -> Result<(), DeltaFlaw> {
        let nth = self.chunks.len();
        let flaw = |what: &str| Err(DeltaFlaw(format!("chunk {nth} of {} {what}", self.to.name)));
        let index = u32::try_from(nth).map(ChunkIndex).unwrap_or(ChunkIndex(u32::MAX));
        if nth >= self.to.chunks.len() {
            return flaw("is one too many");
        }
        let (entry, frame) = match chunk {
            ChunkDelta::Full => (Entry::Full, 0),
            ChunkDelta::Copy(offset)
                if fits(offset, &self.to.chunk_range(index), self.from_size) =>
            {
                (Entry::Copy(offset), 0)
            }
            ChunkDelta::Copy(_) => return flaw("is copied from beyond the old payload's end"),
            ChunkDelta::Patch { size: 0, .. } => return flaw("has a frame of no bytes"),
            ChunkDelta::Patch { size, windows } => {
                if windows.is_empty() || windows.len() > WINDOWS {
                    return flaw("does not have one to four windows");
                }
                let is_inside = |w: &Window| w.end().is_some_and(|end| end <= self.from_size);
                if !windows.iter().all(is_inside) {
                    return flaw("has a window beyond the old payload's end");
                }
                if windows.iter().map(|w| u64::from(w.length)).sum::<u64>() > WINDOWS_LIMIT {
                    return flaw("has windows of more than 4 MiB");
                }
                let first = u32::try_from(self.windows.len()).unwrap_or(u32::MAX);
                self.windows.extend_from_slice(windows);
                (Entry::Patch(first, u8::try_from(windows.len()).unwrap_or(u8::MAX)), size)
            }
        };
        self.chunks.push(entry);
        self.frames.push(frame);
        Ok(())
    }

    fn finish(self, layer: Descriptor) -> Result<PayloadDelta, DeltaFlaw> {
        let Self { to, from_size, chunks, frames, windows } = self;
        let flaw = |what| Err(DeltaFlaw(format!("payload {} {what}", to.name)));
        if chunks.len() != to.chunks.len() {
            return flaw("does not have all its chunks");
        }
        let frames = FrameTable::with_gaps(&frames, to.chunk_size, to.size)
            .map_err(|error| DeltaFlaw(error.to_string()))?;
        if frames.layer_size() != layer.size {
            return flaw("has a layer of another size than its frames");
        }
        let name = to.name.clone();
        Ok(PayloadDelta { name, from_size, layer, frames, chunks, windows })
    }
}

/// Reads the list of chunks without keeping more than the image has.
struct Seed<'a, 'b>(&'a mut List<'b>);

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of chunks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(raw) = entries.next_element::<Option<RawChunk>>()? {
            let chunk = read_chunk(raw.as_ref()).map_err(de::Error::custom)?;
            self.0.push(chunk).map_err(|flaw| de::Error::custom(flaw.0))?;
        }
        Ok(())
    }
}

/// One chunk as it stands in JSON, where it is not `null`.
#[derive(Default, Serialize, Deserialize)]
struct RawChunk {
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::list::<WINDOWS, _, _>"
    )]
    windows: Vec<Window>,
}

fn read_chunk(raw: Option<&RawChunk>) -> Result<ChunkDelta<'_>, &'static str> {
    match raw {
        None => Ok(ChunkDelta::Full),
        Some(RawChunk { copy: Some(offset), frame: None, windows }) if windows.is_empty() => {
            Ok(ChunkDelta::Copy(*offset))
        }
        Some(RawChunk { copy: None, frame: Some(size), windows }) => {
            Ok(ChunkDelta::Patch { size: *size, windows })
        }
        Some(_) => Err("a chunk is neither a copy nor a frame with windows"),
    }
}

fn write_chunks<S: Serializer>(delta: &PayloadDelta, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(delta.chunks().map(|chunk| match chunk {
        ChunkDelta::Full => None,
        ChunkDelta::Copy(offset) => Some(RawChunk { copy: Some(offset), ..RawChunk::default() }),
        ChunkDelta::Patch { size, windows } => {
            Some(RawChunk { frame: Some(size), windows: windows.to_vec(), copy: None })
        }
    }))
}
