// SPDX-License-Identifier: MIT OR Apache-2.0

//! The manifest of a delta (OCI image spec v1.1, "Guidelines for Artifact Usage"). It says itself
//! what the delta is from, since the lists in which it is found may lose annotations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    DELTA_CONFIG_LIMIT, DELTA_CONFIG_TYPE, DELTA_FRAMES_TYPE, DELTA_MANIFEST_LIMIT, DELTA_TYPE,
    DeltaFlaw, FROM_ANNOTATION, PAYLOADS, malformed,
};
use crate::bounded::{self, ANNOTATIONS};
use crate::{Descriptor, Digest, EMPTY_TYPE, MANIFEST_TYPE};

/// A delta's manifest, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaManifest {
    /// The manifest of the new image.
    pub subject: Descriptor,
    /// The digest of the old image's config.
    pub from: Digest,
    /// The delta's config, of at most [`DELTA_CONFIG_LIMIT`] bytes.
    pub config: Descriptor,
    /// One layer of patch frames for each payload in the config.
    pub layers: Vec<Descriptor>,
}

/// The manifest as it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    #[serde(deserialize_with = "bounded::list::<PAYLOADS, _, _>")]
    layers: Vec<Descriptor>,
    subject: Descriptor,
    #[serde(default, deserialize_with = "bounded::map::<ANNOTATIONS, _, _>")]
    annotations: BTreeMap<String, String>,
}

impl DeltaManifest {
    /// Whether an entry of an index may be the manifest of a delta from the config `from`. Who lists
    /// it does not always say so.
    pub fn may_be(entry: &Descriptor, from: &Digest) -> bool {
        let is_of_kind = match entry.artifact_type.as_deref() {
            // The types of its config, and of one without content.
            Some(kind) => [DELTA_TYPE, DELTA_CONFIG_TYPE, EMPTY_TYPE].contains(&kind),
            None => true,
        };
        let said = entry.annotations.get(FROM_ANNOTATION);
        entry.media_type == MANIFEST_TYPE
            && entry.size <= DELTA_MANIFEST_LIMIT
            && is_of_kind
            && said.is_none_or(|said| *said == from.to_string())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`DeltaFlaw`]: it is none of a delta, or over a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, DeltaFlaw> {
        let size = bytes.len() as u64;
        if size > DELTA_MANIFEST_LIMIT {
            return Err(DeltaFlaw(format!("its manifest has {size} bytes")));
        }
        let raw: Raw = bounded::parse(bytes).map_err(malformed)?;
        let is_delta = raw.schema_version == 2
            && raw.media_type == MANIFEST_TYPE
            && raw.artifact_type == DELTA_TYPE
            && raw.config.media_type == DELTA_CONFIG_TYPE
            && raw.layers.iter().all(|layer| layer.media_type == DELTA_FRAMES_TYPE);
        if !is_delta {
            return Err(DeltaFlaw("it is another kind of artifact".to_owned()));
        }
        if raw.config.size > DELTA_CONFIG_LIMIT {
            return Err(DeltaFlaw(format!("its config has {} bytes", raw.config.size)));
        }
        let from = raw.annotations.get(FROM_ANNOTATION).and_then(|from| from.parse().ok());
        let from = from.ok_or_else(|| DeltaFlaw("it does not say what it is from".to_owned()))?;
        Ok(Self { subject: raw.subject, from, config: raw.config, layers: raw.layers })
    }

    /// The bytes to publish: the same for equal manifests.
    ///
    /// # Errors
    /// [`DeltaFlaw`], which does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DeltaFlaw> {
        let raw = Raw {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: DELTA_TYPE.to_owned(),
            config: self.config.clone(),
            layers: self.layers.clone(),
            subject: self.subject.clone(),
            annotations: BTreeMap::from([(FROM_ANNOTATION.to_owned(), self.from.to_string())]),
        };
        serde_json::to_vec(&raw).map_err(malformed)
    }
}
