// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hosts with keys take what is signed and nothing else, and say why.

use flipside_image::{Architecture, Descriptor, Digest, MANIFEST_TYPE, Platform};
use flipside_publish::sign::{PrivateKey, simple};
use serde_json::{Value, json};

use crate::support::images::ImageBuilder;
use crate::support::keys::{install, new_key};
use crate::support::proxy::Fault;
use crate::support::signed::{SignedHost, signed};

fn status(stage: &SignedHost) -> Value {
    serde_json::from_slice(&stage.host.program(["status", "--json"]).stdout).unwrap()
}

/// A host that trusts `key` alone.
fn stage(name: &'static str) -> (SignedHost, PrivateKey) {
    let (stage, key) = (SignedHost::new(name), new_key());
    stage.trust("etc/release.pub", &key);
    (stage, key)
}

#[test]
fn without_a_key_nothing_is_required_and_the_status_says_so() {
    let stage = SignedHost::new("update/none");
    stage.host.updates();
    assert_eq!(stage.proxy.count("sha256-"), 0, "nobody asks for signatures");
    let signatures = &status(&stage)["signatures"];
    assert_eq!(
        signatures,
        &json!({"mode": "auto", "required": false, "keys": [], "problem": null})
    );
    let text = String::from_utf8(stage.host.program(["status"]).stdout).unwrap();
    assert!(text.contains("images    need no signature: this host has no key\n"), "{text}");
}

