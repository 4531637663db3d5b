// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sigstore bundles, version 0.3, as cosign 3 attaches them: a DSSE envelope (protocol version
//! 1.0.2) around an in-toto statement (v1) that approves of an image. Of a bundle's
//! verification material nothing is looked at: only the host's keys count.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::BUNDLE_TYPE;
use super::{Flaw, Key};
use crate::Digest;

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
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

/// A DSSE envelope.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What is signed, in base64.
    pub payload: String,
    /// What that is.
    pub payload_type: String,
    /// In a bundle exactly one.
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
    pub subject: Vec<Subject>,
    /// What it says of that.
    pub predicate_type: String,
    /// The details.
    #[serde(default)]
    pub predicate: serde_json::Value,
}

/// What a statement is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Subject {
    /// Hashes by algorithm, in hex.
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
            predicate: serde_json::json!({}),
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
        return Err(Flaw::OtherKind(format!("a {:?}", bundle.media_type)));
    }
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => {
            let (key, statement) = open(&envelope, keys)?;
            check_statement(&statement, subject)?;
            Ok(key)
        }
        (None, Some(message)) => Err(judge_message(&message, keys)?),
        _ => Err(malformed("it does not hold one content")),
    }
}

fn malformed(error: impl ToString) -> Flaw {
    Flaw::Malformed(error.to_string())
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
        return Err(Flaw::OtherKind(format!("a {:?}", envelope.payload_type)));
    }
    Ok((key, serde_json::from_slice(&payload).map_err(malformed)?))
}

fn check_statement(statement: &Statement, subject: &Digest) -> Result<(), Flaw> {
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return Err(Flaw::OtherKind(format!("a statement {:?}", statement.predicate_type)));
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
