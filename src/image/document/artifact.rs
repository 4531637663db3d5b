// SPDX-License-Identifier: MIT OR Apache-2.0

//! The OCI artifact that brings a policy document: a manifest with the document as its only
//! layer. The manifest is what is signed, so what binds a document stands in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DocumentError, MEDIA_TYPE, SIZE_LIMIT, TAG_ANNOTATION, TAG_SUFFIX};
use crate::bounded::{self, ANNOTATIONS, ENTRIES};
use crate::{Descriptor, EMPTY_TYPE, MANIFEST_TYPE};

/// The content of a config without content (OCI image spec v1.1, "Guidance for an Empty
/// Descriptor").
pub const EMPTY_CONFIG: &[u8] = b"{}";
/// The most bytes of such a manifest; real ones have a few hundred.
const MANIFEST_LIMIT: usize = 64 << 10;
/// The most bytes of a tag (OCI distribution spec v1.1, "Pulling manifests").
const TAG_LIMIT: usize = 128;

/// The manifest of a policy document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentManifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    /// Nothing.
    pub config: Descriptor,
    #[serde(deserialize_with = "bounded::list::<ENTRIES, _, _>")]
    layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "bounded::map::<ANNOTATIONS, _, _>")]
    annotations: BTreeMap<String, String>,
}

/// The tag of the document about `tag`; `None` where the name would be too long for a tag, so
/// that there can be no document.
pub fn document_tag(tag: &str) -> Option<String> {
    Some(format!("{tag}{TAG_SUFFIX}")).filter(|name| name.len() <= TAG_LIMIT)
}

impl DocumentManifest {
    /// The manifest that brings `document` to the tag `tag`.
    pub fn new(document: &[u8], tag: &str) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: MEDIA_TYPE.to_owned(),
            config: Descriptor::of(EMPTY_TYPE, EMPTY_CONFIG),
            layers: vec![Descriptor::of(MEDIA_TYPE, document)],
            annotations: BTreeMap::from([(TAG_ANNOTATION.to_owned(), tag.to_owned())]),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`DocumentError::NotADocument`], [`DocumentError::TooLarge`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let no_document = |what: String| DocumentError::NotADocument { what };
        if bytes.len() > MANIFEST_LIMIT {
            return Err(no_document(format!("its manifest has {} bytes", bytes.len())));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| no_document(error.to_string()))?;
        if manifest.schema_version != 2
            || manifest.media_type != MANIFEST_TYPE
            || manifest.artifact_type != MEDIA_TYPE
        {
            let kind: String = manifest.artifact_type.chars().take(100).collect();
            return Err(no_document(format!("it is an artifact of the type {kind:?}")));
        }
        match manifest.layers.as_slice() {
            [layer] if layer.media_type != MEDIA_TYPE => {
                let kind: String = layer.media_type.chars().take(100).collect();
                Err(no_document(format!("its layer is of the type {kind:?}")))
            }
            [layer] if layer.size > SIZE_LIMIT => Err(DocumentError::TooLarge { size: layer.size }),
            [_] => Ok(manifest),
            layers => Err(no_document(format!("it has {} layers, not one", layers.len()))),
        }
    }

    /// The document, of at most [`SIZE_LIMIT`] bytes.
    pub fn layer(&self) -> Option<&Descriptor> {
        self.layers.first()
    }

    /// The tag that the document is about; `None` where it does not say.
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get(TAG_ANNOTATION).map(String::as_str)
    }

    /// The bytes to publish: the same for equal documents.
    ///
    /// # Errors
    /// [`DocumentError::Json`], which does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec_pretty(self).map_err(DocumentError::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use proptest::prelude::*;

    fn manifest() -> Vec<u8> {
        DocumentManifest::new(b"the document", "stable").to_bytes().unwrap()
    }

    #[test]
    fn a_manifest_says_what_it_brings_and_for_which_tag() {
        let read = DocumentManifest::parse(&manifest()).unwrap();
        assert_eq!(read.layer().unwrap().digest, Digest::of(b"the document"));
        assert_eq!(read.tag(), Some("stable"));
        assert_eq!(read.config.digest, Digest::of(b"{}"));
        let text = String::from_utf8(manifest()).unwrap();
        let unbound = text.replace(TAG_ANNOTATION, "org.example.other");
        assert_eq!(DocumentManifest::parse(unbound.as_bytes()).unwrap().tag(), None);
    }

    #[test]
    fn what_is_no_policy_document_is_refused() {
        let good: serde_json::Value = serde_json::from_slice(&manifest()).unwrap();
        let layer = good["layers"][0].clone();
        for (field, value) in [
            ("schemaVersion", 1.into()),
            ("mediaType", "application/vnd.oci.image.index.v1+json".into()),
            ("artifactType", "application/vnd.monogon.os.image.v1".into()),
            ("artifactType", serde_json::Value::Null),
            ("layers", serde_json::json!([])),
            ("layers", serde_json::json!([layer, layer])),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            let bytes = serde_json::to_vec(&bad).unwrap();
            let error = DocumentManifest::parse(&bytes).unwrap_err();
            assert!(matches!(error, DocumentError::NotADocument { .. }), "{field}: {error}");
        }
        let mut large = good.clone();
        large["layers"][0]["size"] = (SIZE_LIMIT + 1).into();
        let error = DocumentManifest::parse(&serde_json::to_vec(&large).unwrap()).unwrap_err();
        assert!(matches!(error, DocumentError::TooLarge { .. }), "{error}");
        let mut typed = good;
        typed["layers"][0]["mediaType"] = "application/json".into();
        assert!(DocumentManifest::parse(&serde_json::to_vec(&typed).unwrap()).is_err());
        let mut long = manifest();
        long.resize(MANIFEST_LIMIT + 1, b' ');
        assert!(DocumentManifest::parse(&long).is_err());
    }

    #[test]
    fn a_tag_has_its_document_beside_it() {
        assert_eq!(document_tag("stable").as_deref(), Some("stable.policy"));
        assert!(document_tag(&"x".repeat(121)).is_some());
        assert_eq!(document_tag(&"x".repeat(122)), None);
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = manifest();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = DocumentManifest::parse(&bytes) {
                prop_assert!(read.layer().is_some_and(|layer| layer.size <= SIZE_LIMIT));
            }
        }
    }
}
