// SPDX-License-Identifier: MIT OR Apache-2.0

//! The image config: what the OS is, and the chunk hashes of its payloads.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::media_types::{FORMAT_CONFIG_LIMIT, VERSION_ANNOTATION};
use super::payload::{CheckedPayload, Payload, RawPayload};
use super::product_info::ProductInfo;
use super::{Architecture, Compression, ImageError, Manifest};
use crate::bounded::{self, ENTRIES};
use crate::printable;

/// The most characters of a name or a version.
const TEXT_LIMIT: usize = 128;

/// The only format version there is.
const FORMAT_VERSION: &str = "1";

/// A checked image config.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageConfig {
    /// What the OS is.
    pub product_info: ProductInfo,
    /// The payloads, in the order of the manifest's layers.
    pub payloads: Vec<Payload>,
}

/// The config as it stands in JSON.
#[derive(Deserialize)]
struct RawConfig {
    product_info: ProductInfo,
    #[serde(deserialize_with = "bounded::list::<ENTRIES, _, _>")]
    payloads: Vec<CheckedPayload>,
}

/// The same, to be written.
#[derive(Serialize)]
struct WrittenConfig<'a> {
    format_version: &'a str,
    product_info: &'a ProductInfo,
    payloads: Vec<RawPayload>,
}

/// Read first, so that an unknown format is named and not half understood.
#[derive(Deserialize)]
struct OnlyVersion {
    format_version: String,
}

