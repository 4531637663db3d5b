// SPDX-License-Identifier: MIT OR Apache-2.0

//! What mirrors may say. The registry decides; a mirror may be late, or lie, and helps where the
//! registry cannot be reached.

use flipside_core::progress::Silent;
use flipside_image::Digest;
use flipside_publish::push::push;
use flipside_publish::sign::{PrivateKey, simple};
use flipside_source::Signature;
use flipside_source::signatures::SIGNATURE_ANNOTATION;
use serde_json::{Value, json};

use crate::support::images::ImageBuilder;
use crate::support::keys::{install, new_key};
use crate::support::policy_host::{document, release};
use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};
use crate::support::put::Repository;
use crate::support::registry::Registry;

/// A host that runs 1 and follows `os:stable` of a registry with one mirror.
struct Stage {
    host: ProgramHost,
    registry: Registry,
    /// The way to the registry, which can be cut.
    way: Option<Proxy>,
    /// As the host calls the repository.
    identity: String,
    mirror: Registry,
    /// What the mirror is asked for.
    seen: Proxy,
}

impl Stage {
    fn new() -> Self {
        let (registry, mirror) = (Registry::start(), Registry::start());
        let (way, seen) = (Proxy::start(registry.address()), Proxy::start(mirror.address()));
        let identity = format!("{}/os", way.address());
        let host = ProgramHost::new();
        let stage = Self { host, registry, way: Some(way), identity, mirror, seen };
        stage.set("");
        stage
    }

    fn set(&self, more: &str) {
        let setting = format!("mirrors = [{:?}]\n{more}", self.seen.address());
        self.host.follow(&format!("{}:stable", self.identity), &setting);
    }

    /// From now on nobody answers at the registry's address.
    fn cut(&mut self) {
        self.way = None;
    }

    fn is_asked_for_tags(&self) -> bool {
        self.seen.count("manifests/stable") > 0
    }

    /// Lets the tag at each of these registries point to `image`.
    fn publish(&self, image: &ImageBuilder, places: &[&Registry]) -> Digest {
        let image = self.host.0.publish(image);
        for place in places {
            let (reference, options) = (place.reference("os:stable"), place.options());
            push(&self.host.0.track, Some("stable"), &reference, &options, &Silent).unwrap();
        }
        image.digest
    }

    fn put(&self, document: &Value, places: &[&Registry]) -> Digest {
        let put = |place: &&Registry| {
            Repository::at(place.address(), "os").document(
                "stable.policy",
                document,
                Some("stable"),
            )
        };
        let digests: Vec<Digest> = places.iter().map(put).collect();
        digests[0]
    }

    fn sign(&self, key: &PrivateKey, subject: &Digest, places: &[&Registry]) {
        let Ok(Signature::Simple { payload, annotations }) = simple(key, subject, &self.identity)
        else {
            panic!("not simple");
        };
        let signature = [(&payload[..], annotations[SIGNATURE_ANNOTATION].as_str())];
        for place in places {
            Repository::at(place.address(), "os").simple(subject, &signature);
        }
    }

    fn trust(&self, key: &PrivateKey) {
        install(&self.host.0.path(), "etc/owner.pub", key.public().to_pem());
    }

    /// `update` is refused like this, and leaves the host as it was.
    fn refuses(&self, status: i32, code: &str) -> String {
        self.host.refuses(status, code)
    }

    /// Runs 2 from slot B.
    fn arrives_at_two(&self) -> Digest {
        let two = self.publish(&ImageBuilder::new("2"), &[&self.registry, &self.mirror]);
        self.host.updates();
        assert_eq!(self.host.boot(), "booted slot B: 2 (promoted)");
        two
    }
}

