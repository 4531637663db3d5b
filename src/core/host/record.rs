// SPDX-License-Identifier: MIT OR Apache-2.0

//! The record: what a slot holds, kept beside its boot file on the ESP.

use serde::{Deserialize, Serialize};

use flipside_image::constraints::END_OF_LIFE;
use flipside_image::{ContentId, Digest, Image};

/// What a slot holds. `slot-a.json` and `slot-b.json` in `EFI/flipside`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// What was written, whatever the manifest says about it; `None` where an older flipside wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<ContentId>,
}

impl Record {
    /// The digest of the index that the image was found in, and its own.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.index_digest.into_iter().chain(self.digest)
    }

    /// Of `image`, which `repository` has, found by a tag that points to `tag`.
    pub fn of(image: &Image, tag: Digest, repository: Option<String>) -> Self {
        Self {
            digest: Some(image.digest),
            index_digest: (tag != image.digest).then_some(tag),
            version: image.version().to_owned(),
            config_digest: Some(image.manifest.config.digest),
            repository,
            end_of_life: image.manifest.annotations.get(END_OF_LIFE).cloned(),
            ..Self::default()
        }
    }
}
