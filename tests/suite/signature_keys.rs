// SPDX-License-Identifier: MIT OR Apache-2.0

//! The keys of a host: which count, and what is wrong with others.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use flipside::config::SignatureMode;
use flipside::config::form::Address;
use flipside_image::code::Coded;
use flipside_image::signature::{PublicKey, Verifier};
use flipside_publish::sign::{KeyKind, PrivateKey};

use crate::support::keys::{install, new_key, opened};
use crate::support::registry::fixture;

fn names(verifier: &Verifier) -> Vec<&str> {
    verifier.keys().iter().map(|key| key.name.as_str()).collect()
}

fn opened_in(root: &Path, mode: SignatureMode) -> Result<Verifier, String> {
    let opened = opened(root, |config| config.policy.signature.mode = mode);
    opened.map_err(|error| format!("{} {error}", error.code().name()))
}

#[test]
fn keys_are_required_by_mode_and_by_being_there() {
    use SignatureMode::{Auto, Off, Require};
    let root = tempfile::tempdir().unwrap();
    assert!(!opened_in(root.path(), Auto).unwrap().is_required());
    assert!(!opened_in(root.path(), Off).unwrap().is_required());
    let error = opened_in(root.path(), Require).unwrap_err();
    for part in ["signature-keys-missing", "flipside image key", "openssl pkey", "cosign"] {
        assert!(error.contains(part), "{error}");
    }
    install(root.path(), "usr/lib/vendor.pub", new_key().public().to_pem());
    for (mode, is_required) in [(Auto, true), (Require, true), (Off, false)] {
        assert_eq!(opened_in(root.path(), mode).unwrap().is_required(), is_required);
    }
}

#[test]
fn keys_are_merged_by_name_and_the_administrator_may_mask_them() {
    let root = tempfile::tempdir().unwrap();
    let own = new_key();
    install(root.path(), "usr/lib/20-vendor.pub", new_key().public().to_pem());
    install(root.path(), "usr/lib/30-both.pub", new_key().public().to_pem());
    install(root.path(), "usr/lib/40-masked.pub", "broken, but masked");
    install(root.path(), "etc/30-both.pub", own.public().to_pem());
    install(root.path(), "etc/10-own.pub", new_key().public().to_pem());
    install(root.path(), "usr/lib/50-README", "no key, but masked");
    symlink("/dev/null", root.path().join("etc/flipside/keys/50-README")).unwrap();
    install(root.path(), "run/60-run.pub", new_key().public().to_pem());
    symlink("/dev/null", root.path().join("etc/flipside/keys/40-masked.pub")).unwrap();
    let verifier = opened_in(root.path(), SignatureMode::Auto).unwrap();
    assert_eq!(names(&verifier), ["10-own", "20-vendor", "30-both"]);
    assert_eq!(verifier.keys()[2].public.hint(), own.public().hint());
}

#[test]
fn a_key_that_cannot_be_used_is_no_reason_to_do_without() {
    let (key, other) = (new_key(), new_key());
    let pem = key.public().to_pem();
    let point = pem.lines().nth(1).unwrap();
    let wrong = std::fs::read_to_string(
        fixture("cosign").join("bundles/managed-key-wrong-key_fail/key.pub"),
    );
    for (text, reason) in [
        (String::new(), "it is empty"),
        ("\n".into(), "no part PUBLIC KEY"),
        ("-----BEGIN PUBLIC KEY-----\n".into(), "no PEM file"),
        (pem.replace("-----END PUBLIC KEY-----", ""), "no PEM file"),
        (pem.replace(point, "?"), "no PEM file"),
        (pem.replace(point, &point[4..]), "neither"),
        (wrong.unwrap(), "no such key"),
        (pem.clone() + &other.public().to_pem(), "more than one key"),
        (key.to_pem().unwrap(), "it is a private key"),
        (pem.replace("PUBLIC", "RSA PUBLIC"), "no part PUBLIC KEY"),
        (pem.clone() + &" ".repeat(65 << 10), "more than 65536 bytes"),
        (point_off_the_curve(), "no such key"),
    ] {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "etc/good.pub", &pem);
        assert!(opened_in(root.path(), SignatureMode::Auto).is_ok());
        install(root.path(), "usr/lib/bad.pub", &text);
        let error = opened_in(root.path(), SignatureMode::Auto).unwrap_err();
        assert!(error.starts_with("signature-key-unusable cannot use the key /usr/lib"), "{error}");
        assert!(error.contains(reason), "{text}: {error}");
        assert!(opened_in(root.path(), SignatureMode::Off).is_ok());
    }
    let root = tempfile::tempdir().unwrap();
    install(root.path(), "etc/good.pub", &pem);
    symlink("gone", root.path().join("etc/flipside/keys/bad.pub")).unwrap();
    let error = opened_in(root.path(), SignatureMode::Auto).unwrap_err();
    assert!(error.starts_with("file-unreadable"), "{error}");
}

