// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where signatures of an image stand, and what they look like before anybody verified them.
//!
//! Two homes: simple signing at the tag `sha256-<hex>.sig` (cosign's `SIGNATURE_SPEC.md`), and
//! Sigstore bundles in manifests that name the image as their subject, found through the
//! referrers API or the tag `sha256-<hex>` (OCI distribution spec v1.1, "Listing referrers"
//! and "Referrers Tag Schema").

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bundle::PREDICATE_TYPE;
use crate::bounded::{self, ANNOTATIONS, ENTRIES};
use crate::{Descriptor, Digest, EMPTY_TYPE, ImageError, MANIFEST_TYPE};

/// The media type of a simple-signing payload.
pub const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of a Sigstore bundle, and the artifact type of a manifest that holds one.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The annotation of a layer that holds the signature over its payload, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// The most bytes of a simple-signing payload; real ones have a few hundred.
pub const PAYLOAD_LIMIT: u64 = 64 << 10;
/// The most characters of a signature in base64; one by an RSA key of 4096 bits has 684.
const SIGNATURE_LIMIT: usize = 1024;
/// The most bytes of a bundle; one with a certificate and a log entry has 12 KiB.
pub const BUNDLE_LIMIT: u64 = 256 << 10;
/// The most bytes of a manifest that holds a bundle; cosign's have 1 KiB.
pub const BUNDLE_MANIFEST_LIMIT: u64 = 64 << 10;
/// By this annotation cosign says of a manifest what the statement in its bundle says.
const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

/// What stands where a signature would. Nothing about it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Simple signing.
    Simple {
        /// What is signed.
        payload: Vec<u8>,
        /// The layer's annotations, one of which holds the signature.
        annotations: BTreeMap<String, String>,
    },
    /// A Sigstore bundle.
    Bundle {
        /// The JSON.
        bundle: Vec<u8>,
        /// The annotations of the manifest that holds it.
        annotations: BTreeMap<String, String>,
    },
    /// What cannot even be read: too large, missing, not what its digest says.
    Unreadable {
        /// In words.
        what: String,
    },
}

/// The tag of the simple signatures of `subject`.
pub fn signature_tag(subject: &Digest) -> String {
    format!("{}.sig", referrers_tag(subject))
}

/// The tag of the index of what refers to `subject`, where there is no referrers API.
pub fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// Whether `tag` is one of those that hold what belongs to an image, and no image itself.
pub fn is_attachment_tag(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix("sha256-") else { return false };
    let hex = rest.split_once('.').map_or(rest, |(hex, _)| hex);
    format!("sha256:{hex}").parse::<Digest>().is_ok()
}

