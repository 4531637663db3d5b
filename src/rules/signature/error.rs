// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keys that cannot be used.

use std::path::PathBuf;

use super::DIRECTORY;
use crate::codes;
use crate::config::overlay::Unusable;
use flipside_image::code::{Code, Coded};
use flipside_source::ReferenceError;

/// Why a host cannot tell good signatures from others. Nothing is installed before that is put
/// right.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Signatures are required, and nobody said whose.
    #[error(
        "policy.signature.mode is \"require\", and there is no key in /etc/{DIRECTORY} or \
         /usr/lib/{DIRECTORY}; `flipside image key` makes a pair of keys, as `cosign \
         generate-key-pair` does, and `openssl pkey -in KEY.pem -pubout -out NAME.pub` writes the \
         public one of a key that exists"
    )]
    None,
    /// A directory of keys that cannot be read or that others can change, or a link that leads
    /// nowhere.
    #[error(transparent)]
    Directory(#[from] Unusable),
    /// A file that should hold a key.
    #[error("cannot use the key {}: {reason}", path.display())]
    Unusable {
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

impl Coded for KeyError {
    fn code(&self) -> Code {
        match self {
            Self::None => codes::SIGNATURE_KEYS_MISSING,
            Self::Directory(error) => error.code(),
            Self::Unusable { .. } => codes::SIGNATURE_KEY_UNUSABLE,
            Self::Identity { source } => source.code(),
        }
    }
}
