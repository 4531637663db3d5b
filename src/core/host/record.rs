// SPDX-License-Identifier: MIT OR Apache-2.0

//! The record: what a slot holds, kept beside its boot file on the ESP.

use serde::{Deserialize, Serialize};

use flipside_image::Digest;

/// What a slot holds. `slot-a.json` and `slot-b.json` in `EFI/flipside`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The image's manifest digest; `None` on a host that flipside did not install.
    pub digest: Option<Digest>,
    /// The digest that the tag had, where it was that of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_digest: Option<Digest>,
    /// The version in the image, or in os-release where the digest is unknown.
    pub version: String,
    /// The digest of the image config, which holds the chunk hashes.
    pub config_digest: Option<Digest>,
    /// The repository that it came from, without tag.
    pub repository: Option<String>,
    /// The key that it was signed with, where a signature was required when it was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// When the image stops being cared for, as its annotation says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_life: Option<String>,
    /// The version that this one is a step to, where it was installed as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub towards: Option<String>,
}

impl Record {
    /// Whether a tag that points to `digest` points to what this slot holds.
    pub fn is_of(&self, digest: &Digest) -> bool {
        self.digest.as_ref() == Some(digest) || self.index_digest.as_ref() == Some(digest)
    }
}