#[test]
fn what_nobody_signed_is_refused_before_its_config_is_fetched() {
    let (stage, key) = stage("update/missing");
    let sentence = stage.refuses(1, "signature-missing");
    assert_eq!(sentence, format!("nobody has signed the image {}", stage.image.digest.short()));
    // What runs is not what is refused.
    let said = stage.host.program(["check"]).stdout;
    let said = String::from_utf8(said).unwrap();
    assert_eq!(
        said,
        format!(
            "the update ({}) is not installed: {sentence} [signature-missing]\n",
            stage.image.digest.short()
        )
    );
    // A manifest with signatures of which there are none.
    stage.put_simple(&stage.image.digest, &[]);
    stage.refuses(1, "signature-missing");
    let results = status(&stage)["policy"]["rules"].clone();
    let result = results.as_array().unwrap().iter().find(|r| r["rule"] == "signature").unwrap();
    assert_eq!((&result["decision"], &result["observed"]), (&json!("block"), &json!("none")));

    stage.sign(&key);
    stage.host.updates();
    let status = status(&stage);
    assert_eq!(status["slots"][1]["signed_by"], "release");
    assert_eq!(status["signatures"]["keys"], json!(["release"]));
    let text = String::from_utf8(stage.host.program(["status"]).stdout).unwrap();
    assert!(!text.contains(", signed by"), "{text}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.args(["-v", "status", "--root"]).arg(stage.host.0.path());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("images    have to be signed by release\n"), "{text}");
    assert!(text.contains(&format!("{}, signed by release\n", stage.image.digest.short())));
}

#[test]
fn signatures_that_are_none_are_refused_and_told() {
    let (stage, key) = stage("update/invalid");
    let (subject, identity) = (stage.image.digest, stage.identity());
    let other = Digest::of(b"another image");
    let good = || simple(&key, &subject, &identity);
    let text = format!("{}/", stage.proxy.address());
    for (signatures, told) in [
        (vec![simple(&new_key(), &subject, &identity)], "one that none of this host's keys made"),
        (vec![simple(&key, &other, &identity)], "one of another image, sha256:"),
        (vec![simple(&key, &subject, &format!("{text}other"))], "one for another repository"),
        (vec![simple(&key, &subject, "")], "one for another repository"),
        (vec![signed(&key, b"{}")], "one that is malformed"),
        (vec![signed(&key, b"")], "one that is malformed"),
        (
            vec![simple(&new_key(), &subject, &identity), simple(&key, &other, &identity)],
            "made, one of another image",
        ),
    ] {
        stage.put_simple(&subject, &signatures);
        let sentence = stage.refuses(1, "signature-invalid");
        assert!(sentence.contains(told), "{sentence}");
    }
    // One that is empty, and one over only the first bytes of the payload.
    let Ok(flipside_source::Signature::Simple { payload, .. }) = good() else { panic!() };
    stage.repository().simple(&subject, &[(&payload, "")]);
    assert!(stage.refuses(1, "signature-invalid").contains("one that is empty"));
    let Ok(flipside_source::Signature::Simple { annotations, .. }) = signed(&key, &payload[..9])
    else {
        panic!()
    };
    let partly = annotations.values().next().unwrap();
    stage.repository().simple(&subject, &[(&payload, partly)]);
    stage.refuses(1, "signature-invalid");
    // A good one beside them suffices.
    stage.put_simple(
        &subject,
        &[simple(&new_key(), &subject, &identity), signed(&key, b""), good()],
    );
    stage.host.updates();
}

#[test]
fn a_registry_that_does_not_say_who_signed_defers() {
    let (stage, key) = stage("update/unavailable");
    stage.sign(&key);
    for fault in
        [Fault::Status(503, vec![], String::new()), Fault::Status(403, vec![], String::new())]
    {
        stage.proxy.calm();
        stage.proxy.fault("sha256-", 1000, fault);
        let sentence = stage.refuses(75, "signature-unavailable");
        assert!(sentence.starts_with("cannot learn who signed the image"), "{sentence}");
    }
    stage.proxy.calm();
    // The tags say that there is none, and the referrers nothing at all.
    stage.repository().simple(&stage.image.digest, &[]);
    stage.proxy.fault("/referrers/", 1000, Fault::Status(500, vec![], String::new()));
    stage.refuses(75, "signature-unavailable");
    stage.proxy.calm();
    stage.sign(&key);
    stage.host.updates();
}

#[test]
fn a_bundle_approves_of_the_product_that_this_host_is() {
    let (stage, key) = stage("update/bundle");
    stage.sign_by_bundle(&key, &stage.image.digest);
    let explained = stage.host.program(["check", "--explain"]).stdout;
    let explained = String::from_utf8(explained).unwrap();
    assert!(explained.contains("signed by release (a bundle), product \"acme\""), "{explained}");
    for (own, setting, code) in [
        ("ID=acme\n", "[policy.signature]\nproduct = \"edge\"", "signature-product"),
        ("ID=edge\n", "", "signature-product"),
        ("NAME=x\n", "", "signature-product"),
        ("NAME=x\n", "[policy.signature]\nproduct = \"acme\"", ""),
    ] {
        stage.host.write("etc/os-release", own);
        stage.set(setting);
        match code {
            "" => stage.host.updates(),
            code => drop(stage.host.refuses(1, code)),
        }
    }
    assert_eq!(status(&stage)["slots"][1]["signed_by"], "release");
}

/// Lets the tag point to an index that lists what it pointed to. Returns its digest.
fn put_index(stage: &SignedHost) -> Digest {
    let size = std::fs::metadata(stage.image.blob(&stage.image.digest)).unwrap().len();
    let entry = Descriptor {
        media_type: MANIFEST_TYPE.into(),
        digest: stage.image.digest,
        size,
        artifact_type: None,
        platform: Some(Platform {
            architecture: Architecture::of_this_build().unwrap().oci_name().into(),
            os: "linux".into(),
        }),
        annotations: Default::default(),
    };
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]});
    stage.repository().manifest(Some("stable"), &index).digest
}

#[test]
fn a_bundle_of_another_product_harms_no_signature_that_names_the_repository() {
    let (stage, key) = stage("update/bundle-beside");
    stage.host.write("etc/os-release", "ID=edge\n");
    // It is asked first who signed the index.
    let index = put_index(&stage);
    stage.sign_by_bundle(&key, &index);
    stage.host.refuses(1, "signature-product");
    stage.sign(&new_key());
    stage.host.refuses(1, "signature-product");
    stage.sign(&key);
    let explained = stage.host.program(["check", "--explain"]).stdout;
    let explained = String::from_utf8(explained).unwrap();
    assert!(explained.contains("signed by release (simple signing)"), "{explained}");
    stage.host.updates();
    assert_eq!(status(&stage)["slots"][1]["signed_by"], "release");
}

