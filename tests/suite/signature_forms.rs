// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which signatures are valid: those of other tools, and every way to be wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flipside::config::form::Address;
use flipside_image::Digest;
use flipside_image::signature::bundle::pre_authentication_encoding;
use flipside_image::signature::{Flaw, Form, Signed, Verifier};
use flipside_publish::sign::{KeyKind, PrivateKey, bundle, simple};
use flipside_source::Signature;
use flipside_source::signatures::{BUNDLE_TYPE, SIGNATURE_ANNOTATION};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::keys::{new_key, verifier};
use crate::support::registry::fixture;

/// The repository that cosign's fixtures name.
const COSIGN: &str = "192.168.64.2:5000/cosign-signed-single-sample";
/// The one that these tests sign for.
const TRACKED: &str = "r.example/acme/edge:stable";

fn path(name: &str) -> PathBuf {
    fixture("cosign").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// A signature in the files of the containers-image library.
fn stored(name: &str) -> Signature {
    let bytes = std::fs::read(path(name)).unwrap();
    let json = bytes.strip_prefix(b"\0sigstore-json\n").unwrap();
    let json: Value = serde_json::from_slice(json).unwrap();
    Signature::Simple {
        payload: STANDARD.decode(json["payload"].as_str().unwrap()).unwrap(),
        annotations: serde_json::from_value(json["annotations"].clone()).unwrap(),
    }
}

fn manifest(name: &str) -> Digest {
    Digest::of(&std::fs::read(path(&format!("{name}/manifest.json"))).unwrap())
}

/// In one word, what was said of a signature.
fn verdict(checked: Result<Signed, Flaw>) -> &'static str {
    match checked {
        Ok(Signed { form: Form::SimpleSigning, .. }) => "simple",
        Ok(Signed { form: Form::Bundle, .. }) => "bundle",
        Err(Flaw::Unreadable(_)) => "unreadable",
        Err(Flaw::Empty) => "empty",
        Err(Flaw::Malformed(_)) => "malformed",
        Err(Flaw::UnknownKey | Flaw::OtherKey) => "unknown key",
        Err(Flaw::OtherKind(_)) => "kind",
        Err(Flaw::OtherDigest(_)) => "digest",
        Err(Flaw::OtherIdentity(_)) => "identity",
        Err(Flaw::NamesNoRepository) => "no repository",
        Err(Flaw::NoIdentity(_)) => "no identity",
    }
}

#[test]
fn signatures_that_cosign_made_are_valid_or_refused_for_the_right_reason() {
    let host = |image: &str| verifier(&[&text("cosign.pub")], image, |_| {});
    let tracked = host(&format!("{COSIGN}:latest"));
    for (signature, image, expected) in [
        ("valid/signature-1", "valid", "simple"),
        ("modified-manifest/signature-1", "modified-manifest", "digest"),
        ("mixed/signature-1", "mixed", "unknown key"),
        ("mixed/signature-2", "mixed", "simple"),
        ("unknown-cosign-key.signature", "valid", "unknown key"),
    ] {
        let checked = tracked.check(&manifest(image), &stored(signature));
        assert_eq!(verdict(checked), expected, "{signature}");
    }
    let by_nobody = verifier(&[&text("bundles/managed-key-happy-path/key.pub")], COSIGN, |_| {});
    let valid = stored("valid/signature-1");
    assert_eq!(verdict(by_nobody.check(&manifest("valid"), &valid)), "unknown key");
}

