// SPDX-License-Identifier: MIT OR Apache-2.0

//! The policy document: what its publisher says about releases after their images were
//! built. JSON, beside the tag that it is about.
//!
//! - `artifact`: how it travels
//! - `draft`: the document as it is written
//! - `names`: which fields there may be
//! - `lint`: what is wrong with a draft, all of it at once
//! - this file: a document without errors, which is the only one that a host goes by

use jiff::Timestamp;

use crate::Digest;
use crate::code::{Code, Coded};
use crate::codes;
use crate::rollout::Rollout;
use crate::version;

mod artifact;
mod draft;
mod lint;
mod names;
#[cfg(test)]
mod tests;

pub use artifact::{DocumentManifest, EMPTY_CONFIG, document_tag};
pub use draft::{Draft, DraftRelease, DraftRollout, Reason};
pub use lint::{Finding, Level};

/// The media type of a policy document, and the artifact type of the manifest that brings one.
pub const MEDIA_TYPE: &str = "application/vnd.flipside.policy.v1+json";
/// The one `format_version` that there is.
pub const FORMAT_VERSION: &str = "1";
/// The most bytes that a document may have.
pub const SIZE_LIMIT: u64 = 1 << 20;
/// The most releases that a document may list.
pub const RELEASES_LIMIT: usize = 1000;
/// The most that are read, to say that there are too many.
const RELEASES_READ: usize = 2 * RELEASES_LIMIT;
/// The tag that holds the document about the tag before it.
pub const TAG_SUFFIX: &str = ".policy";
/// The manifest annotation that names the tag that a document is about, without the suffix. It
/// keeps one that is signed from being shown at another tag.
pub const TAG_ANNOTATION: &str = "org.flipside.policy.tag";

/// A policy document without errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// When it was made: of two documents, the later one counts.
    pub issued: Timestamp,
    /// From when on it says nothing any more.
    pub expires: Timestamp,
    /// What hosts may take, the lowest version first; no version and no digest twice.
    pub releases: Vec<Release>,
}

/// What a document says about one release.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Its version.
    pub version: String,
    /// The digest of its manifest, or of the index of its manifests.
    pub digest: Digest,
    /// Every host that comes from below has to take it: why.
    pub barrier: Option<String>,
    /// Which hosts may take it when; all of them at once without.
    pub rollout: Option<Rollout>,
    /// Hosts that run it take no update: why.
    pub dead_end: Option<String>,
    /// No host takes it any more: why.
    pub withdrawn: Option<String>,
}

/// Bytes that are no policy document to go by.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More bytes than a document may have.
    #[error("the policy document has {size} bytes, {SIZE_LIMIT} are allowed")]
    TooLarge {
        /// What it has.
        size: u64,
    },
    /// No JSON, or not of a document's form.
    #[error("the policy document is malformed: {0}")]
    Json(#[source] serde_json::Error),
    /// A format of later days.
    #[error("the policy document has the format {found:?}, this flipside knows {FORMAT_VERSION:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// What stands at the tag of a policy document is something else.
    #[error("the artifact is not a policy document: {what}")]
    NotADocument {
        /// What it is.
        what: String,
    },
    /// It says what makes no sense.
    #[error("the policy document is not valid: {first}{}", and_more(*.further))]
    Invalid {
        /// The first error.
        first: Finding,
        /// How many there are besides.
        further: usize,
    },
}

fn and_more(further: usize) -> String {
    match further {
        0 => String::new(),
        _ => format!(" (and {further} more)"),
    }
}

impl Coded for DocumentError {
    fn code(&self) -> Code {
        codes::POLICY_DOCUMENT_INVALID
    }
}

impl Document {
    /// Reads a document that a host may go by.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        Self::from_draft(&Draft::parse(bytes)?)
    }

    /// A draft without errors as a document.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`].
    pub fn from_draft(draft: &Draft) -> Result<Self, DocumentError> {
        let mut errors = draft.lint().into_iter().filter(|finding| finding.level == Level::Error);
        if let Some(first) = errors.next() {
            return Err(DocumentError::Invalid { first, further: errors.count() });
        }
        let mut releases: Vec<Release> = draft.releases.iter().map(Release::of).collect();
        releases.sort_by(|a, b| version::compare(&a.version, &b.version));
        Ok(Self { issued: draft.issued, expires: draft.expires, releases })
    }

    /// The release that `digest` is of.
    pub fn release(&self, digest: &Digest) -> Option<&Release> {
        self.releases.iter().find(|release| release.digest == *digest)
    }

    /// The release of this version.
    pub fn version(&self, version: &str) -> Option<&Release> {
        let is_same = |release: &&Release| version::compare(&release.version, version).is_eq();
        self.releases.iter().find(is_same)
    }
}

impl Release {
    /// What a draft without errors says.
    fn of(draft: &DraftRelease) -> Self {
        let reason = |reason: &Option<Reason>| reason.as_ref().map(|given| given.reason.clone());
        Self {
            version: draft.version.clone(),
            digest: draft.digest,
            barrier: reason(&draft.barrier),
            rollout: draft.rollout.as_ref().and_then(DraftRollout::checked),
            dead_end: reason(&draft.dead_end),
            withdrawn: reason(&draft.withdrawn),
        }
    }
}
