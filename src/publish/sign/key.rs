// SPDX-License-Identifier: MIT OR Apache-2.0

//! Private keys: unencrypted PKCS#8 in PEM (RFC 5958, RFC 7468), as `openssl genpkey` writes
//! them, and EC keys of older tools (RFC 5915).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use flipside_image::signature::{PublicKey, to_pem};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

/// What kinds of keys there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA with P-256 and SHA-256, which cosign makes.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

/// A key that signs.
#[derive(Debug)]
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// In words, why this machine can make none.
    pub fn generate(kind: KeyKind) -> Result<Self, String> {
        let failed = |error: aws_lc_rs::error::Unspecified| format!("no key can be made: {error}");
        Self::of(match kind {
            KeyKind::EcdsaP256 => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                Pair::P256(EcdsaKeyPair::generate(algorithm).map_err(failed)?)
            }
            KeyKind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        })
    }

    /// Reads the first private key of a PEM file.
    ///
    /// # Errors
    /// In words, what is wrong with it; never what it holds.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let is_encrypted = String::from_utf8_lossy(text).contains("ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| match is_encrypted {
            true => "it is encrypted; `openssl pkey -in FILE -out PLAIN` decrypts what openssl \
                     encrypted, and `cosign sign` signs with what cosign did"
                .to_owned(),
            false => format!("it holds no private key in PEM: {error}"),
        })?;
        let der = key.secret_der();
        let p256 = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        let pair = match (p256, Ed25519KeyPair::from_pkcs8(der)) {
            (Ok(pair), _) => Pair::P256(pair),
            (_, Ok(pair)) => Pair::Ed25519(pair),
            _ => return Err("it is neither an ECDSA P-256 key nor an Ed25519 key".to_owned()),
        };
        Self::of(pair)
    }

    fn of(pair: Pair) -> Result<Self, String> {
        let public = match &pair {
            Pair::P256(pair) => PublicKey::from_p256(pair.public_key().as_ref()),
            Pair::Ed25519(pair) => PublicKey::from_ed25519(pair.public_key().as_ref()),
        };
        Ok(Self { public: public?, pair })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What a file of this key holds: PKCS#8 in PEM, unencrypted.
    ///
    /// # Errors
    /// In words; it does not happen.
    pub fn to_pem(&self) -> Result<String, String> {
        let document = match &self.pair {
            Pair::P256(pair) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        let document = document.map_err(|error| format!("the key cannot be written: {error}"))?;
        Ok(to_pem("PRIVATE KEY", document.as_ref()))
    }

    /// A signature over `message`; of ECDSA in DER.
    ///
    /// # Errors
    /// In words; it does not happen.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message),
            Pair::Ed25519(pair) => pair.try_sign(message),
        };
        let signature = signature.map_err(|error| format!("the key does not sign: {error}"))?;
        Ok(signature.as_ref().to_vec())
    }
}
