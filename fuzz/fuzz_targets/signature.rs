// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a registry gives for a signature: none of it is valid, and none ends the program. The first
//! byte chooses the form; a bundle's content comes whole, or as what a good signature is over.

#![no_main]

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flipside_image::Digest;
use flipside_image::signature::bundle::{PAYLOAD_TYPE, pre_authentication_encoding};
use flipside_image::signature::{Key, PublicKey, Verifier};
use flipside_source::Signature;
use flipside_source::signatures::{BUNDLE_TYPE, SIGNATURE_ANNOTATION};
use libfuzzer_sys::fuzz_target;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key")
}

fn verifier() -> Verifier {
    let public = PublicKey::from_ed25519(key().public_key().as_ref()).expect("a key");
    let identity = "r.example/a:1".parse().expect("a reference");
    Verifier::new(vec![Key { name: "a".to_owned(), public }], vec![identity])
}

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static VERIFIER: Verifier = verifier());
    let Some((form, content)) = bytes.split_first() else { return };
    let subject = Digest::of(b"an image that nobody names by chance");
    let none = BTreeMap::new();
    let signature = match form % 4 {
        0 => Signature::Simple { payload: content.to_vec(), annotations: none },
        // Well signed: what is fuzzed is what it says.
        1 => {
            let signature = STANDARD.encode(key().sign(content));
            let annotations = [(SIGNATURE_ANNOTATION.to_owned(), signature)].into();
            Signature::Simple { payload: content.to_vec(), annotations }
        }
        2 => Signature::Bundle { bundle: content.to_vec(), annotations: none },
        _ => {
            let signature = key().sign(&pre_authentication_encoding(PAYLOAD_TYPE, content));
            let bundle = format!(
                r#"{{"mediaType":"{BUNDLE_TYPE}","dsseEnvelope":{{"payload":"{}",
                "payloadType":"{PAYLOAD_TYPE}","signatures":[{{"sig":"{}"}}]}}}}"#,
                STANDARD.encode(content),
                STANDARD.encode(signature),
            );
            Signature::Bundle { bundle: bundle.into_bytes(), annotations: none }
        }
    };
    VERIFIER.with(|verifier| assert!(verifier.check(&subject, &signature).is_err()));
});
