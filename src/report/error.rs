// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why what flipside says cannot be read or written.

use std::io;
use std::path::PathBuf;

use crate::codes;
use flipside_image::code::{Code, Coded};

/// Why what flipside says cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file that is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file whose changes the kernel does not tell.
    #[error("cannot watch {}", path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A log of a failed trial that is not there.
    #[error("no journal of {what} is kept here")]
    NoTrialLog {
        /// Of which.
        what: String,
    },
    /// The name of an image that the status does not show.
    #[error("`flipside status` shows no image with the version or digest {what}")]
    ImageUnknown {
        /// The name.
        what: String,
    },
    /// The name of several images.
    #[error("{what} names several images: give more digits of the digest")]
    ImageAmbiguous {
        /// The name.
        what: String,
    },
    /// A status file that is none.
    #[error("{} is not a status document", path.display())]
    NotAStatus {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A status file of a later flipside.
    #[error("{} has version {version}; this program knows only {}", path.display(), super::status::VERSION)]
    StatusVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Coded for ReportError {
    fn code(&self) -> Code {
        match self {
            Self::Read { .. } => codes::REPORT_UNREADABLE,
            Self::Write { .. } => codes::REPORT_UNWRITABLE,
            Self::Watch { .. } => codes::RESOURCES_EXHAUSTED,
            Self::NoTrialLog { .. } => codes::TRIAL_LOG_ABSENT,
            Self::ImageUnknown { .. } | Self::ImageAmbiguous { .. } => codes::IMAGE_UNKNOWN,
            Self::NotAStatus { .. } | Self::StatusVersion { .. } => codes::STATUS_MALFORMED,
        }
    }
}
