// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a machine could not be made or played. What its firmware meets is no error but an outcome.

use std::io;
use std::path::{Path, PathBuf};

use crate::codes;
use flipside_image::ImageError;
use flipside_image::code::{Code, Coded};

/// Why a machine could not be made or played.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A file of the machine could not be read or written.
    #[error("cannot {operation} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is something already.
    #[error("cannot make a machine in {path}: the directory is not empty", path = .path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// No machine, or of another version of flipside.
    #[error("{path} is not a machine that `flipside sim new` made: {reason}", path = .path.display())]
    NoMachine {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else than `oci:DIR` or `oci:DIR:TAG`.
    #[error("{text} is no image that can be simulated: give oci:DIR or oci:DIR:TAG")]
    Location {
        /// What was given.
        text: String,
    },
    /// An image of a layout is not right.
    #[error("cannot use the image {digest} in {layout}: {source}", layout = .layout.display())]
    Image {
        /// The layout.
        layout: PathBuf,
        /// The image; `index.json` for the list of them.
        digest: String,
        /// What is wrong.
        source: Box<ImageError>,
    },
    /// A payload's bytes are not those that the image's config describes.
    #[error("payload {payload} of the image {digest} in {layout} is damaged", layout = .layout.display())]
    Payload {
        /// The layout.
        layout: PathBuf,
        /// The image.
        digest: String,
        /// The payload.
        payload: String,
    },
}

impl Coded for SimError {
    fn code(&self) -> Code {
        match self {
            Self::Io { .. } => codes::SIM_IO,
            Self::NotEmpty { .. } => codes::SIM_NOT_EMPTY,
            Self::NoMachine { .. } => codes::SIM_NO_MACHINE,
            Self::Location { .. } => codes::REFERENCE_INVALID,
            Self::Image { source, .. } => source.code(),
            Self::Payload { .. } => codes::CHUNK_DAMAGED,
        }
    }
}

/// Names the operation and the file of an I/O error.
pub(super) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, SimError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, SimError> {
        self.map_err(|source| SimError::Io { operation, path: path.to_owned(), source })
    }
}
