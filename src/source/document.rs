// SPDX-License-Identifier: MIT OR Apache-2.0

//! Brings a policy document from the tag beside the one that it is about.

use flipside_image::Digest;
use flipside_image::document::{DocumentError, DocumentManifest, SIZE_LIMIT};

use super::{Source, SourceError};

/// A policy document as it came: of the right form outside, unread inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedDocument {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The tag that the manifest says the document is about.
    pub tag: Option<String>,
    /// The document's bytes.
    pub document: Vec<u8>,
}

/// The document whose manifest is called `digest`; every byte is hash checked.
///
/// # Errors
/// [`SourceError`] where it cannot be had; the inner error where what stands there is no
/// policy document.
pub fn fetch_document(
    source: &dyn Source,
    digest: &Digest,
) -> Result<Result<FetchedDocument, DocumentError>, SourceError> {
    let manifest = source.manifest(digest)?;
    let parsed = match DocumentManifest::parse(&manifest) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Err(error)),
    };
    let document = match parsed.layer() {
        Some(layer) => source.blob("policy document", layer, SIZE_LIMIT)?,
        None => Vec::new(),
    };
    let tag = parsed.tag().map(str::to_owned);
    Ok(Ok(FetchedDocument { manifest, tag, document }))
}

/// Whether an error says that a tag does not exist; anything else says that nobody knows.
pub fn is_absent(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::TagNotFound { .. }
            | SourceError::NotAtMirrors(_)
            | SourceError::Local(super::LocalError::TagNotFound { .. })
    )
}
