// SPDX-License-Identifier: MIT OR Apache-2.0

//! The two forms of a signature, made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flipside_image::Digest;
use flipside_image::signature::bundle::{
    Envelope, EnvelopeSignature, PAYLOAD_TYPE, PREDICATE_TYPE, Statement,
    pre_authentication_encoding,
};
use flipside_image::signature::simple::Payload;
use flipside_source::Signature;
use flipside_source::signatures::{BUNDLE_TYPE, SIGNATURE_ANNOTATION};
use serde_json::json;

use super::PrivateKey;

/// Signs the image `subject` of the repository `identity` by simple signing.
///
/// # Errors
/// In words; it does not happen.
pub fn simple(key: &PrivateKey, subject: &Digest, identity: &str) -> Result<Signature, String> {
    let payload = to_json(&Payload::new(subject, identity))?;
    let signature = STANDARD.encode(key.sign(&payload)?);
    let annotations = [(SIGNATURE_ANNOTATION.to_owned(), signature)].into();
    Ok(Signature::Simple { payload, annotations })
}

/// Signs the image `subject` with a Sigstore bundle.
///
/// # Errors
/// In words; it does not happen.
pub fn bundle(key: &PrivateKey, subject: &Digest) -> Result<Signature, String> {
    let payload = to_json(&Statement::new(subject))?;
    let signature = key.sign(&pre_authentication_encoding(PAYLOAD_TYPE, &payload))?;
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![EnvelopeSignature { sig: STANDARD.encode(signature) }],
    };
    let bundle = json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": { "hint": STANDARD.encode(key.public().hint().as_bytes()) },
        },
        "dsseEnvelope": envelope,
    });
    // As cosign annotates the manifest that holds one.
    let annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", PREDICATE_TYPE),
    ];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Ok(Signature::Bundle { bundle: to_json(&bundle)?, annotations })
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| format!("it cannot be written as JSON: {error}"))
}
