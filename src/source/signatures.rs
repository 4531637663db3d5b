// SPDX-License-Identifier: MIT OR Apache-2.0

//! The search for signatures of an image: who judges them, and which errors end it.

use std::ops::ControlFlow;

pub use flipside_image::EMPTY_TYPE;
pub(super) use flipside_image::signature::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, PAYLOAD_LIMIT, bundles, is_attachment_tag,
    may_hold_bundle, payloads,
};
pub use flipside_image::signature::{
    BUNDLE_TYPE, SIGNATURE_ANNOTATION, SIMPLE_TYPE, Signature, referrers_tag, signature_tag,
};

use super::{Source, SourceError};
use flipside_image::Digest;

/// The most signatures that are looked at in one home on one host.
pub(super) const LIMIT: usize = 64;
/// Is handed one signature after the other; [`ControlFlow::Break`] ends the search.
pub type Judge<'a> = dyn FnMut(Signature) -> ControlFlow<()> + 'a;

/// All signatures of `subject`, each once, those that cannot be read left out.
///
/// # Errors
/// As [`Source::signatures`].
pub fn all(source: &dyn Source, subject: &Digest) -> Result<Vec<Signature>, SourceError> {
    let mut found = Vec::new();
    source.signatures(subject, &mut |signature| {
        if !matches!(signature, Signature::Unreadable { .. }) && !found.contains(&signature) {
            found.push(signature);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// An error of one signature that says nothing about the others; any other error is one of
/// whoever should have answered.
pub(super) fn unreadable(error: SourceError) -> Result<Signature, SourceError> {
    match error {
        SourceError::Image(_)
        | SourceError::ManifestNotFound { .. }
        | SourceError::BlobNotFound { .. }
        | SourceError::Local(
            super::LocalError::BlobNotFound { .. } | super::LocalError::BlobWrongSize { .. },
        ) => Ok(Signature::Unreadable { what: error.to_string() }),
        other => Err(other),
    }
}
