// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sigstore bundles, version 0.3, as cosign 3 attaches them: a DSSE envelope (protocol version
//! 1.0.2) around an in-toto statement (v1) that approves of an image. Only the host's keys count:
//! a bundle's verification material says at most that it is worth no long look.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use super::BUNDLE_TYPE;
use super::{Flaw, Key};
use crate::Digest;
use crate::bounded::{self, Anything};
use crate::printable;

/// What the envelope holds.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The version of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What a statement says that signs an image. Others, such as those of provenance, say
/// something about it.
pub const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: Option<Material>,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

/// What the bundle says about who made it. Anybody can write anything here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default)]
    public_key: Option<KeyHint>,
    #[serde(default)]
    certificate: Option<Anything>,
    #[serde(default)]
    x509_certificate_chain: Option<Anything>,
}

#[derive(Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

/// Whose a bundle says that it is. Nothing about it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The key: the SHA-256 of its DER, as a digest, where it is named as cosign names keys.
    pub key: Option<String>,
    /// Whether a certificate comes with it.
    pub has_certificate: bool,
}

/// The most signatures in an envelope that are read, to say that there is more than one.
const SIGNATURES: usize = 16;
/// The most subjects of a statement, and the most hashes of one.
const SUBJECTS: usize = 1000;
const HASHES: usize = 16;
/// The most characters of somebody else's text that a flaw repeats.
const TOLD: usize = 160;

/// A DSSE envelope.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What is signed, in base64.
    pub payload: String,
    /// What that is.
    pub payload_type: String,
    /// In a bundle exactly one.
    #[serde(deserialize_with = "bounded::list::<SIGNATURES, _, _>")]
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature in an envelope.
#[derive(Debug, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// In base64.
    pub sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

/// An in-toto statement.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about.
    #[serde(deserialize_with = "bounded::list::<SUBJECTS, _, _>")]
    pub subject: Vec<Subject>,
    /// What it says of that.
    pub predicate_type: String,
    /// The details, which say nothing to flipside.
    #[serde(default)]
    predicate: Details,
}

/// Read as anything at all, written as `{}`.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
struct Details(Anything);

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

/// What a statement is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Subject {
    /// Hashes by algorithm, in hex.
    #[serde(deserialize_with = "bounded::map::<HASHES, _, _>")]
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// The statement that signs the image `subject`.
    pub fn new(subject: &Digest) -> Self {
        let digest = [("sha256".to_owned(), subject.hex())].into();
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { digest }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Details::default(),
        }
    }
}

/// What a DSSE signature is over (DSSE protocol, "Signature Definition").
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let mut encoding = std::mem::take(&mut bytes).into_bytes();
    encoding.extend_from_slice(payload);
    encoding
}

/// Finds the key that signed what is in `bundle`, and that it approves of `subject`.
pub(super) fn check<'k>(bundle: &[u8], keys: &'k [Key], subject: &Digest) -> Result<&'k Key, Flaw> {
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(malformed)?;
    if bundle.media_type != BUNDLE_TYPE {
        return Err(other_kind("a", &bundle.media_type));
    }
    let names_other_key = bundle.verification_material.is_some_and(|m| m.names_other_key(keys));
    let checked = match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => open(&envelope, keys)
            .and_then(|(key, statement)| check_statement(&statement, subject).map(|()| key)),
        (None, Some(message)) => judge_message(&message, keys).and_then(Err),
        _ => Err(malformed("it does not hold one content")),
    };
    checked.map_err(|flaw| match flaw {
        // Not before: other tools may have another way to name a key.
        Flaw::UnknownKey if names_other_key => Flaw::OtherKey,
        flaw => flaw,
    })
}

