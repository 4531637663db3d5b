// SPDX-License-Identifier: MIT OR Apache-2.0

//! The search for signatures of an image: who judges them, and which errors end it.

use std::ops::ControlFlow;

pub use flipside_image::EMPTY_TYPE;
pub(super) use flipside_image::signature::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, PAYLOAD_LIMIT, bundles, is_attachment_tag,
    may_hold_bundle, no_signature, payloads, says_something_else,
};
pub use flipside_image::signature::{
    BUNDLE_TYPE, SIGNATURE_ANNOTATION, SIMPLE_TYPE, Signature, referrers_tag, signature_tag,
};

use super::{Source, SourceError};
use flipside_image::Digest;

/// The most signatures in one home on one host that look like good ones until they are verified.
/// In simple signing, where nothing tells that, the most payloads.
pub(super) const LIMIT: usize = 64;
/// The most manifests of bundles that are fetched in one home on one host.
pub(super) const MANIFESTS: usize = 512;
/// The most bundles of one manifest that are fetched; cosign puts one there.
pub(super) const BUNDLES: usize = 4;

/// Is handed one signature after the other; [`ControlFlow::Break`] ends the search.
pub type Judge<'a> = dyn FnMut(Signature) -> ControlFlow<(), Worth> + 'a;

/// What a signature was that is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It does not count towards the limit: it did not look like one by a key of this host, or it is
    /// one, of something else.
    Nothing,
    /// It looked like one by a key of this host.
    Plausible,
}

/// How much was looked at in one home on one host: each has limits of its own, so that what anybody
/// can put into one keeps nobody from finding what is in the other.
#[derive(Debug, Default)]
pub(super) struct Looked {
    plausible: usize,
    manifests: usize,
}

impl Looked {
    /// Counts what a judge said; `false` where there is one too many.
    pub fn may_go_on(&mut self, worth: Worth) -> bool {
        self.plausible += usize::from(worth == Worth::Plausible);
        self.plausible <= LIMIT
    }

    /// Counts a manifest that is to be fetched; `false` where that is one too many.
    pub fn may_fetch(&mut self) -> bool {
        self.manifests += 1;
        self.manifests <= MANIFESTS
    }
}

/// All signatures of `subject`, each once, those that cannot be read left out.
///
/// # Errors
/// As [`Source::signatures`].
pub fn all(source: &dyn Source, subject: &Digest) -> Result<Vec<Signature>, SourceError> {
    let mut found = Vec::new();
    source.signatures(subject, &mut |signature| {
        let is_readable = match &signature {
            Signature::Simple { payload, .. } => !payload.is_empty(),
            Signature::Bundle { .. } => true,
            Signature::Unreadable { .. } => false,
        };
        if is_readable && !found.contains(&signature) {
            found.push(signature);
        }
        ControlFlow::Continue(Worth::Nothing)
    })?;
    Ok(found)
}

/// An error of one signature that says nothing about the others; any other error is one of
/// whoever should have answered.
pub(super) fn unreadable(error: SourceError) -> Result<Signature, SourceError> {
    if is_of_one_artifact(&error) {
        return Ok(Signature::Unreadable { what: error.to_string() });
    }
    Err(error)
}

/// Whether an error is one of a single artifact, and whoever has it did answer.
pub(super) fn is_of_one_artifact(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::Image(_)
            | SourceError::ManifestNotFound { .. }
            | SourceError::BlobNotFound { .. }
            | SourceError::Local(
                super::LocalError::BlobNotFound { .. } | super::LocalError::BlobWrongSize { .. },
            )
    )
}
