// SPDX-License-Identifier: MIT OR Apache-2.0

//! Certificates (X.509, RFC 5280), as far as firmware looks at them.

use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate, X509Name};

use super::algorithm::{Answer, Hash, RSA, has_signed, hash_of_signature};
use crate::der::dotted;
use crate::printable;

/// How much of a name is shown, in characters.
const SHOWN: usize = 80;

/// A certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    /// Reads one; what follows it is not looked at.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        X509Certificate::from_der(der).ok().map(|(_, certificate)| Self(certificate))
    }

    pub(super) fn is(&self, other: &Certificate<'_>) -> bool {
        self.0.as_raw() == other.0.as_raw()
    }

    /// Whether a signature names it by its issuer and its serial number, both in DER.
    pub(super) fn is_named(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.0.issuer().as_raw() == issuer && self.0.tbs_certificate.raw_serial() == serial
    }

    /// The hash of what its issuer signed.
    pub(super) fn tbs_hash(&self, hash: Hash) -> aws_lc_rs::digest::Digest {
        hash.of(self.0.tbs_certificate.as_ref())
    }

    /// What it is called, for people.
    pub(super) fn name(&self) -> String {
        name(self.0.subject())
    }

    /// Whether its key made `signature` over `message`, where that was hashed by `hash`.
    pub(super) fn has_signed(&self, hash: Hash, message: &[u8], signature: &[u8]) -> Answer {
        let key = self.0.public_key();
        match key.algorithm.algorithm.as_bytes() {
            RSA => Answer::of(has_signed(&key.subject_public_key.data, hash, message, signature)),
            other => Answer::Unknown(format!("a key of the kind {}", dotted(other))),
        }
    }

    /// Whether this certificate was issued by `issuer`, which may be itself.
    pub(super) fn is_issued_by(&self, issuer: &Certificate<'_>) -> Answer {
        if !is_same_name(self.0.issuer(), issuer.0.subject()) || !issuer.may_issue() {
            return Answer::No;
        }
        let object = self.0.signature_algorithm.algorithm.as_bytes();
        let Some(hash) = hash_of_signature(object) else {
            return Answer::Unknown(format!("the signature algorithm {}", dotted(object)));
        };
        issuer.has_signed(hash, self.0.tbs_certificate.as_ref(), &self.0.signature_value.data)
    }

    /// Not where its basic constraints (RFC 5280, section 4.2.1.9) say that it is no authority's.
    fn may_issue(&self) -> bool {
        self.0.extensions().iter().all(|extension| match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => constraints.ca,
            _ => true,
        })
    }
}

/// The name of an issuer in DER, for people.
pub(super) fn name_of(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(|_| "somebody".to_owned(), |(_, found)| name(&found))
}

fn name(name: &X509Name<'_>) -> String {
    let best = name.iter_common_name().chain(name.iter_organizational_unit());
    let mut texts = best.chain(name.iter_organization()).chain(name.iter_attributes());
    let text = texts.find_map(|attribute| attribute.as_str().ok()).unwrap_or_default();
    match printable::line(text, SHOWN) {
        text if text.is_empty() => "a certificate without a name".to_owned(),
        text => text,
    }
}

/// Whether two names are one (RFC 5280, section 7.1): neither the kinds of their strings count, nor
/// upper and lower case, nor how many spaces there are.
fn is_same_name(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw() || canonical(one) == canonical(other)
}

fn canonical(name: &X509Name<'_>) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let attributes = name.iter_attributes().map(|attribute| {
        let words = attribute.as_slice().split(|byte| byte.is_ascii_whitespace());
        let words = words.filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase);
        (attribute.attr_type().as_bytes().to_vec(), words.collect())
    });
    attributes.collect()
}