#[test]
fn simple_signing_is_for_the_tracked_repository_a_mirror_of_it_or_the_configured_one() {
    let (key, image, signature) =
        (text("cosign.pub"), manifest("valid"), stored("valid/signature-1"));
    for (tracked, mirrors, identity, expected) in [
        (format!("{COSIGN}:x"), &[][..], None, "simple"),
        (format!("{COSIGN}@{image}"), &[], None, "simple"),
        ("r.example/cosign-signed-single-sample".into(), &[], None, "identity"),
        ("192.168.64.2:5000/other".into(), &[], None, "identity"),
        ("192.168.64.2/cosign-signed-single-sample".into(), &[], None, "identity"),
        (format!("{COSIGN}/x"), &[], None, "identity"),
        ("r.example/cosign-signed-single-sample".into(), &["192.168.64.2:5000"], None, "simple"),
        (
            "r.example/cosign-signed-single-sample".into(),
            &["https://192.168.64.2:5000/"],
            None,
            "simple",
        ),
        (
            "r.example/cosign-signed-single-sample".into(),
            &["192.168.64.2:5000/x"],
            None,
            "identity",
        ),
        ("r.example/a".into(), &[], Some(COSIGN), "simple"),
        (format!("{COSIGN}:x"), &[], Some("r.example/a"), "identity"),
        ("oci:/srv/image".into(), &[], None, "no identity"),
        ("oci:/srv/image".into(), &[], Some(COSIGN), "simple"),
    ] {
        let host = verifier(&[&key], &tracked, |config| {
            config.track.mirrors =
                mirrors.iter().map(|&mirror| Address(mirror.to_owned())).collect();
            config.policy.signature.identity =
                identity.map(|identity| Address(identity.to_owned()));
        });
        assert_eq!(verdict(host.check(&image, &signature)), expected, "{tracked} {mirrors:?}");
    }
}

#[test]
fn the_keys_of_a_host_hold_for_another_repository_where_that_is_asked() {
    let host = verifier(&[&text("cosign.pub")], TRACKED, |_| {});
    let (image, signature) = (manifest("valid"), stored("valid/signature-1"));
    assert_eq!(verdict(host.check(&image, &signature)), "identity");
    let other = host.of_repository(&format!("{COSIGN}:1").parse().unwrap());
    assert_eq!(verdict(other.check(&image, &signature)), "simple");
    assert!(other.is_required());
}

#[test]
fn bundles_of_the_conformance_suite_are_refused_for_the_right_reason() {
    // What the suite signs is a file; its certificates' key is the same in both.
    let subject = Digest::of(&std::fs::read(path("bundles/a.txt")).unwrap());
    let certified = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYH0amVHPMFhmTgPHQ0/1Yfb/romy\n\
        o3kt3fuf7xSMh2YloYdMvbtVQ5ST0hdyran+Ibs+tmywaJh5nrXOERpSsg==\n-----END PUBLIC KEY-----\n";
    let managed = text("bundles/managed-key-happy-path/key.pub");
    for (name, key, expected) in [
        // Signed well, but a statement of provenance; and nobody here knows its key.
        ("happy-path-intoto-in-dsse-v3", certified, "kind"),
        ("happy-path-intoto-in-dsse-v3", &managed, "unknown key"),
        ("dsse-invalid-sig_fail", certified, "unknown key"),
        // A good signature of a file.
        ("managed-key-happy-path", &managed, "kind"),
        ("managed-key-happy-path", certified, "unknown key"),
        ("managed-key-no-key_fail", certified, "unknown key"),
        ("managed-key-wrong-key_fail", certified, "unknown key"),
    ] {
        let bundle = std::fs::read(path(&format!("bundles/{name}/bundle.sigstore.json"))).unwrap();
        let signature = Signature::Bundle { bundle, annotations: BTreeMap::new() };
        let checked = verifier(&[key], TRACKED, |_| {}).check(&subject, &signature);
        assert_eq!(verdict(checked), expected, "{name}");
    }
}

/// A key, and a host that trusts it besides another one.
fn stage() -> (PrivateKey, Verifier) {
    let key = new_key();
    let pems = [new_key().public().to_pem(), key.public().to_pem()];
    (key, verifier(&[&pems[0], &pems[1]], TRACKED, |_| {}))
}

fn signed(key: &PrivateKey, payload: &[u8]) -> Signature {
    let signature = STANDARD.encode(key.sign(payload).unwrap());
    let annotations = [(SIGNATURE_ANNOTATION.to_owned(), signature)].into();
    Signature::Simple { payload: payload.to_vec(), annotations }
}

