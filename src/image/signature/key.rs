// SPDX-License-Identifier: MIT OR Apache-2.0

//! Public keys: PEM with a SubjectPublicKeyInfo (RFC 5480, RFC 8410, RFC 7468 section 13), as
//! `cosign public-key` and `openssl pkey -pubout` write them.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::{self, PemObject as _};

use crate::Digest;

/// What stands before the 65 bytes of an uncompressed point: id-ecPublicKey, prime256v1.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What stands before the 32 bytes of an Ed25519 key.
const ED: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that is trusted.
#[derive(Debug, Clone)]
pub struct Key {
    /// What it is called: the name of its file without `.pub`.
    pub name: String,
    /// The key.
    pub public: PublicKey,
}

/// A public key that verifies signatures: ECDSA with P-256 and SHA-256, or Ed25519.
#[derive(Clone)]
pub struct PublicKey {
    parsed: ParsedPublicKey,
    der: Vec<u8>,
}

impl PublicKey {
    /// Reads the only public key of a PEM file.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let mut found = SubjectPublicKeyInfoDer::pem_slice_iter(text);
        let malformed = |error: pem::Error| format!("it is no PEM file: {error}");
        let key = match found.next() {
            Some(key) => key.map_err(malformed)?,
            None if is_private(text) => return Err("it is a private key".to_owned()),
            None => return Err("it has no part PUBLIC KEY".to_owned()),
        };
        match found.next() {
            None => Self::from_der(&key),
            Some(_) => Err("it holds more than one key; a file is for one".to_owned()),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER. Only one encoding of each key is known.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let parsed = if let Some(point) = der.strip_prefix(P256).filter(|p| p.len() == 65) {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        } else if let Some(key) = der.strip_prefix(ED).filter(|k| k.len() == 32) {
            ParsedPublicKey::new(&ED25519, key)
        } else {
            return Err("it is neither an ECDSA P-256 key nor an Ed25519 key".to_owned());
        };
        let parsed = parsed.map_err(|error| format!("it is no such key: {error}"))?;
        Ok(Self { parsed, der: der.to_owned() })
    }

    /// The public half of an ECDSA P-256 key pair, an uncompressed point.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn from_p256(point: &[u8]) -> Result<Self, String> {
        Self::from_der(&[P256, point].concat())
    }

    /// The public half of an Ed25519 key pair.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn from_ed25519(key: &[u8]) -> Result<Self, String> {
        Self::from_der(&[ED, key].concat())
    }

    /// What the file of this key holds.
    pub fn to_pem(&self) -> String {
        to_pem("PUBLIC KEY", &self.der)
    }

    /// By what a bundle says which key made it: the SHA-256 of the key's DER.
    pub fn hint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Whether this key made `signature` over `message`. ECDSA signatures are in DER.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// The same of a message that is known by its SHA-256; `false` for Ed25519, which signs no
    /// digests.
    pub fn has_signed_digest(&self, sha256: &[u8; 32], signature: &[u8]) -> bool {
        let algorithm = &aws_lc_rs::digest::SHA256;
        aws_lc_rs::digest::Digest::import_less_safe(sha256, algorithm)
            .is_ok_and(|digest| self.parsed.verify_digest_sig(&digest, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.hint().short()).finish()
    }
}

/// PEM (RFC 7468) of one part.
pub fn to_pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (nth, character) in base64.chars().enumerate() {
        if nth > 0 && nth % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

fn is_private(text: &[u8]) -> bool {
    let mark = b"PRIVATE KEY-----";
    text.windows(mark.len()).any(|part| part == mark)
}
