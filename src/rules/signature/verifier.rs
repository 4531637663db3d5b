// SPDX-License-Identifier: MIT OR Apache-2.0

//! What this host verifies signatures with: its keys, and the repository that it follows.

use super::keys;
use crate::config::form::Address;
use crate::config::{Config, SignatureMode};
use crate::error::Error;
use flipside_core::host::Root;
use flipside_image::signature::Verifier;
use flipside_source::{Location, Reference};

/// What this host verifies signatures with: its keys, except where they are not wanted. Opened
/// once, before anything is asked.
///
/// # Errors
/// [`Error`]: a key that cannot be used, and none at all where signatures are required; a
/// setting that names no repository.
pub fn open(root: &Root, config: &Config) -> Result<Verifier, Error> {
    let mode = config.policy.signature.mode;
    let keys = match mode {
        SignatureMode::Off => Vec::new(),
        SignatureMode::Auto | SignatureMode::Require => keys::read(root)?,
    };
    if mode == SignatureMode::Require && keys.is_empty() {
        return Err(Error::NoKeys);
    }
    Ok(Verifier::new(keys, identities(config)?))
}

/// The tracked repository, which its mirrors count as, or the one that is configured.
fn identities(config: &Config) -> Result<Vec<Reference>, Error> {
    if let Some(identity) = &config.policy.signature.identity {
        return match identity.parse() {
            Ok(reference) => Ok(vec![reference]),
            Err(source) => Err(Error::Identity { source }),
        };
    }
    let image = config.track.image.as_deref().map(str::parse);
    let Some(Ok(Location::Registry(tracked))) = image else { return Ok(Vec::new()) };
    let at_mirror = |mirror: &Address| {
        let mirror: &str = mirror;
        let place = mirror.strip_prefix("https://").unwrap_or(mirror).trim_end_matches('/');
        format!("{place}/{}", tracked.repository()).parse().ok()
    };
    let mirrors: Vec<Reference> = config.track.mirrors.iter().filter_map(at_mirror).collect();
    Ok(std::iter::once(tracked).chain(mirrors).collect())
}
