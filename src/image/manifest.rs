// SPDX-License-Identifier: MIT OR Apache-2.0

//! OCI image manifests (OCI image spec v1.1, "Image Manifest"), as far as OS images use them,
//! and what else a tag may point to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImageError;
use super::descriptor::Descriptor;
use super::index::Index;
use super::media_types::{
    ARTIFACT_TYPE, CONFIG_TYPE, FORMAT_CONFIG_LIMIT, INDEX_TYPE, MANIFEST_LIMIT, MANIFEST_TYPE,
};
use crate::bounded::{self, ANNOTATIONS, ENTRIES};

/// The manifest of an OS image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    /// The image config.
    pub config: Descriptor,
    /// One layer per payload, in the config's order.
    #[serde(deserialize_with = "bounded::list::<ENTRIES, _, _>")]
    pub layers: Vec<Descriptor>,
    /// Free key-value pairs, some of which are policy.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "bounded::map::<ANNOTATIONS, _, _>"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Enough of any manifest to say what it is of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyManifest {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<AnyDescriptor>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyDescriptor {
    #[serde(default)]
    media_type: String,
}

impl Manifest {
    /// A manifest of these parts.
    pub fn new(
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: ARTIFACT_TYPE.to_owned(),
            config,
            layers,
            annotations,
        }
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ImageError::TooLarge`], [`ImageError::Json`],
    /// [`ImageError::NotAnOsImage`] and, for a config over its limit, again
    /// [`ImageError::TooLarge`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        ManifestOrIndex::parse(bytes)?.into_manifest()
    }

    /// The bytes to publish: the same for equal manifests.
    ///
    /// # Errors
    /// [`ImageError::Json`], which does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ImageError> {
        serde_json::to_vec_pretty(self)
            .map_err(|source| ImageError::Json { object: "manifest", source })
    }

    fn parse_checked(bytes: &[u8]) -> Result<Self, ImageError> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|source| ImageError::Json { object: "manifest", source })?;
        if manifest.config.size > FORMAT_CONFIG_LIMIT {
            return Err(ImageError::TooLarge {
                object: "config",
                size: manifest.config.size,
                limit: FORMAT_CONFIG_LIMIT,
            });
        }
        if let Some(layer) = manifest.layers.iter().find(|l| l.compression().is_none()) {
            let media_type: String = layer.media_type.chars().take(100).collect();
            return Err(ImageError::NotAnOsImage {
                what: format!("an artifact with a layer of the type {media_type:?}"),
            });
        }
        Ok(manifest)
    }
}

/// What a tag can point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestOrIndex {
    /// One image.
    Manifest(Manifest),
    /// One image per architecture.
    Index(Index),
}

impl ManifestOrIndex {
    /// The one image.
    ///
    /// # Errors
    /// [`ImageError::NotAnOsImage`] for an index.
    pub fn into_manifest(self) -> Result<Manifest, ImageError> {
        match self {
            Self::Manifest(manifest) => Ok(manifest),
            Self::Index(_) => {
                Err(ImageError::NotAnOsImage { what: "an index of images".to_owned() })
            }
        }
    }

    /// Reads and checks what a tag points to.
    ///
    /// # Errors
    /// As [`Manifest::parse`] and [`Index::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(ImageError::TooLarge {
                object: "manifest",
                size: bytes.len() as u64,
                limit: MANIFEST_LIMIT,
            });
        }
        let any: AnyManifest = serde_json::from_slice(bytes)
            .map_err(|source| ImageError::Json { object: "manifest", source })?;
        let media_type = any.media_type.as_deref().unwrap_or_default();
        if media_type == INDEX_TYPE || (media_type.is_empty() && any.manifests.is_some()) {
            return Index::parse(bytes).map(Self::Index);
        }
        let artifact_type = any.artifact_type.as_deref().unwrap_or_default();
        let config_type = any.config.as_ref().map_or("", |c| c.media_type.as_str());
        let is_os_image = any.schema_version == Some(2)
            && media_type == MANIFEST_TYPE
            && artifact_type == ARTIFACT_TYPE
            && config_type == CONFIG_TYPE;
        if is_os_image {
            return Manifest::parse_checked(bytes).map(Self::Manifest);
        }
        Err(ImageError::NotAnOsImage { what: describe(media_type, artifact_type, config_type) })
    }
}

