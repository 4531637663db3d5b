// SPDX-License-Identifier: MIT OR Apache-2.0

//! OCI image indexes (OCI image spec v1.1, "Image Index").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::{Descriptor, Platform};
use super::media_types::{INDEX_TYPE, MANIFEST_LIMIT};
use super::{Architecture, ImageError};
use crate::bounded::{self, ANNOTATIONS, ENTRIES};
use crate::printable;

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

    /// The one image for `architecture`. The only image that an index lists, and that names no
    /// platform, is for any. The artifact type is no filter: the reference implementation writes the
    /// config's type there.
    ///
    /// # Errors
    /// [`ImageError::NoSingleManifest`].
    pub fn select(&self, architecture: Architecture) -> Result<&Descriptor, ImageError> {
        let images = || self.manifests.iter().filter(|entry| !is_attestation(entry));
        let is_for = |entry: &&Descriptor| match known_platform(entry) {
            Some(p) => {
                Architecture::from_oci_name(&p.architecture) == Some(architecture)
                    && p.os.eq_ignore_ascii_case("linux")
            }
            None => images().count() == 1,
        };
        let found: Vec<_> = images().filter(is_for).collect();
        match found.as_slice() {
            [only] => Ok(only),
            _ => Err(ImageError::NoSingleManifest {
                found: found.len(),
                host: architecture,
                present: self.present(),
            }),
        }
    }

    /// For people: the platforms of what it lists.
    fn present(&self) -> String {
        let name = |entry: &Descriptor| match known_platform(entry) {
            Some(platform) => format!("{}/{}", platform.os, platform.architecture),
            None => "one without a platform".to_owned(),
        };
        let names: Vec<String> = self.manifests.iter().take(20).map(name).collect();
        if names.is_empty() { "none".to_owned() } else { printable::line(&names.join(", "), 200) }
    }
}

fn known_platform(entry: &Descriptor) -> Option<&Platform> {
    entry.platform.as_ref().filter(|platform| !platform.architecture.is_empty())
}

/// Whether an entry of an index says something about an image of it, as Docker's builder lists it.
pub fn is_attestation(entry: &Descriptor) -> bool {
    let is_unknown = |p: &Platform| p.architecture == "unknown" && p.os == "unknown";
    entry.annotations.contains_key("vnd.docker.reference.type")
        || entry.platform.as_ref().is_some_and(is_unknown)
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
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
        for (name, architecture) in [
            ("x86_64", Architecture::X86_64),
            ("X86-64", Architecture::X86_64),
            ("aarch64", Architecture::Aarch64),
        ] {
            let index = Index::new(vec![entry(name, 4), entry("riscv64", 5)]);
            assert_eq!(index.select(architecture).unwrap().size, 4, "{name}");
        }
        let error = twice.select(Architecture::Aarch64).unwrap_err().to_string();
        assert!(error.ends_with("it has linux/amd64, linux/amd64"), "{error}");
        let plain = Index::new(vec![descriptor(7)]);
        assert_eq!(plain.select(Architecture::Aarch64).unwrap().size, 7);
    }
    #[test]
    fn an_image_without_a_platform_is_found_beside_attestations() {
        let unknown = Platform { architecture: "unknown".into(), os: "unknown".into() };
        let attestation = Descriptor { platform: Some(unknown), ..descriptor(9) };
        let mut annotated = descriptor(8);
        annotated
            .annotations
            .insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        let empty = Platform { architecture: String::new(), os: String::new() };
        let image = Descriptor { platform: Some(empty), ..descriptor(7) };
        let index = Index::new(vec![image, attestation, annotated.clone()]);
        let index = Index::parse(&index.to_bytes().unwrap()).unwrap();
        assert_eq!(index.select(Architecture::X86_64).unwrap().size, 7);
        let none = Index::new(vec![annotated]).select(Architecture::X86_64).unwrap_err();
        assert!(none.to_string().ends_with("it has one without a platform"), "{none}");
        let two = Index::new(vec![descriptor(7), descriptor(8)]);
        assert!(two.select(Architecture::X86_64).is_err());
    }
}