/// As much of a manifest as says what is attached by it.
#[derive(Deserialize)]
struct Attachment {
    #[serde(default, deserialize_with = "bounded::readable::<ENTRIES, _, _>")]
    layers: Vec<Descriptor>,
    #[serde(default)]
    subject: Option<Subject>,
    #[serde(default, deserialize_with = "bounded::map::<ANNOTATIONS, _, _>")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

/// The payloads in a manifest of simple signatures.
pub fn payloads(manifest: &[u8]) -> Result<Vec<Descriptor>, ImageError> {
    let Attachment { layers, .. } = parse(manifest)?;
    Ok(layers.into_iter().filter(|layer| layer.media_type == SIMPLE_TYPE).collect())
}

/// The bundles in a manifest, whatever it is attached to, and what that is.
pub fn attached_bundles(manifest: &[u8]) -> Result<(usize, Option<Digest>), ImageError> {
    let Attachment { layers, subject, .. } = parse(manifest)?;
    let count = layers.iter().filter(|layer| layer.media_type == BUNDLE_TYPE).count();
    Ok((count, subject.map(|subject| subject.digest)))
}

/// The bundles in a manifest, where it is attached to `subject`, and the manifest's annotations.
pub fn bundles(
    manifest: &[u8],
    subject: &Digest,
) -> Result<(Vec<Descriptor>, BTreeMap<String, String>), ImageError> {
    let Attachment { layers, subject: of, annotations } = parse(manifest)?;
    if of.is_none_or(|of| of.digest != *subject) {
        return Ok((Vec::new(), annotations));
    }
    Ok((layers.into_iter().filter(|layer| layer.media_type == BUNDLE_TYPE).collect(), annotations))
}

fn parse(manifest: &[u8]) -> Result<Attachment, ImageError> {
    serde_json::from_slice(manifest)
        .map_err(|source| ImageError::Json { object: "manifest of signatures", source })
}

/// What a layer of simple signing is, where it is no signature at first sight and its payload need
/// not be fetched.
pub fn no_signature(layer: &Descriptor) -> Option<Signature> {
    let signature = layer.annotations.get(SIGNATURE_ANNOTATION).map_or("", String::as_str);
    if signature.is_empty() {
        let annotations = layer.annotations.clone();
        return Some(Signature::Simple { payload: Vec::new(), annotations });
    }
    if signature.len() > SIGNATURE_LIMIT {
        let what = format!("its signature has {} characters", signature.len());
        return Some(Signature::Unreadable { what });
    }
    let error = layer.check_size("signed payload", PAYLOAD_LIMIT).err()?;
    Some(Signature::Unreadable { what: error.to_string() })
}

/// Whether an index entry may be a manifest with a bundle. Who lists it does not always
/// say so: the type may be that of the empty config, or none.
pub fn may_hold_bundle(entry: &Descriptor) -> bool {
    entry.media_type == MANIFEST_TYPE
        && entry.size <= BUNDLE_MANIFEST_LIMIT
        && entry
            .artifact_type
            .as_deref()
            .is_none_or(|kind| [BUNDLE_TYPE, EMPTY_TYPE].contains(&kind))
}

/// Whether an index entry says itself that what it holds approves of nothing: an attestation, for
/// example of how the image was built. What says so is looked at last.
pub fn says_something_else(entry: &Descriptor) -> bool {
    entry.annotations.get(PREDICATE_ANNOTATION).is_some_and(|kind| kind != PREDICATE_TYPE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_of_attachments_are_told_from_tags_of_images() {
        let digest = Digest::of(b"x");
        assert!(is_attachment_tag(&signature_tag(&digest)));
        assert!(is_attachment_tag(&referrers_tag(&digest)));
        assert!(is_attachment_tag(&format!("sha256-{}.att", digest.hex())));
        for tag in ["stable", "sha256-", "sha256-00.sig", "", ".sig", "stable.policy"] {
            assert!(!is_attachment_tag(tag), "{tag}");
        }
        assert!(crate::reference::is_tag(&signature_tag(&digest)));
    }

    #[test]
    fn a_bundle_counts_only_for_its_manifests_subject() {
        let (subject, other) = (Digest::of(b"x"), Digest::of(b"y"));
        let layer = |kind| format!(r#"{{"mediaType":"{kind}","digest":"{other}","size":7}}"#);
        let manifest = format!(
            r#"{{"layers":[{},{}],"subject":{{"mediaType":"a/b","digest":"{subject}","size":1}},
            "annotations":{{"a":"b"}}}}"#,
            layer("x/y"),
            layer(BUNDLE_TYPE)
        );
        let (found, annotations) = bundles(manifest.as_bytes(), &subject).unwrap();
        assert_eq!((found.len(), found[0].size, annotations["a"].as_str()), (1, 7, "b"));
        assert!(bundles(manifest.as_bytes(), &other).unwrap().0.is_empty());
        assert!(bundles(b"{}", &subject).unwrap().0.is_empty());
        assert!(payloads(manifest.as_bytes()).unwrap().is_empty());
        assert!(bundles(b"[]x", &subject).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = payloads(&bytes);
            let _ = bundles(&bytes, &Digest::of(b"x"));
        }

        #[test]
        fn no_tag_makes_it_panic(tag in "\\PC{0,80}|sha256-[0-9a-f]{60,68}(\\.[a-z]{0,4})?") {
            is_attachment_tag(&tag);
        }
    }
}