impl ImageConfig {
    /// Reads and checks a config.
    ///
    /// # Errors
    /// [`ImageError::TooLarge`], [`ImageError::Json`], [`ImageError::Unprintable`],
    /// [`ImageError::FormatVersion`], [`ImageError::PayloadName`],
    /// [`ImageError::ChunkSize`] and [`ImageError::Inconsistent`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let size = bytes.len() as u64;
        if size > FORMAT_CONFIG_LIMIT {
            return Err(ImageError::TooLarge {
                object: "config",
                size,
                limit: FORMAT_CONFIG_LIMIT,
            });
        }
        let json = |source| ImageError::Json { object: "config", source };
        let only: OnlyVersion = bounded::parse(bytes).map_err(json)?;
        if only.format_version != FORMAT_VERSION {
            let version = only.format_version.chars().take(40).collect();
            return Err(ImageError::FormatVersion { version });
        }
        let raw: RawConfig = serde_json::from_slice(bytes).map_err(json)?;
        // Journals, terminals and service managers are told these.
        let info = &raw.product_info;
        for (what, text) in [("name", &info.name), ("version", &info.version)] {
            if printable::line(text, TEXT_LIMIT) != *text {
                let text = text.chars().take(40).collect();
                return Err(ImageError::Unprintable { what, text });
            }
        }
        let mut names = BTreeSet::new();
        let mut payloads = Vec::with_capacity(raw.payloads.len());
        for CheckedPayload(payload) in raw.payloads {
            let payload = payload?;
            if !names.insert(payload.name.clone()) {
                return Err(ImageError::Inconsistent {
                    what: format!("two payloads are called {}", payload.name),
                });
            }
            payloads.push(payload);
        }
        Ok(Self { product_info: raw.product_info, payloads })
    }

    /// The bytes to publish: the same for equal configs.
    ///
    /// # Errors
    /// [`ImageError::Json`], which does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ImageError> {
        let raw = WrittenConfig {
            format_version: FORMAT_VERSION,
            product_info: &self.product_info,
            payloads: self.payloads.iter().map(Payload::to_raw).collect(),
        };
        serde_json::to_vec(&raw).map_err(|source| ImageError::Json { object: "config", source })
    }

    /// Refuses an image that is not for `host`.
    ///
    /// # Errors
    /// [`ImageError::WrongArchitecture`].
    pub fn check_architecture(&self, host: Architecture) -> Result<(), ImageError> {
        if self.product_info.architecture() == Some(host) {
            return Ok(());
        }
        let image = self.product_info.variant.split('-').next().unwrap_or_default();
        Err(ImageError::WrongArchitecture { image: image.chars().take(40).collect(), host })
    }

    /// Checks that this config and `manifest` describe the same image.
    ///
    /// # Errors
    /// [`ImageError::Inconsistent`].
    pub fn check_against(&self, manifest: &Manifest) -> Result<(), ImageError> {
        let inconsistent = |what| Err(ImageError::Inconsistent { what });
        if self.payloads.len() != manifest.layers.len() {
            return inconsistent(format!(
                "{} payloads, but {} layers",
                self.payloads.len(),
                manifest.layers.len()
            ));
        }
        let version = &self.product_info.version;
        if let Some(annotated) = manifest.annotations.get(VERSION_ANNOTATION)
            && annotated != version
        {
            return inconsistent(format!(
                "the config has version {version:?}, the annotation {annotated:?}"
            ));
        }
        for (payload, layer) in self.payloads.iter().zip(&manifest.layers) {
            let expected = match (layer.compression(), &payload.frames) {
                (Some(Compression::None), _) => payload.size,
                (Some(Compression::Zstd), Some(frames)) => frames.layer_size(),
                (Some(Compression::Zstd), None) => continue,
                (None, _) => {
                    return inconsistent(format!("the layer of {} is unknown", payload.name));
                }
            };
            // A payload without chunks may be stored as one empty frame.
            if layer.size != expected && !payload.chunks.is_empty() {
                return inconsistent(format!(
                    "the layer of {} has {} bytes, the config says {expected}",
                    payload.name, layer.size
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::*;
    use super::*;
    use crate::code::Coded;

    fn config() -> ImageConfig {
        let chunk_size = ChunkSize::new(4).unwrap();
        ImageConfig {
            product_info: ProductInfo {
                id: "acme".into(),
                name: "Acme OS".into(),
                version: "1.2".into(),
                variant: "x86_64-debug".into(),
                commit_hash: String::new(),
                commit_date: String::new(),
                build_tree_dirty: false,
                components: None,
            },
            payloads: vec![
                Payload {
                    name: "system".parse().unwrap(),
                    size: 6,
                    chunk_size,
                    chunks: vec![Digest::of(b"1234"), Digest::of(b"56")],
                    frames: Some(FrameTable::new(&[9, 8], chunk_size, 6).unwrap()),
                    partition: Some(PartitionIdentity {
                        uuid: Some(uuid::Uuid::from_u128(7)),
                        type_uuid: None,
                        flags: Some(1 << 60),
                    }),
                },
                Payload {
                    name: "empty".parse().unwrap(),
                    size: 0,
                    chunk_size,
                    chunks: vec![],
                    frames: None,
                    partition: None,
                },
            ],
        }
    }

    #[test]
    fn a_config_survives_the_round_trip() {
        let bytes = config().to_bytes().unwrap();
        assert_eq!(ImageConfig::parse(&bytes).unwrap(), config());
        assert!(String::from_utf8(bytes).unwrap().contains("\"chunk_hashes_sha256\":null"));
    }

    #[test]
    fn configs_that_cannot_be_are_refused_with_their_code() {
        let good = String::from_utf8(config().to_bytes().unwrap()).unwrap();
        for (from, to, code) in [
            ("\"format_version\":\"1\"", "\"format_version\":\"2\"", "format-version-unknown"),
            ("\"format_version\":\"1\"", "\"format_version\":1", "image-malformed"),
            ("\"version\":\"1.2\"", "\"version\":\"1.2\\nMAINPID=1\"", "image-malformed"),
            ("\"version\":\"1.2\"", "\"version\":\"\\u001b[2J1.2\"", "image-malformed"),
            ("\"name\":\"empty\"", "\"name\":\"system\"", "image-malformed"),
            ("\"name\":\"empty\"", "\"name\":\"../x\"", "payload-name-invalid"),
            ("\"size\":6", "\"size\":9", "image-malformed"),
            ("\"size\":6", "\"size\":4", "image-malformed"),
            ("\"size\":6", "\"size\":-1", "image-malformed"),
            ("\"hash_chunk_size\":4", "\"hash_chunk_size\":0", "chunk-size-invalid"),
            ("\"hash_chunk_size\":4", "\"hash_chunk_size\":16777217", "chunk-size-invalid"),
            ("[9,8]", "[9]", "image-malformed"),
            ("[9,8]", "[9,0]", "image-malformed"),
            ("[9,8]", "[9,18446744073709551615]", "image-malformed"),
            ("null", "[\"\"]", "image-malformed"),
        ] {
            assert!(good.contains(from), "{from}");
            let bad = good.replace(from, to);
            assert_eq!(ImageConfig::parse(bad.as_bytes()).unwrap_err().code().name(), code, "{to}");
        }
    }

    #[test]
    fn a_config_over_the_limit_is_refused_before_it_is_read() {
        let long = vec![b' '; FORMAT_CONFIG_LIMIT as usize + 1];
        assert_eq!(ImageConfig::parse(&long).unwrap_err().code().name(), "image-over-limit");
    }

    #[test]
    fn the_architecture_is_the_first_part_of_the_variant() {
        assert!(config().check_architecture(Architecture::X86_64).is_ok());
        let error = config().check_architecture(Architecture::Aarch64).unwrap_err();
        assert_eq!(error.code().name(), "wrong-architecture");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ImageConfig::parse(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = config().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(parsed) = ImageConfig::parse(&bytes) {
                let again = parsed.to_bytes().unwrap();
                prop_assert_eq!(ImageConfig::parse(&again).unwrap(), parsed);
            }
        }
    }
}
