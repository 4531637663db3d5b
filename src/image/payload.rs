// SPDX-License-Identifier: MIT OR Apache-2.0

//! Payloads: how the image config describes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ChunkIndex, ChunkSize, Digest, FrameTable, ImageError, PayloadName};
use crate::bounded;
use crate::media_types::FORMAT_CONFIG_LIMIT;

/// One payload: a named blob, its size, and the hash of each of its chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Its name, unique in the image.
    pub name: PayloadName,
    /// Its size in bytes, uncompressed.
    pub size: u64,
    /// The size of its chunks.
    pub chunk_size: ChunkSize,
    /// SHA-256 of each chunk: exactly `chunk_size.count(size)` of them.
    pub chunks: Vec<Digest>,
    /// Where the frames lie; `None` where the config has no `frame_sizes`.
    pub frames: Option<FrameTable>,
    /// What the partition that receives it is to be called.
    pub partition: Option<PartitionIdentity>,
}

/// GPT properties for the partition that receives a payload (UEFI 2.10,
/// section 5.3.3, table 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionIdentity {
    /// Unique partition GUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<uuid::Uuid>,
    /// Partition type GUID.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_uuid: Option<uuid::Uuid>,
    /// Attribute bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<u64>,
}

/// The most frames of a layer. Each belongs to a chunk, whose hash takes 46 bytes of the config.
const FRAMES: usize = (FORMAT_CONFIG_LIMIT / 46) as usize;

/// A payload as it stands in JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct RawPayload {
    name: String,
    size: u64,
    hash_chunk_size: u64,
    chunk_hashes_sha256: Option<Vec<RawHash>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_list::<FRAMES, _, _>"
    )]
    frame_sizes: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<PartitionIdentity>,
}

/// A payload that was checked as soon as it was read: of one that is none, nothing is kept, so that
/// many of them take no memory.
pub(super) struct CheckedPayload(pub Result<Payload, ImageError>);

impl<'de> Deserialize<'de> for CheckedPayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawPayload::deserialize(deserializer).map(|raw| Self(Payload::check(raw)))
    }
}

/// A SHA-256 in base64 without padding.
struct RawHash(Digest);

impl Serialize for RawHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for RawHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        match STANDARD_NO_PAD.decode_slice(&text, &mut bytes) {
            Ok(32) => Ok(Self(Digest::from_bytes(bytes))),
            _ => Err(de::Error::custom("a chunk hash is not 32 bytes in base64 without padding")),
        }
    }
}

impl Payload {
    /// The bytes of the payload that chunk `index` covers.
    pub fn chunk_range(&self, index: ChunkIndex) -> std::ops::Range<u64> {
        self.chunk_size.range(index, self.size)
    }

    /// The number of chunks. Configs are far too small for 2^32 of them.
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    /// Every chunk with its hash, in order.
    pub fn chunks(&self) -> impl Iterator<Item = (ChunkIndex, &Digest)> {
        (0..self.chunk_count()).map(ChunkIndex).zip(&self.chunks)
    }

    fn check(raw: RawPayload) -> Result<Self, ImageError> {
        let name: PayloadName = raw.name.parse()?;
        let chunk_size = ChunkSize::new(raw.hash_chunk_size)?;
        let chunks: Vec<Digest> =
            raw.chunk_hashes_sha256.unwrap_or_default().into_iter().map(|hash| hash.0).collect();
        if chunks.len() as u64 != chunk_size.count(raw.size) {
            return Err(ImageError::Inconsistent {
                what: format!(
                    "payload {name} of {} bytes has {} chunk hashes, not {}",
                    raw.size,
                    chunks.len(),
                    chunk_size.count(raw.size)
                ),
            });
        }
        let frames = match raw.frame_sizes {
            Some(sizes) => Some(FrameTable::new(&sizes, chunk_size, raw.size)?),
            None => None,
        };
        Ok(Self { name, size: raw.size, chunk_size, chunks, frames, partition: raw.partition })
    }

    pub(super) fn to_raw(&self) -> RawPayload {
        let hashes: Vec<_> = self.chunks.iter().map(|digest| RawHash(*digest)).collect();
        RawPayload {
            name: self.name.as_str().to_owned(),
            size: self.size,
            hash_chunk_size: u64::from(self.chunk_size.bytes()),
            // The reference implementation writes `null` for none.
            chunk_hashes_sha256: (!hashes.is_empty()).then_some(hashes),
            frame_sizes: self.frames.as_ref().map(FrameTable::sizes),
            partition: self.partition,
        }
    }
}
