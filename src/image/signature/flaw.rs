// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures that are none.

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
    /// It names another key, or a certificate, and none of this host's keys made it.
    #[error("that none of this host's keys made")]
    OtherKey,
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

impl Flaw {
    /// Whether somebody without a key of this host can make as many of these as they like, each of
    /// which looks like a signature by one of its keys until it is verified.
    pub fn is_plausible(&self) -> bool {
        matches!(self, Self::UnknownKey)
    }
}
