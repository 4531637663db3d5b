// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simple signing: a JSON payload that names the image and its repository, and a signature
//! over its bytes (cosign's `SIGNATURE_SPEC.md`; containers-signature(5)).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};

use super::SIGNATURE_ANNOTATION;
use super::{Flaw, Key};
use crate::Digest;
use crate::bounded::Anything;
use crate::reference::Reference;

/// The annotation of a layer by which cosign brings a certificate (`SIGNATURE_SPEC.md`).
pub const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";

/// What `critical.type` says.
const TYPE: &str = "cosign container image signature";

/// What is signed. Members of `critical` that are not known here make it invalid, as
/// containers-signature(5) demands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    critical: Critical,
    /// Claims that bind nobody.
    #[serde(default)]
    optional: Claims,
}

/// Read as anything at all, written as `null`.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
struct Claims(Anything);

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Payload {
    /// The payload for the image `subject` of the repository `identity`.
    pub fn new(subject: &Digest, identity: &str) -> Self {
        let identity = Identity { reference: identity.to_owned() };
        let image = Image { digest: subject.to_string() };
        let critical = Critical { identity, image, kind: TYPE.to_owned() };
        Self { critical, optional: Claims::default() }
    }

    /// What it says that it is for. Nothing about it has been verified.
    pub fn subject(&self) -> Option<Digest> {
        self.critical.image.digest.parse().ok()
    }

    /// The repository that it names. Nothing about it has been verified.
    pub fn identity(&self) -> &str {
        &self.critical.identity.reference
    }
}

/// Finds the key that signed `payload`, and then lets `accept` judge what it says.
pub(super) fn check<'k>(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    keys: &'k [Key],
    accept: impl FnOnce(&Payload) -> Result<(), Flaw>,
) -> Result<&'k Key, Flaw> {
    let malformed = |what: String| Flaw::Malformed(what);
    let signature = annotations.get(SIGNATURE_ANNOTATION).map_or("", String::as_str);
    if signature.is_empty() {
        return Err(Flaw::Empty);
    }
    let signature =
        STANDARD.decode(signature).map_err(|e| malformed(format!("its base64 is not: {e}")))?;
    let key = keys.iter().find(|key| key.public.has_signed(payload, &signature));
    let key = key.ok_or(Flaw::UnknownKey)?;
    let payload: Payload = serde_json::from_slice(payload).map_err(|e| malformed(e.to_string()))?;
    if payload.critical.kind != TYPE {
        return Err(Flaw::OtherKind(payload.critical.kind));
    }
    accept(&payload)?;
    Ok(key)
}

pub(super) fn check_subject(payload: &Payload, subject: &Digest) -> Result<(), Flaw> {
    match &payload.critical.image.digest {
        digest if *digest == subject.to_string() => Ok(()),
        other => Err(Flaw::OtherDigest(other.clone())),
    }
}

/// The repository alone counts: a tag moves, and the digest is named anyway.
pub(super) fn check_identity(payload: &Payload, expected: &[Reference]) -> Result<(), Flaw> {
    let signed = &payload.critical.identity.reference;
    if expected.is_empty() {
        return Err(Flaw::NoIdentity(signed.clone()));
    }
    let repository = signed.parse::<Reference>().map(|reference| reference.full_repository());
    match repository {
        Ok(signed) if expected.iter().any(|e| e.full_repository() == signed) => Ok(()),
        _ => Err(Flaw::OtherIdentity(signed.clone())),
    }
}
