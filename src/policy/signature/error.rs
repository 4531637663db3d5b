// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keys that cannot be used, and signatures that are none.

use std::path::PathBuf;

use super::DIRECTORY;
use crate::code::Coded;
use crate::overlay::Unreadable;
use crate::source::SourceError;

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
    /// A directory of keys that cannot be read, or a link that leads nowhere.
    #[error(transparent)]
    Directory(#[from] Unreadable),
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
        source: Box<SourceError>,
    },
}

impl Coded for KeyError {
    fn code(&self) -> &'static str {
        match self {
            Self::None => "signature-keys-missing",
            Self::Directory(error) => error.code(),
            Self::Unusable { .. } => "signature-key-unusable",
            Self::Identity { .. } => "reference-invalid",
        }
    }
}

/// Why something is no valid signature. Its text goes on after "one ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It could not be had.
    #[error("that cannot be read: {0}")]
    Unreadable(String),
    /// There is a place for a signature, and nothing in it.
    #[error("that is empty")]
    Empty,
    /// It has another form.
    #[error("that is malformed: {0}")]
    Malformed(String),
    /// It is of somebody else, or damaged, or of something else.
    #[error("that none of this host's keys made")]
    UnknownKey,
    /// A key of this host signed something else.
    #[error("of another kind, {0}")]
    OtherKind(String),
    /// A key of this host signed another image.
    #[error("of another image, {0}")]
    OtherDigest(String),
    /// A key of this host signed an image of another repository.
    #[error("for another repository, {0}")]
    OtherIdentity(String),
    /// A bundle, where a signature has to name the repository.
    #[error("that is a bundle and names no repository, where simple signing is needed")]
    NamesNoRepository,
    /// Simple signing, and nothing to hold the repository against.
    #[error("for {0}, and what is followed is no repository; set policy.signature.identity")]
    NoIdentity(String),
}
