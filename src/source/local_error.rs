// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why an image in a layout or an archive could not be had.

use std::io;
use std::path::PathBuf;

use crate::codes;
use flipside_image::Digest;
use flipside_image::code::{Code, Coded};

/// Why a local image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The file system's error.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A directory that is no OCI layout of the version flipside knows.
    #[error("{place} is not a usable OCI layout: {what}")]
    LayoutInvalid {
        /// The layout.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A file that is no archive, or one that is not plain.
    #[error("{place} is not a usable OCI archive: {what}")]
    ArchiveInvalid {
        /// The archive.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A tag that the index does not list.
    #[error("{place} has no image {tag:?}; it has {present}")]
    TagNotFound {
        /// The layout or archive.
        place: String,
        /// The tag.
        tag: String,
        /// What it lists, for people.
        present: String,
    },
    /// More than one image, and no word which one.
    #[error("{place} has several images, name one of them: {present}")]
    TagAmbiguous {
        /// The layout or archive.
        place: String,
        /// What it lists, for people.
        present: String,
    },
    /// A blob that is not there.
    #[error("{place} does not hold the blob {digest}")]
    BlobNotFound {
        /// The layout or archive.
        place: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob that is shorter or longer than its descriptor says.
    #[error("the blob {digest} in {place} has {actual} bytes instead of {expected}")]
    BlobWrongSize {
        /// The layout or archive.
        place: String,
        /// The blob.
        digest: Digest,
        /// What its descriptor says, or where a range of it ends.
        expected: u64,
        /// What it has.
        actual: u64,
    },
}

impl Coded for LocalError {
    fn code(&self) -> Code {
        match self {
            Self::File { .. } => codes::SOURCE_UNREADABLE,
            Self::LayoutInvalid { .. } | Self::ArchiveInvalid { .. } => codes::LAYOUT_INVALID,
            Self::TagNotFound { .. } => codes::TAG_NOT_FOUND,
            Self::TagAmbiguous { .. } => codes::TAG_AMBIGUOUS,
            Self::BlobNotFound { .. } => codes::BLOB_NOT_FOUND,
            Self::BlobWrongSize { .. } => codes::DIGEST_MISMATCH,
        }
    }
}
