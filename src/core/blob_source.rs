// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the bytes of an image come from, as far as an install has to know.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use crate::cancel::Stopped;
use crate::codes;
use flipside_image::Descriptor;
use flipside_image::code::{Code, Coded, Transient};

/// Takes the next bytes of a blob; an error ends the transfer.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Stopped> + 'a;

/// Blobs by digest. Blocking: several threads may call one source at a time.
pub trait BlobSource: Send + Sync {
    /// The bytes `range` of a blob, in order, in pieces of any size. What breaks off is
    /// taken up again inside; every byte is handed over once. They are not hash checked:
    /// that is the caller's matter, chunk by chunk.
    ///
    /// # Errors
    /// [`FetchError::Stopped`] where the sink or the run was stopped, otherwise
    /// [`FetchError::Failed`].
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError>;

    /// Asks no mirror any more, because bytes that came were not what they should be. Says
    /// whether one was asked until now: then it is worth trying again.
    fn leave_out_mirrors(&self) -> bool {
        false
    }
}

/// Why a blob did not come.
#[derive(Debug)]
pub enum FetchError {
    /// The sink wanted no more, or the run was stopped.
    Stopped(Stopped),
    /// The source's own error.
    Failed(Box<dyn Coded + Send + Sync>),
}

impl FetchError {
    /// The source's own error.
    pub fn failed(error: impl Coded + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(error))
    }

    /// Whether only a wish to stop ended it.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }
}

/// As what is inside says it.
impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stopped(_) => None,
            Self::Failed(error) => error.source(),
        }
    }
}

impl Coded for FetchError {
    fn code(&self) -> Code {
        match self {
            Self::Stopped(_) => codes::STOPPED,
            Self::Failed(error) => error.code(),
        }
    }

    fn transient(&self) -> Option<Transient> {
        match self {
            Self::Stopped(_) => None,
            Self::Failed(error) => error.transient(),
        }
    }
}

impl From<Stopped> for FetchError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}
