// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who verifies signatures, by which keys and for which repositories.

use std::fmt;

use serde::Serialize;

use super::{Flaw, Key, PublicKey, Signature, bundle, simple};
use crate::Digest;
use crate::reference::Reference;

/// What this host holds signatures against: opened once, before anything is asked.
#[derive(Debug, Clone)]
pub struct Verifier {
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
    /// A verifier that trusts `keys`. A simple signature has to name one of the repositories
    /// `identities`.
    pub fn new(keys: Vec<Key>, identities: Vec<Reference>) -> Self {
        Self { keys, identities, is_bound: false }
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
    pub fn of_key(key: PublicKey, identity: Reference) -> Self {
        Self::new(vec![Key { name: String::new(), public: key }], vec![identity])
    }

    /// Whether an image without a valid signature is refused. It is where there are keys.
    pub fn is_required(&self) -> bool {
        !self.keys.is_empty()
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

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::SimpleSigning => "simple signing",
            Form::Bundle => "a bundle",
        };
        write!(f, "signed by {} ({form})", self.key)
    }
}
