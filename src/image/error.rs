// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with an image.

use super::{Architecture, ChunkIndex, ChunkSizeError, Digest, MalformedDigest};
use crate::code::{Code, Coded};
use crate::codes;

/// Why something is not an OS image that this program may use.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Bytes that are not what their name says.
    #[error("the {object} does not match its digest: expected {expected}, got {actual}")]
    DigestMismatch {
        /// What was hashed.
        object: String,
        /// The digest by which it was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// Text that is no SHA-256 digest.
    #[error(transparent)]
    MalformedDigest(#[from] MalformedDigest),
    /// JSON that cannot be read.
    #[error("the {object} cannot be read: {source}")]
    Json {
        /// The document.
        object: &'static str,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// Text that is shown to people and cannot be.
    #[error("the image's {what} {text:?} is not at most 128 printable characters")]
    Unprintable {
        /// Which text.
        what: &'static str,
        /// The text, shortened.
        text: String,
    },
    /// A document over its limit.
    #[error("the {object} has {size} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// The document.
        object: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Something else than an OS image.
    #[error("this is not an OS image but {what}")]
    NotAnOsImage {
        /// What it is, as well as that can be told.
        what: String,
    },
    /// A config of a format that this program does not know.
    #[error("the image has format version {version:?}; this program knows only \"1\"")]
    FormatVersion {
        /// The version that the config names.
        version: String,
    },
    /// A payload name outside the pattern.
    #[error("{name:?} is not a valid payload name")]
    PayloadName {
        /// The name, shortened.
        name: String,
    },
    /// A chunk size outside the limits.
    #[error(transparent)]
    ChunkSize(#[from] ChunkSizeError),
    /// Parts that contradict each other.
    #[error("the image contradicts itself: {what}")]
    Inconsistent {
        /// The contradiction.
        what: String,
    },
    /// An image for another machine.
    #[error("the image is for {image}, this machine is {host}")]
    WrongArchitecture {
        /// What the image is for.
        image: String,
        /// What this machine is.
        host: Architecture,
    },
    /// An index without a manifest for this machine, or with several.
    #[error("the index lists {found} images for {host}, it has to list one; it has {present}")]
    NoSingleManifest {
        /// How many it lists.
        found: usize,
        /// What this machine is.
        host: Architecture,
        /// The platforms of what it lists.
        present: String,
    },
    /// A chunk whose bytes are not the ones that the config names.
    #[error("chunk {index} of payload {payload} is damaged: {what}")]
    BadChunk {
        /// The payload.
        payload: String,
        /// The chunk.
        index: ChunkIndex,
        /// What is wrong with it.
        what: String,
    },
}

impl Coded for ImageError {
    fn code(&self) -> Code {
        match self {
            Self::DigestMismatch { .. } => codes::DIGEST_MISMATCH,
            Self::MalformedDigest(_) => codes::DIGEST_MALFORMED,
            Self::Json { .. } | Self::Unprintable { .. } | Self::Inconsistent { .. } => {
                codes::IMAGE_MALFORMED
            }
            Self::TooLarge { .. } => codes::IMAGE_OVER_LIMIT,
            Self::NotAnOsImage { .. } => codes::NOT_AN_OS_IMAGE,
            Self::FormatVersion { .. } => codes::FORMAT_VERSION_UNKNOWN,
            Self::PayloadName { .. } => codes::PAYLOAD_NAME_INVALID,
            Self::ChunkSize(_) => codes::CHUNK_SIZE_INVALID,
            Self::WrongArchitecture { .. } => codes::WRONG_ARCHITECTURE,
            Self::NoSingleManifest { .. } => codes::ARCHITECTURE_MISSING,
            Self::BadChunk { .. } => codes::CHUNK_DAMAGED,
        }
    }
}

// Here, since digests know nothing of images.
impl Digest {
    /// Refuses `bytes` that do not hash to this digest; `object` names them in
    /// the error.
    ///
    /// # Errors
    /// [`ImageError::DigestMismatch`].
    pub fn check(&self, object: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let actual = Self::of(bytes);
        if actual == *self {
            return Ok(());
        }
        Err(ImageError::DigestMismatch { object: object.to_owned(), expected: *self, actual })
    }
}