#[test]
fn what_is_made_here_is_valid_here() {
    let subject = Digest::of(b"image");
    for kind in [KeyKind::EcdsaP256, KeyKind::Ed25519] {
        let key = PrivateKey::generate(kind).unwrap();
        let host = verifier(&[&key.public().to_pem()], TRACKED, |_| {});
        let simple = simple(&key, &subject, "r.example/acme/edge").unwrap();
        let expected = Signed { key: "a".into(), form: Form::SimpleSigning };
        assert_eq!(host.check(&subject, &simple), Ok(expected));
        let bundle = bundle(&key, &subject).unwrap();
        let expected = Signed { key: "a".into(), form: Form::Bundle };
        assert_eq!(host.check(&subject, &bundle), Ok(expected));
        for signature in [simple, bundle] {
            assert_eq!(verdict(host.check(&Digest::of(b"other"), &signature)), "digest");
            let (_, stranger) = stage();
            assert_eq!(verdict(stranger.check(&subject, &signature)), "unknown key");
        }
    }
}

#[test]
fn a_signed_payload_that_says_something_else_is_refused() {
    let subject = Digest::of(b"image");
    let (key, host) = stage();
    let good = format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"r.example/acme/edge"}},
        "image":{{"docker-manifest-digest":"{subject}"}},
        "type":"cosign container image signature"}},"optional":null}}"#
    );
    let other = Digest::of(b"other").to_string();
    let cut = &subject.to_string()[..70];
    let upper = subject.hex().to_uppercase();
    for (from, to, expected) in [
        ("", "", "simple"),
        ("null", r#"{"creator":"x","timestamp":1}"#, "simple"),
        (r#","optional":null"#, "", "simple"),
        ("acme/edge", "acme/edge:stable", "simple"),
        ("acme/edge", "acme/edge:other", "simple"),
        ("r.example", "R.example", "simple"),
        ("acme/edge", "acme/edges", "identity"),
        ("r.example/acme/edge", "", "identity"),
        ("r.example/", "", "identity"),
        (&subject.to_string(), &other, "digest"),
        (&subject.to_string(), cut, "digest"),
        (&subject.to_string(), "", "digest"),
        (&subject.hex(), &upper, "digest"),
        ("cosign container", "atomic container", "kind"),
        ("cosign container image signature", "https://sigstore.dev/cosign/sign/v1", "kind"),
        (r#""type":"#, r#""must":1,"type":"#, "malformed"),
        (r#""docker-reference":"#, r#""x":1,"docker-reference":"#, "malformed"),
        (r#""docker-manifest"#, r#""x":1,"docker-manifest"#, "malformed"),
        (r#""optional"#, r#""x":1,"optional"#, "malformed"),
        // Readers do not agree on which of two counts.
        (r#""type":"#, r#""type":"x","type":"#, "malformed"),
        (r#""optional":null"#, r#""critical":{},"optional":null"#, "malformed"),
        ("}", "} {", "malformed"),
        (r#""image""#, r#""images""#, "malformed"),
        (&good, "[]", "malformed"),
        (&good, "", "malformed"),
    ] {
        let payload = if from == "}" { format!("{good} {{") } else { good.replace(from, to) };
        let payload = if from.is_empty() { good.clone() } else { payload };
        let checked = host.check(&subject, &signed(&key, payload.as_bytes()));
        assert_eq!(verdict(checked), expected, "{payload}");
    }
}

#[test]
fn an_annotation_without_a_signature_is_none() {
    let subject = Digest::of(b"image");
    let (key, host) = stage();
    let Signature::Simple { payload, annotations } =
        simple(&key, &subject, "r.example/acme/edge").unwrap()
    else {
        panic!()
    };
    let good = annotations[SIGNATURE_ANNOTATION].clone();
    for (text, expected) in [
        (good.clone(), "simple"),
        (String::new(), "empty"),
        ("=".into(), "malformed"),
        (" ".into(), "malformed"),
        (format!("{good}\n"), "malformed"),
        (STANDARD.encode(""), "empty"),
        (STANDARD.encode([0; 64]), "unknown key"),
        (STANDARD.encode([0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00]), "unknown key"),
    ] {
        let annotations = [(SIGNATURE_ANNOTATION.to_owned(), text.clone())].into();
        let signature = Signature::Simple { payload: payload.clone(), annotations };
        assert_eq!(verdict(host.check(&subject, &signature)), expected, "{text}");
    }
    let signature = Signature::Simple { payload, annotations: BTreeMap::new() };
    assert_eq!(verdict(host.check(&subject, &signature)), "empty");
    let signature = Signature::Unreadable { what: "gone".into() };
    assert_eq!(verdict(host.check(&subject, &signature)), "unreadable");
}

/// A bundle around `payload`, signed, after `change`.
fn bundle_of(
    key: &PrivateKey,
    kind: &str,
    payload: &[u8],
    change: impl FnOnce(&mut Value),
) -> Signature {
    let signature = key.sign(&pre_authentication_encoding(kind, payload)).unwrap();
    let mut bundle = json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "whatever"}, "tlogEntries": [{"x": 1}]},
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": kind,
            "signatures": [{"sig": STANDARD.encode(signature), "keyid": "whatever"}],
        },
    });
    change(&mut bundle);
    let bundle = serde_json::to_vec(&bundle).unwrap();
    Signature::Bundle { bundle, annotations: BTreeMap::new() }
}

#[test]
fn a_bundle_signs_an_image_and_nothing_else() {
    let subject = Digest::of(b"image");
    let (key, host) = stage();
    let hash = subject.hex();
    let good = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{hash}"}},
        "annotations":{{}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#
    );
    let other = Digest::of(b"other").hex();
    let two = format!(r#"{{"sha256":"{other}"}}}},{{"digest":{{"sha256":"{hash}"}}"#);
    for (from, to, expected) in [
        ("x", "x", "bundle"),
        (&format!(r#"{{"sha256":"{hash}"}}"#)[..], &two[..], "bundle"),
        ("Statement/v1", "Statement/v0.1", "kind"),
        ("cosign/sign/v1", "cosign/sign/v2", "kind"),
        ("https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1", "kind"),
        ("https://sigstore.dev/cosign/sign/v1", "", "kind"),
        (&hash, &other, "digest"),
        (&hash, &hash.to_uppercase(), "digest"),
        (&hash, &hash[..60], "digest"),
        (&hash, "", "digest"),
        ("sha256", "sha512", "digest"),
        ("sha256", "SHA256", "digest"),
        (r#""subject":["#, r#""subject":[],"subjects":["#, "digest"),
        (r#""subject""#, r#""subjects""#, "malformed"),
        (r#""predicate":{}"#, r#""predicateType":"x""#, "malformed"),
        (&good, "", "empty"),
        (&good, "null", "malformed"),
    ] {
        let payload = good.replace(from, to);
        let signature = bundle_of(&key, "application/vnd.in-toto+json", payload.as_bytes(), |_| {});
        assert_eq!(verdict(host.check(&subject, &signature)), expected, "{payload}");
    }
    for kind in ["application/vnd.in-toto", "application/json", ""] {
        let signature = bundle_of(&key, kind, good.as_bytes(), |_| {});
        assert_eq!(verdict(host.check(&subject, &signature)), "kind", "{kind}");
    }
}

#[test]
fn a_bundle_has_one_content_and_one_signature() {
    let subject = Digest::of(b"image");
    let (key, host) = stage();
    let statement = |subject: &Digest| {
        serde_json::to_vec(&flipside_image::signature::bundle::Statement::new(subject)).unwrap()
    };
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 16] = [
        (|_| {}, "bundle"),
        (|b| b["verificationMaterial"] = json!({"certificate": {"rawBytes": ""}}), "bundle"),
        (|b| drop(b.as_object_mut().unwrap().remove("verificationMaterial")), "bundle"),
        (
            |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2"),
            "kind",
        ),
        (|b| b["mediaType"] = json!(""), "kind"),
        (|b| drop(b.as_object_mut().unwrap().remove("mediaType")), "malformed"),
        (|b| drop(b.as_object_mut().unwrap().remove("dsseEnvelope")), "malformed"),
        (
            |b| {
                b["messageSignature"] = json!({
                    "messageDigest": {"algorithm": "SHA2_256", "digest": "AA=="}, "signature": "AA==",
                });
            },
            "malformed",
        ),
        (|b| b["dsseEnvelope"]["signatures"] = json!([]), "empty"),
        (|b| b["dsseEnvelope"]["signatures"][0]["sig"] = json!(""), "empty"),
        (|b| b["dsseEnvelope"]["signatures"][0]["sig"] = json!("AA=="), "unknown key"),
        (|b| b["dsseEnvelope"]["signatures"][0]["sig"] = json!("?"), "malformed"),
        (
            |b| {
                let one = b["dsseEnvelope"]["signatures"][0].clone();
                b["dsseEnvelope"]["signatures"].as_array_mut().unwrap().push(one);
            },
            "malformed",
        ),
        (|b| b["dsseEnvelope"]["payload"] = json!(""), "empty"),
        (|b| b["dsseEnvelope"]["payload"] = json!(STANDARD.encode("{}")), "unknown key"),
        (|b| b["dsseEnvelope"]["payloadType"] = json!("x"), "unknown key"),
    ];
    for (nth, (change, expected)) in cases.into_iter().enumerate() {
        let payload = statement(&subject);
        let signature = bundle_of(&key, "application/vnd.in-toto+json", &payload, change);
        assert_eq!(verdict(host.check(&subject, &signature)), expected, "{nth}");
    }
    for bundle in [&b""[..], b"[]", b"null", b"{}", b"\xff"] {
        let signature = Signature::Bundle { bundle: bundle.into(), annotations: BTreeMap::new() };
        assert_eq!(verdict(host.check(&subject, &signature)), "malformed");
    }
}

/// DER of an ECDSA signature, taken apart.
fn integers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let r = usize::from(der[3]);
    (der[4..4 + r].to_vec(), der[6 + r..].to_vec())
}

#[test]
fn an_ecdsa_signature_has_one_encoding() {
    let (key, _) = stage();
    let message = b"message";
    let der = key.sign(message).unwrap();
    assert!(key.public().has_signed(message, &der));
    let (r, s) = integers(&der);
    let of = |r: &[u8], s: &[u8]| {
        let mut der = vec![0x30, (r.len() + s.len() + 4) as u8, 2, r.len() as u8];
        der.extend(r);
        der.extend([2, s.len() as u8]);
        der.extend(s);
        der
    };
    assert_eq!(of(&r, &s), der);
    let padded = |number: &[u8]| [&[0], number].concat();
    let mut long_form = der.clone();
    long_form.insert(1, 0x81);
    let fixed = |number: &[u8]| {
        let mut bytes = vec![0; 32_usize.saturating_sub(number.len())];
        bytes.extend(&number[number.len().saturating_sub(32)..]);
        bytes
    };
    for (what, bad) in [
        ("a padded r", of(&padded(&r), &s)),
        ("a padded s", of(&r, &padded(&s))),
        ("a long form", long_form),
        ("something behind it", [&der[..], &[0]].concat()),
        ("cut", der[..der.len() - 1].to_vec()),
        ("no DER", [fixed(&r), fixed(&s)].concat()),
        ("zero", of(&[0], &[0])),
        ("empty", vec![]),
    ] {
        assert!(!key.public().has_signed(message, &bad), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever bit of a payload, a signature or an envelope is another, it is no signature.
    #[test]
    fn no_damage_passes(at in any::<prop::sample::Index>(), bit in 0..8_u8, in_bundle: bool) {
        let subject = Digest::of(b"image");
        let (key, host) = stage();
        if in_bundle {
            let Signature::Bundle { bundle, annotations } = bundle(&key, &subject).unwrap() else {
                panic!()
            };
            let mut json: Value = serde_json::from_slice(&bundle).unwrap();
            let place = match bit % 3 {
                0 => &mut json["dsseEnvelope"]["payload"],
                1 => &mut json["dsseEnvelope"]["signatures"][0]["sig"],
                _ => &mut json["dsseEnvelope"]["payloadType"],
            };
            let mut text = place.as_str().unwrap().to_owned().into_bytes();
            let at = at.index(text.len());
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            *place = json!(String::from_utf8(text).unwrap());
            let bundle = serde_json::to_vec(&json).unwrap();
            let checked = host.check(&subject, &Signature::Bundle { bundle, annotations });
            prop_assert!(checked.is_err());
        } else {
            let Signature::Simple { mut payload, annotations } =
                simple(&key, &subject, "r.example/acme/edge").unwrap()
            else {
                panic!()
            };
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
            let checked = host.check(&subject, &Signature::Simple { payload, annotations });
            prop_assert!(checked.is_err());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (key, host) = stage();
        let subject = Digest::of(b"image");
        let bundle = Signature::Bundle { bundle: bytes.clone(), annotations: BTreeMap::new() };
        prop_assert!(host.check(&subject, &bundle).is_err());
        prop_assert!(host.check(&subject, &signed(&key, &bytes)).is_err());
    }
}
