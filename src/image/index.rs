// SPDX-License-Identifier: MIT OR Apache-2.0

//! OCI image indexes (OCI image spec v1.1, "Image Index").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::Descriptor;
use super::media_types::{INDEX_TYPE, MANIFEST_LIMIT};
use super::{Architecture, ImageError};
use crate::bounded::{self, ANNOTATIONS, ENTRIES};

/// An image index: a tag's images for several architectures, or the table of
/// contents of an OCI layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    media_type: String,
    /// What it lists, without entries whose digest is not SHA-256.
    pub manifests: Vec<Descriptor>,
    /// Free key-value pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(deserialize_with = "bounded::readable::<ENTRIES, _, _>")]
    manifests: Vec<Descriptor>,
    #[serde(default, deserialize_with = "bounded::map::<ANNOTATIONS, _, _>")]
    annotations: BTreeMap<String, String>,
}

impl Index {
    /// An index of these entries.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: INDEX_TYPE.to_owned(),
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an index of at most 1000 entries, also one without a media type, as OCI layouts have it.
    /// Entries that flipside cannot follow are left out.
    ///
    /// # Errors
    /// [`ImageError::TooLarge`] or [`ImageError::Json`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let size = bytes.len() as u64;
        if size > MANIFEST_LIMIT {
            return Err(ImageError::TooLarge { object: "index", size, limit: MANIFEST_LIMIT });
        }
        let raw: RawIndex = serde_json::from_slice(bytes)
            .map_err(|source| ImageError::Json { object: "index", source })?;
        Ok(Self { annotations: raw.annotations, ..Self::new(raw.manifests) })
    }

    /// The bytes to publish: the same for equal indexes.
    ///
    /// # Errors
    /// [`ImageError::Json`], which does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ImageError> {
        serde_json::to_vec_pretty(self)
            .map_err(|source| ImageError::Json { object: "index", source })
    }

    /// The one image for `architecture`. An index with a single entry that
    /// names no platform is for any. The artifact type is no filter: the
    /// reference implementation writes the config's type there.
    ///
    /// # Errors
    /// [`ImageError::NoSingleManifest`].
    pub fn select(&self, architecture: Architecture) -> Result<&Descriptor, ImageError> {
        let is_for = |d: &&Descriptor| match &d.platform {
            Some(p) => p.architecture == architecture.oci_name() && p.os == "linux",
            None => self.manifests.len() == 1,
        };
        let found: Vec<_> = self.manifests.iter().filter(is_for).collect();
        match found.as_slice() {
            [only] => Ok(only),
            _ => Err(ImageError::NoSingleManifest { found: found.len(), host: architecture }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
    use super::super::descriptor::Platform;
    use super::super::media_types::MANIFEST_TYPE;
    use super::*;

    fn descriptor(size: u64) -> Descriptor {
        Descriptor::new(MANIFEST_TYPE, Digest::of(b""), size)
    }

    #[test]
    fn an_index_is_resolved_by_platform() {
        let entry = |architecture: &str, size| Descriptor {
            platform: Some(Platform { architecture: architecture.into(), os: "linux".into() }),
            ..descriptor(size)
        };
        let index = Index::new(vec![entry("amd64", 1), entry("arm64", 2), entry("unknown", 3)]);
        let index = Index::parse(&index.to_bytes().unwrap()).unwrap();
        assert_eq!(index.select(Architecture::X86_64).unwrap().size, 1);
        assert_eq!(index.select(Architecture::Aarch64).unwrap().size, 2);
        let twice = Index::new(vec![entry("amd64", 1), entry("amd64", 2)]);
        assert!(twice.select(Architecture::X86_64).is_err());
        assert!(twice.select(Architecture::Aarch64).is_err());
        let plain = Index::new(vec![descriptor(7)]);
        assert_eq!(plain.select(Architecture::Aarch64).unwrap().size, 7);
    }
}