/// A key whose point is none of the curve's.
fn point_off_the_curve() -> String {
    let mut point = [7; 65];
    point[0] = 4;
    assert!(PublicKey::from_p256(&point).is_err());
    let prefix = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    flipside_image::signature::to_pem("PUBLIC KEY", &[&prefix[..], &point].concat())
}

#[test]
fn an_identity_that_names_no_repository_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let opened =
        opened(root.path(), |c| c.policy.signature.identity = Some(Address("edge".into())));
    assert_eq!(opened.unwrap_err().code().name(), "reference-invalid");
}

fn openssl(directory: &Path, arguments: &str) -> bool {
    let command =
        Command::new("openssl").current_dir(directory).args(arguments.split(' ')).output();
    command.expect("openssl can be started").status.success()
}

#[test]
fn keys_and_signatures_are_those_of_openssl() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    std::fs::write(directory.path().join("message"), "message").unwrap();
    for (make, kind, sign) in [
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            KeyKind::EcdsaP256,
            "-digest sha256",
        ),
        ("ecparam -name prime256v1 -genkey", KeyKind::EcdsaP256, "-digest sha256"),
        ("genpkey -algorithm ED25519", KeyKind::Ed25519, ""),
    ] {
        assert!(openssl(directory.path(), &format!("{make} -out theirs.key")));
        assert!(openssl(directory.path(), "pkey -in theirs.key -pubout -out theirs.pub"));
        let theirs = PrivateKey::from_pem(&file("theirs.key")).unwrap();
        assert_eq!(theirs.public().to_pem().as_bytes(), file("theirs.pub"), "{make}");
        let ours = PrivateKey::generate(kind).unwrap();
        std::fs::write(directory.path().join("ours.key"), ours.to_pem().unwrap()).unwrap();
        std::fs::write(directory.path().join("ours.pub"), ours.public().to_pem()).unwrap();
        let raw = format!("pkeyutl -rawin {sign}").trim_end().to_owned();
        // Their key and our hand, our key and their hand.
        for (key, name) in [(&theirs, "theirs"), (&ours, "ours")] {
            assert!(openssl(
                directory.path(),
                &format!("{raw} -sign -inkey {name}.key -in message -out signature"),
            ));
            assert!(key.public().has_signed(b"message", &file("signature")), "{make}");
            assert!(!key.public().has_signed(b"massage", &file("signature")), "{make}");
            std::fs::write(directory.path().join("signature"), key.sign(b"message").unwrap())
                .unwrap();
            assert!(openssl(
                directory.path(),
                &format!("{raw} -verify -pubin -inkey {name}.pub -in message -sigfile signature"),
            ));
        }
    }
    for (make, reason) in [
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "neither"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "neither"),
        ("genpkey -algorithm ED25519 -aes256 -pass pass:x", "openssl pkey"),
    ] {
        assert!(openssl(directory.path(), &format!("{make} -out bad.key")));
        let error = PrivateKey::from_pem(&file("bad.key")).unwrap_err();
        assert!(error.contains(reason), "{make}: {error}");
    }
}
