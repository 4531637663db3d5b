// SPDX-License-Identifier: MIT OR Apache-2.0

//! The publisher's side of signatures: keys, `image sign`, and signatures on their way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use flipside::report::progress::Silent;
use flipside_core::cancel::Cancel;
use flipside_image::signature::{Form, Verifier};
use flipside_image::{Architecture, Digest};
use flipside_publish::sign::{KeyKind, PrivateKey, sign};
use flipside_source::signatures::{all, referrers_tag, signature_tag};
use flipside_source::{ArchiveSource, LayoutSource, Location, Signature, Source, open};

use crate::support::documents;
use crate::support::images::{ImageBuilder, OsImage};
use crate::support::keys::{new_key, verifier};
use crate::support::proxy::Proxy;
use crate::support::put::Repository;
use crate::support::registry::{Registry, options};

/// Any repository: layouts do not say where they are going.
const IDENTITY: &str = "r.example/acme/edge";

fn flipside(directory: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    documents::output(command.arg("--quiet").args(line.split(' ')).current_dir(directory))
}

fn good(directory: &Path, line: &str) -> String {
    let output = flipside(directory, line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The forms of the valid signatures of `digest`, and how many there are in all.
fn forms(source: &dyn Source, digest: &Digest, verifier: &Verifier) -> (Vec<Form>, usize) {
    let found = all(source, digest).unwrap();
    let valid = found.iter().filter_map(|one| verifier.check(digest, one).ok());
    (valid.map(|signed| signed.form).collect(), found.len())
}

const BOTH: [Form; 2] = [Form::SimpleSigning, Form::Bundle];

fn trusting(key: &PrivateKey) -> Verifier {
    verifier(&[&key.public().to_pem()], IDENTITY, |_| {})
}

fn sign_layout(image: &OsImage, key: &PrivateKey) -> Vec<Digest> {
    let location = format!("oci:{}", image.layout.display()).parse().unwrap();
    let identity = IDENTITY.parse().unwrap();
    sign(&location, Some(&identity), key, &options(&image.layout)).unwrap()
}

#[test]
fn a_pair_of_keys_is_made_once_and_the_private_one_is_for_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["", " --type ed25519"] {
        let name = format!("release.2026{}", kind.len());
        let text = good(directory.path(), &format!("image key {name}{kind}"));
        assert!(text.contains(&format!("{name}.key")) && text.contains("/usr/lib/flipside/keys"));
        let file = |ending: &str| directory.path().join(format!("{name}.{ending}"));
        let mode = fs::metadata(file("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = fs::read(file("key")).unwrap();
        let key = PrivateKey::from_pem(&before).unwrap();
        assert_eq!(key.public().to_pem(), fs::read_to_string(file("pub")).unwrap());
        let again = flipside(directory.path(), &format!("image key {name}"));
        let text = String::from_utf8(again.stderr).unwrap();
        assert!(text.contains("[output-exists]"), "{text}");
        assert_eq!(fs::read(file("key")).unwrap(), before);
    }
    // Half a pair is not left behind.
    fs::write(directory.path().join("half.pub"), "x").unwrap();
    assert!(!flipside(directory.path(), "image key half").status.success());
    assert!(!directory.path().join("half.key").exists());
}

#[test]
fn from_keys_to_a_signed_image_in_a_registry_by_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let image = ImageBuilder::new("1").tag("stable").write(here.join("layout"));
    let registry = Registry::shared();
    let place = registry.image("signed/program:stable");
    good(here, "image key release");
    let text =
        good(here, &format!("image sign --key release.key oci:layout:stable --identity {place}"));
    assert_eq!(text, format!("signed {}\n", image.digest));
    good(here, &format!("image push oci:layout:stable {place}"));
    let key = fs::read_to_string(here.join("release.pub")).unwrap();
    let host = verifier(&[&key], &place, |_| {});
    let source = registry.source("signed/program:stable");
    assert_eq!(forms(&*source, &image.digest, &host), (BOTH.to_vec(), 2));
    // Pulled, it is signed; and so in an archive of that.
    good(here, &format!("image pull {place} copy"));
    let copy = LayoutSource::open(&here.join("copy"), None).unwrap();
    assert_eq!(forms(&copy, &image.digest, &host), (BOTH.to_vec(), 2));
    tar(here, "copy", "copy.tar");
    let archive = ArchiveSource::open(&here.join("copy.tar"), None).unwrap();
    assert_eq!(archive.resolve().unwrap(), image.digest);
    assert_eq!(forms(&archive, &image.digest, &host), (BOTH.to_vec(), 2));
    // What is pushed can be signed there as well.
    let json = good(here, &format!("image sign --key release.key {place} --json"));
    assert!(json.contains(&image.digest.to_string()), "{json}");
}

#[test]
fn signatures_are_shown_with_the_image_and_nobody_says_that_they_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let image = ImageBuilder::new("1").tag("stable").write(here.join("layout"));
    let shown = |place: &str| -> Vec<String> {
        let text = good(here, &format!("image inspect {place}"));
        let lines = text.lines().filter_map(|line| line.strip_prefix("signature "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(shown("oci:layout"), ["none"]);
    good(here, "image key release");
    good(here, &format!("image sign --key release.key oci:layout --identity {IDENTITY}"));
    let key = PrivateKey::from_pem(&fs::read(here.join("release.key")).unwrap()).unwrap();
    let hint = key.public().hint();
    let both = [
        format!("simple-signing for {IDENTITY} (not verified)"),
        format!("sigstore-bundle by key {} (not verified)", hint.short()),
    ];
    let registry = Registry::shared();
    let place = registry.image("signed/shown:stable");
    good(here, &format!("image push layout {place}"));
    tar(here, "layout", "a.tar");
    for place in ["oci:layout", &place, "oci-archive:a.tar"] {
        assert_eq!(shown(place), both, "{place}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&good(here, &format!("image inspect {place} --json"))).unwrap();
    let [simple, bundle] = [0, 1].map(|nth: usize| json["signatures"][nth].clone());
    assert_eq!((&simple["identity"], &simple["key"]), (&IDENTITY.into(), &().into()));
    assert_eq!((&bundle["identity"], &bundle["key"]), (&().into(), &hint.to_string().into()));
    assert_eq!(simple["subject"], image.digest.to_string());
    // Of others: what says nothing is shown as that, and what approves of no image is none.
    let repository = Repository::at(registry.address(), "signed/others");
    good(here, &format!("image push layout {}", registry.image("signed/others:stable")));
    repository.simple(&image.digest, &[(b"theirs", "x")]);
    let theirs = repository.bundle(&image.digest, b"theirs");
    repository.referrers(&image.digest, &[theirs]);
    let found = shown(&registry.image("signed/others:stable"));
    assert_eq!(found, ["simple-signing (not verified)"]);
}

/// An archive of a layout.
fn tar(directory: &Path, layout: &str, archive: &str) {
    let mut command = Command::new("tar");
    let status = command.args(["-C", layout, "-cf", archive, "."]).current_dir(directory).status();
    assert!(status.unwrap().success());
}

#[test]
fn what_is_signed_already_is_not_signed_again_and_other_signatures_stay() {
    let registry = Registry::shared();
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path());
    for page in [None, Some(1)] {
        let name = if page.is_some() { "signed/stay-api" } else { "signed/stay" };
        let proxy = Proxy::start(registry.address());
        if let Some(page) = page {
            proxy.has_referrers(page);
        }
        let reference = format!("{}/{name}:1", proxy.address()).parse().unwrap();
        let options = registry.options();
        flipside_publish::push::push(directory.path(), None, &reference, &options, &Silent)
            .unwrap();
        let location = Location::Registry(reference.clone());
        let source = open(&location, &options).unwrap();
        // Signatures of others, and something else that refers to the image.
        let repository = Repository::at(proxy.address(), name);
        repository.simple(&image.digest, &[(b"theirs", "x")]);
        let theirs = repository.bundle(&image.digest, b"theirs");
        if page.is_none() {
            repository.referrers(&image.digest, &[theirs]);
        }
        let keys = [new_key(), PrivateKey::generate(KeyKind::Ed25519).unwrap()];
        for (nth, key) in keys.iter().enumerate() {
            let host = verifier(&[&key.public().to_pem()], &reference.to_string(), |_| {});
            for _ in 0..2 {
                assert_eq!(sign(&location, None, key, &options).unwrap(), [image.digest]);
                let found = forms(&*source, &image.digest, &host);
                assert_eq!(found, (BOTH.to_vec(), 2 + 2 * (nth + 1)), "{name}");
            }
        }
        let found = all(&*source, &image.digest).unwrap();
        let is_theirs = |one: &&Signature| match one {
            Signature::Simple { payload, .. } => payload == b"theirs",
            Signature::Bundle { bundle, .. } => bundle == b"theirs",
            Signature::Unreadable { .. } => false,
        };
        assert_eq!(found.iter().filter(is_theirs).count(), 2);
        // A registry that lists referrers itself needs no tag for them.
        let fallback = source.sibling(&referrers_tag(&image.digest)).unwrap().resolve();
        assert_eq!(fallback.is_ok(), page.is_none(), "{name}");
    }
}

#[test]
fn nobody_sees_the_tag_before_what_it_names_is_signed() {
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    proxy.has_referrers(0);
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path());
    let key = new_key();
    assert_eq!(sign_layout(&image, &key), [image.digest]);
    let reference = format!("{}/signed/order:1", proxy.address()).parse().unwrap();
    let push = || {
        flipside_publish::push::push(
            directory.path(),
            None,
            &reference,
            &registry.options(),
            &Silent,
        )
    };
    push().unwrap();
    let puts = || -> Vec<String> {
        let seen = proxy.seen().into_iter();
        let put = seen.filter(|s| s.method == "PUT" && s.path.contains("/manifests/"));
        put.map(|s| s.path.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let names = puts();
    assert_eq!(names.last().unwrap(), "1");
    assert!(names.contains(&signature_tag(&image.digest)), "{names:?}");
    assert!(names.contains(&image.digest.to_string()), "{names:?}");
    let source = open(&Location::Registry(reference.clone()), &registry.options()).unwrap();
    assert_eq!(forms(&*source, &image.digest, &trusting(&key)), (BOTH.to_vec(), 2));
    // Once more brings nothing new.
    proxy.forget();
    push().unwrap();
    assert_eq!(puts(), [image.digest.to_string(), "1".to_owned()]);
}

#[test]
fn of_an_index_every_image_is_signed_and_stays_so_where_only_one_is_pulled() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    let arm = ImageBuilder::new("1").architecture(Architecture::Aarch64).write(&layout);
    let intel = ImageBuilder::new("1").write(&layout);
    let list = fs::read(layout.join("index.json")).unwrap();
    let index = Digest::of(&list);
    fs::write(layout.join("blobs/sha256").join(index.hex()), &list).unwrap();
    let kind = "application/vnd.oci.image.index.v1+json";
    let top = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}","digest":"{index}","size":{}}}]}}"#,
        list.len()
    );
    fs::write(layout.join("index.json"), top).unwrap();
    let key = new_key();
    let signed = sign_layout(&intel, &key);
    assert_eq!(signed[0], index);
    assert!(signed.contains(&arm.digest) && signed.contains(&intel.digest), "{signed:?}");
    let source = LayoutSource::open(&layout, None).unwrap();
    assert_eq!(source.resolve().unwrap(), index, "it is still the only image");
    let to = directory.path().join("one");
    let pull = flipside_publish::pull::pull;
    pull(&source, &to, None, Some(Architecture::Aarch64), &Silent, &Cancel::new()).unwrap();
    let one = LayoutSource::open(&to, None).unwrap();
    assert_eq!(one.resolve().unwrap(), arm.digest);
    assert_eq!(forms(&one, &arm.digest, &trusting(&key)), (BOTH.to_vec(), 2));
    assert_eq!(forms(&one, &index, &trusting(&key)).1, 0);
}

#[test]
fn what_cannot_be_signed_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let image = ImageBuilder::new("1").write(here.join("layout"));
    good(here, "image key release");
    tar(here, "layout", "a.tar");
    fs::write(here.join("bad.key"), "x").unwrap();
    let encrypted = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAA==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
    fs::write(here.join("cosign.key"), encrypted).unwrap();
    for (line, code, part) in [
        ("--key release.key oci:layout", "signing-failed", "--identity"),
        ("--key release.key oci-archive:a.tar --identity r.example/a", "signing-failed", "archive"),
        (
            "--key bad.key oci:layout --identity r.example/a",
            "signing-key-unusable",
            "no private key",
        ),
        (
            "--key release.pub oci:layout --identity r.example/a",
            "signing-key-unusable",
            "no private",
        ),
        (
            "--key cosign.key oci:layout --identity r.example/a",
            "signing-key-unusable",
            "cosign sign",
        ),
        (
            "--key none.key oci:layout --identity r.example/a",
            "signing-key-unusable",
            "No such file",
        ),
        ("--key release.key oci:layout:x --identity r.example/a", "tag-not-found", "\"x\""),
    ] {
        let output = flipside(here, &format!("image sign {line}"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("[{code}]")) && text.contains(part), "{line}: {text}");
    }
    let source = LayoutSource::open(&image.layout, None).unwrap();
    assert_eq!(all(&source, &image.digest).unwrap(), []);
    // What stands there already stays, whatever it is.
    let tag = signature_tag(&image.digest);
    let other = ImageBuilder::new("2").tag(&tag).write(here.join("layout"));
    let line = "image sign --key release.key --identity r.example/a";
    good(here, &format!("{line} oci:layout@{}", image.digest));
    let kept = LayoutSource::open(&image.layout, Some(&tag)).unwrap();
    let manifest = kept.manifest(&kept.resolve().unwrap()).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), other.image.manifest.layers.len() + 1);
}
