// SPDX-License-Identifier: MIT OR Apache-2.0

//! Did the owner of this host approve of an image? By cosign's signatures with keys, in both
//! of its forms: simple signing, and the Sigstore bundle.
//!
//! One valid signature by one of the host's keys over the right thing suffices. Whatever
//! stands beside it neither helps nor harms; certificates and transparency logs are not
//! looked at. What a signature says is read only after it was verified.

use crate::config::{Config, SignatureMode};
use crate::host::Root;
use crate::source::{Location, Reference};

pub mod bundle;
mod error;
mod flaw;
mod key;
mod keys;
pub mod simple;
mod verifier;

pub use error::KeyError;
pub use flaw::Flaw;
pub use key::{Key, PublicKey, to_pem};
pub use keys::DIRECTORY;
pub use verifier::{Form, Signed, Verifier};

/// What this host verifies signatures with: its keys, except where they are not wanted. Opened
/// once, before anything is asked.
///
/// # Errors
/// [`KeyError`]: a key that cannot be used, and none at all where signatures are required; a
/// setting that names no repository.
pub fn open(root: &Root, config: &Config) -> Result<Verifier, KeyError> {
    let mode = config.policy.signature.mode;
    let keys = match mode {
        SignatureMode::Off => Vec::new(),
        SignatureMode::Auto | SignatureMode::Require => keys::read(root)?,
    };
    if mode == SignatureMode::Require && keys.is_empty() {
        return Err(KeyError::None);
    }
    Ok(Verifier::new(keys, identities(config)?))
}

/// The tracked repository, which its mirrors count as, or the one that is configured.
fn identities(config: &Config) -> Result<Vec<Reference>, KeyError> {
    if let Some(identity) = &config.policy.signature.identity {
        return match identity.parse() {
            Ok(reference) => Ok(vec![reference]),
            Err(source) => Err(KeyError::Identity { source }),
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
