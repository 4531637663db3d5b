// SPDX-License-Identifier: MIT OR Apache-2.0

//! What refers to an image in a layout: what is listed under the tag that registries without a
//! referrers API have, and the entries without a tag, as `oras` writes them.

use flipside_image::{Descriptor, Digest, ImageError, Index, MANIFEST_LIMIT};

use super::super::choice::TAG_ANNOTATION;
use super::super::signatures::{referrers_tag, unreadable};
use super::{Files, SourceError, read};

/// What may refer to an image.
#[derive(Default)]
pub(super) struct Listed {
    pub entries: Vec<Descriptor>,
    /// What kept a list from being whole.
    pub cut_short: Option<ImageError>,
}

/// What may refer to `subject`, by the layout's `index`.
pub(super) fn referrers(
    files: &dyn Files,
    index: &Index,
    subject: &Digest,
) -> Result<Listed, SourceError> {
    let mut found = Listed::default();
    for entry in annotated(index, TAG_ANNOTATION, &referrers_tag(subject)) {
        match read(files, "list of referrers", entry, MANIFEST_LIMIT) {
            Ok(bytes) => match Index::parse(&bytes) {
                Ok(listed) => found.entries.extend(listed.manifests),
                Err(error) => found.cut_short = Some(error),
            },
            Err(error) => drop(unreadable(error)?),
        }
    }
    let untagged = |entry: &&Descriptor| !entry.annotations.contains_key(TAG_ANNOTATION);
    found.entries.extend(index.manifests.iter().filter(untagged).cloned());
    Ok(found)
}

/// The entries of `index` whose annotation `key` is `value`.
pub(super) fn annotated<'a>(
    index: &'a Index,
    key: &'a str,
    value: &'a str,
) -> impl Iterator<Item = &'a Descriptor> {
    let is = move |entry: &&Descriptor| entry.annotations.get(key).is_some_and(|v| v == value);
    index.manifests.iter().filter(is)
}
