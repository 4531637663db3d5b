// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures of an image, as they say of themselves whose they are. None of it is verified.

use std::fmt;

use flipside_image::signature::{bundle, simple};
use flipside_image::{Digest, printable};
use flipside_source::signatures::all;
use flipside_source::{Signature, Source, SourceError};
use serde::Serialize;

/// The most characters of a name that somebody else chose.
const SHOWN: usize = 200;

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureInspection {
    /// What it is for: the image, or the index that lists it.
    pub subject: Digest,
    /// `simple-signing` or `sigstore-bundle`.
    pub form: &'static str,
    /// The repository that it names; only simple signing names one.
    pub identity: Option<String>,
    /// By which key it says that it is made: the SHA-256 of the public key's DER, or as much as it
    /// says.
    pub key: Option<String>,
    /// Whether it brings a certificate, which flipside does not look at.
    pub certificate: bool,
}

/// The signatures of what `source` names, and of the `image` in it.
///
/// # Errors
/// Who does not answer.
pub fn inspect_signatures(
    source: &dyn Source,
    image: &Digest,
) -> Result<Vec<SignatureInspection>, SourceError> {
    let top = source.resolve()?;
    let index = Some(top).filter(|top| top != image);
    let mut found = Vec::new();
    for subject in std::iter::once(*image).chain(index) {
        found.extend(all(source, &subject)?.iter().filter_map(|one| inspect(one, subject)));
    }
    Ok(found)
}

/// `None` of what signs no image, such as a statement about how one was built.
fn inspect(signature: &Signature, subject: Digest) -> Option<SignatureInspection> {
    let shown = |text: &str| printable::line(text, SHOWN);
    match signature {
        Signature::Simple { payload, annotations } => {
            let payload: Option<simple::Payload> = serde_json::from_slice(payload).ok();
            Some(SignatureInspection {
                subject,
                form: "simple-signing",
                identity: payload.map(|payload| shown(payload.identity())),
                key: None,
                certificate: annotations.contains_key(simple::CERTIFICATE_ANNOTATION),
            })
        }
        Signature::Bundle { bundle, .. } => {
            let claims = bundle::claims(bundle)?;
            Some(SignatureInspection {
                subject,
                form: "sigstore-bundle",
                identity: None,
                key: claims.key.map(|key| shown(&key)),
                certificate: claims.has_certificate,
            })
        }
        Signature::Unreadable { .. } => None,
    }
}

/// `simple-signing for registry.example.com/acme/edge (not verified)`.
impl fmt::Display for SignatureInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form)?;
        if let Some(identity) = &self.identity {
            write!(f, " for {identity}")?;
        }
        match (&self.key, self.certificate) {
            (Some(key), _) => {
                let digest = key.parse::<Digest>();
                write!(f, " by key {}", digest.map_or_else(|_| key.clone(), |key| key.short()))?;
            }
            (None, true) => f.write_str(" by a certificate")?,
            (None, false) => {}
        }
        f.write_str(" (not verified)")
    }
}