#[test]
fn a_late_mirror_neither_names_the_tag_nor_undoes_a_withdrawal() {
    let stage = Stage::new();
    let two = stage.publish(&ImageBuilder::new("2"), &[&stage.mirror]);
    let listed = release("2", &two, json!({}));
    stage.put(&document(2, std::slice::from_ref(&listed)), &[&stage.mirror]);
    // The registry withdrew it an hour later.
    stage.publish(&ImageBuilder::new("2"), &[&stage.registry]);
    let withdrawn = release("2", &two, json!({"withdrawn": {"reason": "no sound"}}));
    stage.put(&document(1, &[withdrawn]), &[&stage.registry]);
    let output = stage.host.program(["update"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let sentence = stage.refuses(1, "release-withdrawn");
    assert!(sentence.contains("no sound"), "{sentence}");
    // And put 3 in its place, which the mirror does not have yet.
    let three = stage.publish(&ImageBuilder::new("3"), &[&stage.registry]);
    stage.put(&document(0, &[listed, release("3", &three, json!({}))]), &[&stage.registry]);
    let output = stage.host.program(["update"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("3 is installed"), "{output:?}");
    assert!(!stage.is_asked_for_tags(), "{:?}", stage.seen.seen());
    assert_eq!(stage.seen.count("stable.policy"), 0);
}

#[test]
fn with_the_registry_gone_a_mirror_brings_what_is_above_what_runs() {
    let mut stage = Stage::new();
    stage.publish(&ImageBuilder::new("2"), &[&stage.mirror]);
    stage.cut();
    stage.host.updates();
    assert!(stage.is_asked_for_tags());
    assert_eq!(stage.host.boot(), "booted slot B: 2 (promoted)");
}

#[test]
fn with_the_registry_gone_a_mirror_brings_nothing_else() {
    let mut stage = Stage::new();
    let more = "[update]\nallow_downgrade = true\n";
    stage.set(more);
    let two = stage.arrives_at_two();
    stage.cut();
    let code = "registry-unreachable";
    // What runs, built again, and lower.
    for image in [
        ImageBuilder::new("2"),
        ImageBuilder::new("2").annotation("org.example.build", "again"),
        ImageBuilder::new("1.9"),
        ImageBuilder::new("1.10"),
    ] {
        let digest = stage.publish(&image, &[&stage.mirror]);
        let sentence = stage.refuses(75, code);
        assert!(sentence.contains(&stage.identity), "{sentence}");
        assert!(sentence.contains(stage.seen.address()), "{sentence}");
        assert_eq!(
            digest == two,
            image.version == "2" && sentence.contains("already"),
            "{sentence}"
        );
    }
    // Nor does a document that nobody has signed, and this host has not seen, help it.
    let again = ImageBuilder::new("1.9");
    let digest = stage.publish(&again, &[&stage.mirror]);
    let forged = [
        release("1.9", &digest, json!({})),
        release("2", &two, json!({"withdrawn": {"reason": "forged"}})),
    ];
    stage.put(&document(0, &forged), &[&stage.mirror]);
    stage.refuses(75, code);
    assert!(!stage.host.file("var/lib/flipside/policy").exists(), "it is not remembered");
    // With no mirror left there is nobody to ask.
    stage.seen.fault("", 1000, Fault::Status(404, vec![], String::new()));
    let sentence = stage.host.program(["update"]);
    let sentence = String::from_utf8_lossy(&sentence.stderr).into_owned();
    assert!(sentence.contains("none of its mirrors has the tag"), "{sentence}");
    assert!(sentence.contains("[registry-unreachable]"), "{sentence}");
}

#[test]
fn with_the_registry_gone_a_late_mirror_takes_nothing_away_that_is_armed() {
    let mut stage = Stage::new();
    let two = stage.arrives_at_two();
    let three = stage.publish(&ImageBuilder::new("3"), &[&stage.registry]);
    let output = stage.host.program(["update"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("3 is installed"), "{output:?}");
    stage.cut();
    let sentence = stage.refuses(75, "registry-unreachable");
    assert!(sentence.contains("3 stays armed"), "{sentence}");
    // Also by a document of the mirror's that lists one and has withdrawn the other.
    let forged = [
        release("2", &two, json!({})),
        release("3", &three, json!({"withdrawn": {"reason": "forged"}})),
    ];
    stage.put(&document(0, &forged), &[&stage.mirror]);
    stage.refuses(75, "registry-unreachable");
    // Between what runs and what is armed.
    stage.publish(&ImageBuilder::new("2.5"), &[&stage.mirror]);
    stage.put(&document(0, &forged), &[&stage.mirror]);
    assert_eq!(stage.host.program(["update"]).status.code(), Some(75));
    assert_eq!(stage.host.boot(), "booted slot A: 3 (promoted)");
}

#[test]
fn with_the_registry_gone_the_newest_known_document_has_to_list_what_a_mirror_names() {
    let mut stage = Stage::new();
    let owner = new_key();
    stage.trust(&owner);
    let both = |stage: &Stage, document: &Value| {
        let digest = stage.put(document, &[&stage.registry]);
        stage.sign(&owner, &digest, &[&stage.registry]);
    };
    let two = stage.arrives_at_two_signed(&owner);
    let three = stage.publish(&ImageBuilder::new("3"), &[&stage.mirror]);
    stage.sign(&owner, &three, &[&stage.mirror]);
    let [lists_two, lists_three] =
        [("2", &two), ("3", &three)].map(|(version, digest)| release(version, digest, json!({})));
    both(&stage, &document(5, &[lists_two.clone(), lists_three.clone()]));
    let output = stage.host.program(["update"]);
    assert!(output.status.success(), "it is remembered: {output:?}");
    stage.cut();
    // The mirror has no document: that of the registry holds.
    let four = stage.publish(&ImageBuilder::new("4"), &[&stage.mirror]);
    stage.sign(&owner, &four, &[&stage.mirror]);
    stage.refuses(75, "release-not-listed");
    // An older one is a replay, whatever it lists.
    let lists_four = release("4", &four, json!({}));
    let at_mirror = |stage: &Stage, document: &Value| {
        let digest = stage.put(document, &[&stage.mirror]);
        stage.sign(&owner, &digest, &[&stage.mirror]);
    };
    at_mirror(&stage, &document(9, &[lists_two.clone(), lists_four.clone()]));
    stage.refuses(75, "policy-document-replayed");
    // A newer one by somebody else is none.
    stage.put(&document(1, &[lists_two.clone(), lists_four.clone()]), &[&stage.mirror]);
    stage.refuses(75, "signature-unavailable");
    at_mirror(&stage, &document(2, &[lists_two, lists_three, lists_four]));
    let output = stage.host.program(["update"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("4 is installed"), "{output:?}");
}

#[test]
fn that_nobody_signed_an_image_is_only_the_registrys_to_say() {
    let mut stage = Stage::new();
    let owner = new_key();
    stage.trust(&owner);
    let two = stage.publish(&ImageBuilder::new("2"), &[&stage.registry, &stage.mirror]);
    stage.sign(&owner, &two, &[&stage.mirror]);
    stage.refuses(1, "signature-missing");
    stage.cut();
    let sha = format!("sha256-{}", two.hex());
    stage.seen.fault(&sha, 1000, Fault::Status(404, vec![], String::new()));
    stage.refuses(75, "signature-unavailable");
    // A signature is as good at a mirror: nobody else can make one.
    stage.seen.calm();
    stage.host.updates();
}

#[test]
fn a_host_that_sees_nothing_but_a_mirror_tracks_the_mirror() {
    let mut stage = Stage::new();
    let owner = new_key();
    stage.trust(&owner);
    let two = stage.publish(&ImageBuilder::new("2"), &[&stage.mirror]);
    stage.sign(&owner, &two, &[&stage.mirror]);
    stage.cut();
    let identity = format!("[policy.signature]\nidentity = {:?}", stage.identity);
    stage.host.follow(&format!("{}/os:stable", stage.seen.address()), &identity);
    stage.host.updates();
}

impl Stage {
    fn arrives_at_two_signed(&self, owner: &PrivateKey) -> Digest {
        let two = self.publish(&ImageBuilder::new("2"), &[&self.registry]);
        self.sign(owner, &two, &[&self.registry]);
        self.host.updates();
        assert_eq!(self.host.boot(), "booted slot B: 2 (promoted)");
        two
    }
}
