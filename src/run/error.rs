// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a run did not do what it was asked to.

use flipside_core::Error as CoreError;

use crate::health::HealthError;
use crate::rules;
use crate::rules::signature::KeyError;
use flipside_core::cancel::Stopped;
use flipside_core::install::InstallError;
use flipside_core::refusal::{Refusal, Severity};
use flipside_image::ImageError;
use flipside_image::code::{Code, Coded, Transient};
use flipside_source::SourceError;

/// Why a run stopped. The host boots as before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host, or a decision against it.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The keys that images have to be signed with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The health checks.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// A directory of hooks, or a file that a setting names.
    #[error(transparent)]
    Unusable(#[from] crate::config::overlay::Unusable),
}

/// What core says as well.
macro_rules! from_core {
    ($($error:ty),+) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Core(error.into())
            }
        })+
    };
}
from_core!(Refusal, Stopped, ImageError, InstallError);

impl Error {
    /// Whether a question to the source failed: nobody knows what the tag names.
    pub fn is_of_source(&self) -> bool {
        matches!(self, Self::Source(_))
    }

    /// Whether to come back by itself.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Core(error) => error.severity(),
            Self::Health(error) if error.is_stopped() => Severity::Defer,
            Self::Source(error) if error.is_deferral() => Severity::Defer,
            _ => Severity::Error,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Core(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Health(error) => error.code(),
            Self::Unusable(error) => error.code(),
        }
    }

    fn transient(&self) -> Option<Transient> {
        match self {
            Self::Core(error) => error.transient(),
            Self::Source(error) => error.transient(),
            _ => None,
        }
    }
}

impl From<rules::Error> for Error {
    fn from(error: rules::Error) -> Self {
        match error {
            rules::Error::Refused(refusal) => refusal.into(),
            rules::Error::Source(error) => error.into(),
            rules::Error::Install(error) => error.into(),
            rules::Error::Stopped(stopped) => stopped.into(),
        }
    }
}
