// SPDX-License-Identifier: MIT OR Apache-2.0

//! Descriptors: how manifests and indexes name what they refer to (OCI image spec v1.1,
//! "Content Descriptors").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, ImageError};
use crate::bounded::{self, ANNOTATIONS};

/// How a layer's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are: `application/octet-stream`.
    None,
    /// As zstd frames: `application/zstd`.
    Zstd,
}

impl Compression {
    /// The media type of a layer that is stored so.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/octet-stream",
            Self::Zstd => "application/zstd",
        }
    }
}

/// A pointer to a blob or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// Their hash.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// In an index: what kind of artifact a manifest is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// In an index: the machine that a manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free key-value pairs.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "bounded::map::<ANNOTATIONS, _, _>"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// The machine that an index entry is for. Go's tools write empty names where none is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// A `GOARCH`.
    #[serde(default)]
    pub architecture: String,
    /// A `GOOS`.
    #[serde(default)]
    pub os: String,
}

impl Descriptor {
    /// Of `size` bytes of this type and hash, and nothing more.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Before anything is fetched or allocated: `object`, which this points to, may have so many
    /// bytes.
    ///
    /// # Errors
    /// [`ImageError::TooLarge`].
    pub fn check_size(&self, object: &'static str, limit: u64) -> Result<(), ImageError> {
        match self.size {
            size if size > limit => Err(ImageError::TooLarge { object, size, limit }),
            _ => Ok(()),
        }
    }

    /// How a layer of this media type is stored; `None` for any other type.
    pub fn compression(&self) -> Option<Compression> {
        [Compression::None, Compression::Zstd]
            .into_iter()
            .find(|c| c.media_type() == self.media_type)
    }
}