#[test]
fn a_signed_index_covers_the_images_that_it_lists() {
    let (mut stage, key) = stage("update/index");
    let index = put_index(&stage);
    stage.refuses(1, "signature-missing");
    stage.put_simple(&index, &[simple(&new_key(), &index, &stage.identity())]);
    stage.refuses(1, "signature-invalid");
    stage.put_simple(&index, &[simple(&key, &index, &stage.identity())]);
    stage.host.updates();
    assert_eq!(stage.host.boot(), "booted slot B: 2 (promoted)");

    // And what is signed itself needs no signed index.
    stage.publish(&ImageBuilder::new("3"));
    stage.sign(&key);
    assert!(stage.host.program(["update"]).status.success());
}

#[test]
fn the_mode_decides_and_without_a_key_require_does_not_start() {
    let stage = SignedHost::new("update/mode");
    stage.set("[policy.signature]\nmode = \"require\"");
    stage.proxy.forget();
    let sentence = stage.host.refuses(1, "signature-keys-missing");
    assert!(sentence.contains("flipside image key"), "{sentence}");
    assert_eq!(stage.proxy.seen().len(), 0, "it does not start");
    for command in [&["check"][..], &["hooks", "run"]] {
        let output = stage.host.program(command);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("[signature-keys-missing]"), "{text}");
    }
    assert_eq!(status(&stage)["signatures"]["problem"]["code"], "signature-keys-missing");
    stage.set("");
    install(&stage.host.0.path(), "etc/broken.pub", "x");
    stage.host.refuses(1, "signature-key-unusable");
    let text = String::from_utf8(stage.host.program(["status"]).stdout).unwrap();
    assert!(text.contains("images    cannot be held to anything: cannot use the key"), "{text}");
    stage.set("[policy.signature]\nmode = \"off\"");
    stage.host.updates();
    assert_eq!(status(&stage)["slots"][1]["signed_by"], Value::Null);
}

#[test]
fn an_image_brings_the_next_key_and_a_key_that_is_gone_counts_no_more() {
    let mut stage = SignedHost::new("update/rotation");
    let (old, new) = (new_key(), new_key());
    stage.trust("usr/lib/2025.pub", &old);
    stage.sign(&new);
    stage.refuses(1, "signature-invalid");
    // 2, signed with the old key, brings the new one.
    stage.sign(&old);
    stage.host.updates();
    assert_eq!(stage.host.boot(), "booted slot B: 2 (promoted)");
    stage.trust("usr/lib/2026.pub", &new);
    // 3 is signed with the new one, and brings it alone.
    stage.publish(&ImageBuilder::new("3"));
    stage.sign(&new);
    assert!(stage.host.program(["update"]).status.success());
    assert_eq!(status(&stage)["slots"][0]["signed_by"], "2026");
    assert_eq!(stage.host.boot(), "booted slot A: 3 (promoted)");
    std::fs::remove_file(stage.host.file("usr/lib/flipside/keys/2025.pub")).unwrap();
    stage.publish(&ImageBuilder::new("4"));
    stage.sign(&old);
    stage.refuses(1, "signature-invalid");
    stage.sign(&new);
    assert!(stage.host.program(["update"]).status.success());
}

#[test]
fn what_stands_in_the_other_slot_is_held_to_the_keys_of_now() {
    let (mut stage, key) = stage("update/arm");
    let first = ImageBuilder::new("1");
    stage.sign(&key);
    stage.host.updates();
    assert_eq!(stage.host.boot(), "booted slot B: 2 (promoted)");
    // The tag goes back to what the other slot holds: it would only have to be armed.
    stage.publish(&first);
    stage.set("[update]\nallow_downgrade = true");
    stage.refuses(1, "signature-missing");
    stage.sign(&new_key());
    stage.refuses(1, "signature-invalid");
    stage.sign(&key);
    let output = stage.host.program(["update"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stage.host.boot(), "booted slot A: 1 (promoted)");
}
