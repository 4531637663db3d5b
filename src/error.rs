// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a run did not do what it was asked to.

use std::path::PathBuf;

use crate::codes;
use crate::config::overlay::Unusable;
use flipside_core::Error as CoreError;
use flipside_core::cancel::Stopped;
use flipside_core::install::InstallError;
use flipside_core::refusal::{Refusal, Severity};
use flipside_image::ImageError;
use flipside_image::code::{Code, Coded, Transient};
use flipside_source::{ReferenceError, SourceError};

/// Why a run stopped. The host boots as before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host, or a decision against it.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A directory of hooks, checks or keys, or a file that a setting names.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// Signatures are required, and nobody said whose.
    #[error(
        "policy.signature.mode is \"require\", and there is no key in /etc/flipside/keys or \
         /usr/lib/flipside/keys; `flipside image key` makes a pair of keys, as `cosign \
         generate-key-pair` does, and `openssl pkey -in KEY.pem -pubout -out NAME.pub` writes the \
         public one of a key that exists"
    )]
    NoKeys,
    /// A file that should hold a key.
    #[error("cannot use the key {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A setting that names no repository.
    #[error("policy.signature.identity: {source}")]
    Identity {
        /// What is wrong with it.
        source: ReferenceError,
    },
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
            Self::Unusable(error) => error.code(),
            Self::NoKeys => codes::SIGNATURE_KEYS_MISSING,
            Self::Key { .. } => codes::SIGNATURE_KEY_UNUSABLE,
            Self::Identity { source } => source.code(),
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