/// What `bundle` says of itself; `None` where it approves of no image.
pub fn claims(bundle: &[u8]) -> Option<Claims> {
    let bundle: Bundle = serde_json::from_slice(bundle).ok()?;
    let payload = decode(&bundle.dsse_envelope?.payload).ok()?;
    let statement: Statement = serde_json::from_slice(&payload).ok()?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return None;
    }
    let material = bundle.verification_material;
    let key = material.as_ref().and_then(|material| Some(&material.public_key.as_ref()?.hint));
    let key = key.filter(|hint| !hint.is_empty()).map(|hint| match hash_of(hint) {
        Some(hash) => Digest::from_bytes(hash).to_string(),
        None => hint.clone(),
    });
    let has_certificate = material.is_some_and(|material| material.has_certificate());
    Some(Claims { key, has_certificate })
}

/// The hash that a hint is, as cosign writes hints.
fn hash_of(hint: &str) -> Option<[u8; 32]> {
    STANDARD.decode(hint).ok()?.try_into().ok()
}

impl Material {
    fn has_certificate(&self) -> bool {
        self.certificate.is_some() || self.x509_certificate_chain.is_some()
    }

    /// Whether a certificate is named, or a key as cosign names keys, and none of `keys`.
    fn names_other_key(&self, keys: &[Key]) -> bool {
        match &self.public_key {
            Some(KeyHint { hint }) => hash_of(hint)
                .is_some_and(|hash| keys.iter().all(|key| *key.public.hint().as_bytes() != hash)),
            None => self.has_certificate(),
        }
    }
}

fn malformed(error: impl ToString) -> Flaw {
    Flaw::Malformed(printable::line(&error.to_string(), TOLD))
}

/// The type of something else, as far as it is worth telling.
fn other_kind(what: &str, kind: &str) -> Flaw {
    Flaw::OtherKind(format!("{what} {:?}", kind.chars().take(TOLD).collect::<String>()))
}

fn decode(text: &str) -> Result<Vec<u8>, Flaw> {
    if text.is_empty() {
        return Err(Flaw::Empty);
    }
    STANDARD.decode(text).map_err(|error| malformed(format!("its base64 is not: {error}")))
}

/// The statement in an envelope, and the key that signed it.
fn open<'k>(envelope: &Envelope, keys: &'k [Key]) -> Result<(&'k Key, Statement), Flaw> {
    let signature = match envelope.signatures.as_slice() {
        [only] => decode(&only.sig)?,
        [] => return Err(Flaw::Empty),
        _ => return Err(malformed("it holds more than one signature")),
    };
    let payload = decode(&envelope.payload)?;
    let signed = pre_authentication_encoding(&envelope.payload_type, &payload);
    let key = keys.iter().find(|key| key.public.has_signed(&signed, &signature));
    let key = key.ok_or(Flaw::UnknownKey)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(other_kind("a", &envelope.payload_type));
    }
    Ok((key, serde_json::from_slice(&payload).map_err(malformed)?))
}

fn check_statement(statement: &Statement, subject: &Digest) -> Result<(), Flaw> {
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return Err(other_kind("a statement", &statement.predicate_type));
    }
    let hashes = || statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
    if hashes().any(|hash| *hash == subject.hex()) {
        return Ok(());
    }
    Err(Flaw::OtherDigest(
        hashes().next().map_or_else(String::new, |hash| format!("sha256:{hash}")),
    ))
}

/// Why a signature of a file, as `cosign sign-blob` makes it, signs no image: also a good one
/// over the manifest's bytes says no more than that somebody had them.
fn judge_message(message: &MessageSignature, keys: &[Key]) -> Result<Flaw, Flaw> {
    let signature = decode(&message.signature)?;
    let digest: [u8; 32] = decode(&message.message_digest.digest)?
        .try_into()
        .map_err(|_| malformed("its digest is no SHA-256"))?;
    if message.message_digest.algorithm != "SHA2_256" {
        return Err(malformed("its digest is no SHA-256"));
    }
    match keys.iter().any(|key| key.public.has_signed_digest(&digest, &signature)) {
        true => Ok(Flaw::OtherKind("the signature of a file".to_owned())),
        false => Err(Flaw::UnknownKey),
    }
}
