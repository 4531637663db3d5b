// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which image of an OCI layout is meant, and where its index lists it.

use flipside_image::delta::DELTA_TYPE;
use flipside_image::document::MEDIA_TYPE;
use flipside_image::printable;
use flipside_image::reference::tag_of;
use flipside_image::{Descriptor, Digest, INDEX_TYPE, Index, MANIFEST_TYPE};

use super::LocalError;
use super::signatures::{BUNDLE_TYPE, EMPTY_TYPE, is_attachment_tag};

/// The annotation of an index entry that holds its tag (OCI image spec, "Annotations").
pub const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// The annotation by which `cosign save` says what an entry is.
pub(super) const KIND_ANNOTATION: &str = "kind";
/// What it says of the image itself.
const KIND_IMAGE: &str = "dev.cosignproject.cosign/image";

/// Which of the images that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// The only one.
    Only,
    /// The one with this name, or else the only one whose name has this tag.
    Tag(String),
    /// The one with this digest, listed or not.
    Digest(Digest),
}

impl Choice {
    /// By tag, by `sha256:...`, or the only one.
    pub(super) fn new(tag: Option<&str>) -> Self {
        match tag.map(|tag| (tag, tag.parse())) {
            None => Self::Only,
            Some((_, Ok(digest))) => Self::Digest(digest),
            Some((tag, Err(_))) => Self::Tag(tag.to_owned()),
        }
    }

    /// Whether an entry is the one that was asked for by its tag.
    fn is_tag(&self, entry: &Descriptor) -> bool {
        let name = entry.annotations.get(TAG_ANNOTATION);
        matches!((self, name), (Self::Tag(tag), Some(name)) if name == tag || tag_of(name) == tag)
    }

    /// What follows the path when people write the place.
    pub(super) fn suffix(&self) -> String {
        match self {
            Self::Only => String::new(),
            Self::Tag(tag) => format!(":{tag}"),
            Self::Digest(digest) => format!("@{digest}"),
        }
    }

    pub(super) fn find(&self, index: &Index, place: &str) -> Result<Digest, LocalError> {
        let mut images: Vec<_> = index
            .manifests
            .iter()
            .filter(|entry| [MANIFEST_TYPE, INDEX_TYPE].contains(&entry.media_type.as_str()))
            .filter(|entry| !is_attachment(entry) || self.is_tag(entry))
            .collect();
        let present = present(&images);
        let place = place.to_owned();
        if let Self::Digest(digest) = self {
            return Ok(*digest);
        }
        if let Self::Tag(tag) = self {
            images.retain(|entry| self.is_tag(entry));
            let is_exact = |entry: &&Descriptor| entry.annotations.get(TAG_ANNOTATION) == Some(tag);
            if images.iter().any(is_exact) {
                images.retain(is_exact);
            }
        }
        // One image may be listed under several tags.
        let mut digests: Vec<_> = images.iter().map(|entry| entry.digest).collect();
        digests.sort_unstable();
        digests.dedup();
        match (digests.as_slice(), self) {
            ([only], _) => Ok(*only),
            ([], Self::Tag(tag)) => {
                Err(LocalError::TagNotFound { place, tag: tag.clone(), present })
            }
            ([], _) => {
                Err(LocalError::LayoutInvalid { place, what: "its index lists no image".into() })
            }
            _ => Err(LocalError::TagAmbiguous { place, present }),
        }
    }
}

/// Whether an entry is a signature, a delta, a policy document or the like, which belongs to an image and is none.
fn is_attachment(entry: &Descriptor) -> bool {
    entry.annotations.get(TAG_ANNOTATION).is_some_and(|name| is_attachment_tag(tag_of(name)))
        || entry
            .artifact_type
            .as_deref()
            .is_some_and(|kind| [BUNDLE_TYPE, DELTA_TYPE, EMPTY_TYPE, MEDIA_TYPE].contains(&kind))
        || entry
            .annotations
            .get(KIND_ANNOTATION)
            .is_some_and(|kind| kind.starts_with("dev.cosignproject.cosign/") && kind != KIND_IMAGE)
}

fn present(images: &[&Descriptor]) -> String {
    if images.is_empty() {
        return "none".to_owned();
    }
    let name = |entry: &&Descriptor| match entry.annotations.get(TAG_ANNOTATION) {
        Some(tag) => printable::line(tag, 128),
        None => entry.digest.short(),
    };
    let mut names: Vec<String> = images.iter().take(20).map(name).collect();
    if images.len() > names.len() {
        names.push(format!("{} more", images.len() - names.len()));
    }
    names.join(", ")
}