/// Names what a manifest of these types is, for people.
fn describe(media_type: &str, artifact_type: &str, config_type: &str) -> String {
    match config_type {
        "application/vnd.oci.image.config.v1+json"
        | "application/vnd.docker.container.image.v1+json" => "a container image".to_owned(),
        "application/vnd.cncf.helm.config.v1+json" => "a Helm chart".to_owned(),
        _ => {
            let kind = [artifact_type, config_type, media_type]
                .into_iter()
                .find(|t| !t.is_empty())
                .unwrap_or("no type at all");
            format!("an artifact of the type {:?}", kind.chars().take(100).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Digest;
    use super::*;

    fn descriptor(media_type: &str, size: u64) -> Descriptor {
        Descriptor::new(media_type, Digest::of(media_type.as_bytes()), size)
    }

    fn manifest() -> Manifest {
        Manifest::new(
            descriptor(CONFIG_TYPE, 3),
            vec![descriptor("application/zstd", 9)],
            BTreeMap::new(),
        )
    }

    fn code_of(bytes: &[u8]) -> &'static str {
        use crate::code::Coded;
        Manifest::parse(bytes).unwrap_err().code().name()
    }

    #[test]
    fn a_manifest_survives_the_round_trip() {
        let bytes = manifest().to_bytes().unwrap();
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest());
    }

    #[test]
    fn what_is_no_os_image_is_named() {
        for (config, name) in [
            ("application/vnd.oci.image.config.v1+json", "a container image"),
            ("application/vnd.docker.container.image.v1+json", "a container image"),
            ("application/vnd.cncf.helm.config.v1+json", "a Helm chart"),
            ("x/y", "x/y"),
        ] {
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"{config}"}},"layers":[]}}"#
            );
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(code_of(text.as_bytes()), "not-an-os-image");
        }
        assert_eq!(code_of(b"{}"), "not-an-os-image");
        assert_eq!(code_of(b"7"), "image-malformed");
        assert_eq!(code_of(b""), "image-malformed");
    }

    #[test]
    fn another_schema_artifact_or_layer_type_is_refused() {
        let good = String::from_utf8(manifest().to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("\"schemaVersion\": 2", "\"schemaVersion\": 1"),
            (ARTIFACT_TYPE, "application/vnd.monogon.os.image.v2"),
            ("application/zstd", "application/gzip"),
        ] {
            assert!(good.contains(from));
            assert_eq!(code_of(good.replace(from, to).as_bytes()), "not-an-os-image", "{to}");
        }
    }

    #[test]
    fn sizes_over_the_limits_are_refused() {
        let mut large = manifest();
        large.config.size = FORMAT_CONFIG_LIMIT + 1;
        assert_eq!(code_of(&large.to_bytes().unwrap()), "image-over-limit");
        let mut long = manifest().to_bytes().unwrap();
        long.resize(MANIFEST_LIMIT as usize + 1, b' ');
        assert_eq!(code_of(&long), "image-over-limit");
        long.truncate(MANIFEST_LIMIT as usize);
        assert!(Manifest::parse(&long).is_ok());
    }

    #[test]
    fn entries_of_an_index_that_cannot_be_followed_are_left_out() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[
              {{"mediaType":"a/b","digest":"sha512:00","size":1}},
              {{"mediaType":"a/b","digest":"{}","size":2}}]}}"#,
            Digest::of(b"")
        );
        let index = Index::parse(text.as_bytes()).unwrap();
        assert_eq!(index.manifests.len(), 1);
        assert!(matches!(
            ManifestOrIndex::parse(text.as_bytes()).unwrap(),
            ManifestOrIndex::Index(_)
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ManifestOrIndex::parse(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = manifest().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = ManifestOrIndex::parse(&bytes);
        }
    }
}
