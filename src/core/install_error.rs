// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a payload could not be put onto a medium.

use std::io;

use crate::blob_source::FetchError;
use crate::codes;
use flipside_image::code::{Code, Coded, Transient};
use flipside_image::{ChunkIndex, ImageError, PayloadName};

/// Why an install or a verification ended early.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nothing was written.
    #[error("payload {payload} has {size} bytes, more than the {capacity} of {storage}")]
    PayloadTooLarge {
        /// The payload.
        payload: PayloadName,
        /// Its size in bytes.
        size: u64,
        /// Where it was to go.
        storage: String,
        /// How many bytes fit there.
        capacity: u64,
    },
    /// A chunk of the image is not what the config says, also when fetched again.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The source did not give the payload's bytes.
    #[error("cannot fetch payload {payload}: {source}")]
    Fetch {
        /// The payload.
        payload: PayloadName,
        /// The source's reason.
        source: FetchError,
    },
    /// The target did not take bytes.
    #[error("cannot write payload {payload} to {storage} at byte {offset}: {source}")]
    Write {
        /// The payload.
        payload: PayloadName,
        /// The target.
        storage: String,
        /// Where in it.
        offset: u64,
        /// The device's reason.
        source: io::Error,
    },
    /// The target took bytes and then could not make them durable.
    #[error("cannot make payload {payload} on {storage} durable: {source}")]
    Sync {
        /// The payload.
        payload: PayloadName,
        /// The target.
        storage: String,
        /// The device's reason.
        source: io::Error,
    },
    /// The target did not give bytes.
    #[error("cannot read payload {payload} from {storage} at byte {offset}: {source}")]
    Read {
        /// The payload.
        payload: PayloadName,
        /// The target.
        storage: String,
        /// Where in it.
        offset: u64,
        /// The device's reason.
        source: io::Error,
    },
    /// The target gives other bytes than were written.
    #[error("{storage} does not hold what was written to it: chunk {index} of payload {payload}")]
    ReadBackMismatch {
        /// The target.
        storage: String,
        /// The payload.
        payload: PayloadName,
        /// The first such chunk that was found.
        index: ChunkIndex,
    },
    /// The system gave no thread.
    #[error("cannot start a thread to install payload {payload}: {source}")]
    Thread {
        /// The payload.
        payload: PayloadName,
        /// The system's reason.
        source: io::Error,
    },
    /// The run was asked to stop.
    #[error("stopped by request with {left} bytes of payload {payload} left")]
    Stopped {
        /// The payload.
        payload: PayloadName,
        /// How many of its uncompressed bytes were not yet written, or not yet read back.
        left: u64,
    },
}

impl InstallError {
    /// Whether only a wish to stop ended it.
    pub fn is_stopped(&self) -> bool {
        match self {
            Self::Stopped { .. } => true,
            Self::Fetch { source, .. } => source.is_stopped(),
            _ => false,
        }
    }

    /// Whether only the source is at fault: what it did not give may come from elsewhere.
    pub(crate) fn is_of_source(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Fetch { .. }) && !self.is_stopped()
    }
}

impl Coded for InstallError {
    fn code(&self) -> Code {
        match self {
            Self::PayloadTooLarge { .. } => codes::SLOT_TOO_SMALL,
            Self::Image(error) => error.code(),
            Self::Fetch { source, .. } => source.code(),
            Self::Write { .. } | Self::Sync { .. } | Self::Read { .. } => codes::DISK_FAILED,
            Self::ReadBackMismatch { .. } => codes::READ_BACK_MISMATCH,
            Self::Thread { .. } => codes::RESOURCES_EXHAUSTED,
            Self::Stopped { .. } => codes::STOPPED,
        }
    }

    fn transient(&self) -> Option<Transient> {
        match self {
            Self::Fetch { source, .. } => source.transient(),
            _ => None,
        }
    }
}
