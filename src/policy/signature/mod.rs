// SPDX-License-Identifier: MIT OR Apache-2.0

//! Did the owner of this host approve of an image? By cosign's signatures with keys, in both
//! of its forms: simple signing, and the Sigstore bundle.
//!
//! One valid signature by one of the host's keys over the right thing suffices. Whatever
//! stands beside it neither helps nor harms; certificates and transparency logs are not
//! looked at. What a signature says is read only after it was verified.

use std::fmt;

use serde::Serialize;

use crate::config::{Config, SignatureMode};
use crate::host::Root;
use crate::image::Digest;
use crate::source::{Location, Reference, Signature};

pub mod bundle;
mod error;
mod key;
mod keys;
pub mod simple;

pub use error::{Flaw, KeyError};
pub use key::{PublicKey, to_pem};
pub use keys::{DIRECTORY, Key};

/// What this host holds signatures against: opened once, before anything is asked.
#[derive(Debug, Clone)]
pub struct Verifier {
    mode: SignatureMode,
    keys: Vec<Key>,
    /// Repositories that a simple signature may name.
    identities: Vec<Reference>,
    /// Whether a signature has to name one.
    is_bound: bool,
}

/// The form of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Simple signing, which names the repository.
    SimpleSigning,
    /// A Sigstore bundle, which does not: whoever accepts one has to look at what it approves.
    Bundle,
}

/// A valid signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The file name of the key that made it.
    pub key: String,
    /// Its form.
    pub form: Form,
}

impl Verifier {
    /// Reads the keys of the host below `root`, except where they are not wanted.
    ///
    /// # Errors
    /// [`KeyError`]: a key that cannot be used, and none at all where signatures are
    /// required; a setting that names no repository.
    pub fn open(root: &Root, config: &Config) -> Result<Self, KeyError> {
        let settings = &config.policy.signature;
        let mode = settings.mode;
        let keys = match mode {
            SignatureMode::Off => Vec::new(),
            SignatureMode::Auto | SignatureMode::Require => keys::read(root)?,
        };
        if mode == SignatureMode::Require && keys.is_empty() {
            return Err(KeyError::None);
        }
        let identities = identities(config)?;
        Ok(Self { mode, keys, identities, is_bound: false })
    }

    /// The same keys for what is in another repository than the tracked one, such as a hook that
    /// is a container image.
    #[must_use]
    pub fn of_repository(&self, repository: &Reference) -> Self {
        Self { identities: vec![repository.clone()], ..self.clone() }
    }

    /// The same keys for what nothing but a tag names and says no product of itself: a bundle would
    /// let whatever the owner ever signed pass for it, whatever repository that is of.
    #[must_use]
    pub fn bound(&self) -> Self {
        Self { is_bound: true, ..self.clone() }
    }

    /// For who looks whether `key` has signed for `identity` already.
    #[cfg(feature = "publish")]
    pub(crate) fn of_key(key: PublicKey, identity: Reference) -> Self {
        let key = Key { name: String::new(), path: Default::default(), public: key };
        let (mode, keys, identities) = (SignatureMode::Require, vec![key], vec![identity]);
        Self { mode, keys, identities, is_bound: false }
    }

    /// Whether an image without a valid signature is refused.
    pub fn is_required(&self) -> bool {
        match self.mode {
            SignatureMode::Off => false,
            SignatureMode::Auto | SignatureMode::Require => !self.keys.is_empty(),
        }
    }

    /// The keys, by file name.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Verifies one signature of `subject`.
    ///
    /// # Errors
    /// [`Flaw`]: why it is none. One flaw says nothing about other signatures.
    pub fn check(&self, subject: &Digest, signature: &Signature) -> Result<Signed, Flaw> {
        let (key, form) = match signature {
            Signature::Simple { payload, annotations } => {
                let key = simple::check(payload, annotations, &self.keys, |payload| {
                    simple::check_subject(payload, subject)?;
                    simple::check_identity(payload, &self.identities)
                })?;
                (key, Form::SimpleSigning)
            }
            Signature::Bundle { bundle, .. } => {
                let key = bundle::check(bundle, &self.keys, subject)?;
                if self.is_bound {
                    return Err(Flaw::NamesNoRepository);
                }
                (key, Form::Bundle)
            }
            Signature::Unreadable { what } => return Err(Flaw::Unreadable(what.clone())),
        };
        Ok(Signed { key: key.name.clone(), form })
    }
}

/// The tracked repository, which its mirrors count as, or the one that is configured.
fn identities(config: &Config) -> Result<Vec<Reference>, KeyError> {
    if let Some(identity) = &config.policy.signature.identity {
        return match identity.parse() {
            Ok(reference) => Ok(vec![reference]),
            Err(source) => Err(KeyError::Identity { source: Box::new(source) }),
        };
    }
    let image = config.track.image.as_deref().map(str::parse);
    let Some(Ok(Location::Registry(tracked))) = image else { return Ok(Vec::new()) };
    let at_mirror = |mirror: &String| {
        let place = mirror.strip_prefix("https://").unwrap_or(mirror).trim_end_matches('/');
        format!("{place}/{}", tracked.repository()).parse().ok()
    };
    let mirrors: Vec<Reference> = config.track.mirrors.iter().filter_map(at_mirror).collect();
    Ok(std::iter::once(tracked).chain(mirrors).collect())
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::SimpleSigning => "simple signing",
            Form::Bundle => "a bundle",
        };
        write!(f, "signed by {} ({form})", self.key)
    }
}
