// SPDX-License-Identifier: MIT OR Apache-2.0

//! The attacks of the TUF specification (version 1.0.33, section 1.5.2 "Goals to protect against
//! specific attacks") and some more, each against a host with keys that follows a real registry.
//! Each is refused with its code, and leaves the host as it was.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use flipside_core::progress::Silent;
use flipside_image::Digest;
use flipside_publish::sign::{PrivateKey, bundle, simple};
use flipside_source::Signature;
use flipside_source::signatures::SIGNATURE_ANNOTATION;
use serde_json::{Value, json};

use crate::support::images::ImageBuilder;
use crate::support::keys::new_key;
use crate::support::policy_host::{days, document, release};
use crate::support::program_host::{ProgramHost, refusal};
use crate::support::proxy::{Fault, Proxy};
use crate::support::put::Repository;
use crate::support::registry::Registry;
use crate::support::signed::SignedHost;

const ALWAYS: usize = usize::MAX;

/// A host that trusts `owner` alone and runs 1, and a tag with 2, which nobody has signed so far.
struct Stage {
    signed: SignedHost,
    owner: PrivateKey,
}

struct Attack {
    /// Also the repository, which is the attack's own.
    name: &'static str,
    /// The exit status and the code.
    refused: (i32, &'static str),
    /// What the sentence has to say.
    said: &'static str,
    /// Does it.
    perform: fn(&mut Stage),
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "attack/arbitrary-software",
        refused: (1, "signature-missing"),
        said: "nobody has signed the image",
        perform: |_| {},
    },
    Attack {
        name: "attack/wrong-key",
        refused: (1, "signature-invalid"),
        said: "none of this host's keys made",
        perform: |stage| stage.signed.sign(&new_key()),
    },
    Attack {
        name: "attack/removed-key",
        refused: (1, "signature-invalid"),
        said: "none of this host's keys made",
        perform: |stage| {
            let former = new_key();
            stage.signed.trust("etc/former.pub", &former);
            stage.signed.sign(&former);
            std::fs::remove_file(stage.signed.host.file("etc/flipside/keys/former.pub")).unwrap();
        },
    },
    Attack {
        name: "attack/empty-signature",
        refused: (1, "signature-invalid"),
        said: "one that is empty",
        perform: |stage| {
            let identity = stage.signed.identity();
            let payload = simple_payload(&stage.signed.image.digest, &identity);
            stage.repository().simple(&stage.signed.image.digest, &[(payload.as_bytes(), "")]);
        },
    },
    Attack {
        name: "attack/another-repository",
        refused: (1, "signature-invalid"),
        said: "one for another repository",
        perform: |stage| {
            // The owner's, and of this very image, for those who follow `edge`.
            let digest = stage.signed.image.digest;
            let elsewhere = format!("{}/edge", stage.signed.proxy.address());
            stage.signed.put_simple(&digest, &[simple(&stage.owner, &digest, &elsewhere)]);
        },
    },
    Attack {
        name: "attack/rollback",
        refused: (1, "version-too-old"),
        said: "0.9",
        perform: |stage| {
            stage.signed.publish(&ImageBuilder::new("0.9"));
            stage.signed.sign(&stage.owner);
        },
    },
    Attack {
        name: "attack/wrong-software",
        refused: (1, "signature-product"),
        said: "acme",
        perform: |stage| {
            // What the owner signed for another of his products; a bundle names no repository.
            stage.signed.host.write("etc/os-release", "ID=edge\n");
            stage.signed.sign_by_bundle(&stage.owner, &stage.signed.image.digest);
        },
    },
    Attack {
        name: "attack/mix-and-match",
        refused: (1, "signature-invalid"),
        said: "one of another image",
        perform: |stage| {
            // 2 as it says of itself, and the payloads of 3; both were signed.
            stage.sign_another("3");
            let three = stage.manifest();
            stage.sign_another("2");
            let mut mixed = stage.manifest();
            mixed["layers"] = three["layers"].clone();
            stage.replace_by(&mixed);
        },
    },
    Attack {
        name: "attack/extraneous-payload",
        refused: (1, "signature-invalid"),
        said: "one of another image",
        perform: |stage| {
            stage.sign_another("2");
            let mut more = stage.manifest();
            let layer = stage.repository().blob("application/octet-stream", b"a door");
            more["layers"].as_array_mut().unwrap().push(layer);
            stage.replace_by(&more);
        },
    },
    Attack {
        name: "attack/truncated-manifest",
        refused: (1, "digest-mismatch"),
        said: "manifest",
        perform: |stage| {
            // Signed as a whole, handed over in part.
            stage.signed.sign(&stage.owner);
            let path = format!("manifests/{}", stage.signed.image.digest);
            stage.signed.proxy.fault(&path, ALWAYS, Fault::ShortBody(200));
        },
    },
    Attack {
        name: "attack/signature-over-truncated-manifest",
        refused: (1, "signature-invalid"),
        said: "one of another image",
        perform: |stage| {
            let whole = std::fs::read(stage.signed.image.blob(&stage.signed.image.digest)).unwrap();
            let part = Digest::of(&whole[..whole.len() / 2]);
            let identity = stage.signed.identity();
            let signature = simple(&stage.owner, &part, &identity);
            stage.signed.put_simple(&stage.signed.image.digest, &[signature]);
        },
    },
    Attack {
        name: "attack/endless-manifest",
        refused: (1, "image-over-limit"),
        said: "manifest",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            let path = format!("manifests/{}", stage.signed.image.digest);
            stage.signed.proxy.fault(&path, ALWAYS, Fault::Flood(64 << 20));
        },
    },
    Attack {
        name: "attack/endless-signature",
        refused: (1, "signature-invalid"),
        said: "cannot be read",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            let payload = simple_payload(&stage.signed.image.digest, &stage.signed.identity());
            let path = format!("blobs/{}", Digest::of(payload.as_bytes()));
            stage.signed.proxy.fault(&path, ALWAYS, Fault::Flood(64 << 20));
        },
    },
    Attack {
        name: "attack/endless-config",
        refused: (1, "digest-mismatch"),
        said: "config",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            let path = format!("blobs/{}", stage.signed.image.image.manifest.config.digest);
            stage.signed.proxy.fault(&path, ALWAYS, Fault::Flood(64 << 20));
        },
    },
    Attack {
        name: "attack/unsigned-on-the-way",
        refused: (1, "signature-missing"),
        said: "nobody has signed the image",
        perform: |stage| {
            // The goal is the owner's, and the way there is somebody's.
            let asks = ImageBuilder::new("2")
                .annotation("org.flipside.requires", "1.5")
                .annotation("org.flipside.via", "bridge");
            stage.signed.publish(&asks);
            stage.signed.sign(&stage.owner);
            let layout = stage.signed.host.0.directory.path().join("bridge");
            ImageBuilder::new("1.6").write(&layout);
            stage.signed.registry.push(&layout, &format!("{}:bridge", stage.signed.name));
        },
    },
    Attack {
        name: "attack/fast-forward-by-the-owner",
        refused: (75, "policy-document-not-yet-valid"),
        said: "policy document",
        perform: |stage| stage.put_document("stable", -100 * 24, 300, &stage.owner),
    },
    Attack {
        name: "attack/fast-forward",
        refused: (75, "policy-document-unsigned"),
        said: "no valid signature",
        perform: |stage| {
            // Whoever believed it would take the owner's own for old ones ever after.
            stage.put_document("stable", 0, 300, &new_key());
        },
    },
    Attack {
        name: "attack/indefinite-freeze",
        refused: (75, "policy-document-expired"),
        said: "has expired on 2",
        perform: |stage| {
            stage.put_document("stable", 48, -1, &stage.owner);
            stage.sees_the_document();
        },
    },
    Attack {
        name: "attack/replay",
        refused: (75, "policy-document-replayed"),
        said: "this host has seen one issued on 2",
        perform: |stage| {
            stage.put_document("stable", 1, 30, &stage.owner);
            stage.sees_the_document();
            stage.put_document("stable", 48, 30, &stage.owner);
        },
    },
    Attack {
        name: "attack/document-of-another-tag",
        refused: (75, "policy-document-foreign"),
        said: "is about the tag testing, not stable",
        perform: |stage| stage.put_document("testing", 1, 30, &stage.owner),
    },
    Attack {
        name: "attack/document-of-another-repository",
        refused: (75, "policy-document-unsigned"),
        said: "names no repository",
        perform: |stage| {
            // Of a tag with the same name, whose repository no bundle tells.
            let listed = release("2", &stage.signed.image.digest, json!({}));
            let document = document(1, &[listed]);
            let digest = stage.repository().document("stable.policy", &document, Some("stable"));
            stage.sign_by_bundle(&stage.repository(), &digest);
            stage.signed.sign(&stage.owner);
        },
    },
    Attack {
        name: "attack/endless-document",
        refused: (1, "image-over-limit"),
        said: "manifest",
        perform: |stage| {
            stage.put_document("stable", 1, 30, &stage.owner);
            stage.signed.proxy.fault("manifests/stable.policy", ALWAYS, Fault::Flood(64 << 20));
        },
    },
    Attack {
        name: "attack/tag-moved",
        refused: (75, "situation-changed"),
        said: "changed while the hooks were asked",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            let program = env!("CARGO_BIN_EXE_flipside");
            let track = stage.signed.host.0.track.clone();
            ImageBuilder::new("3").tag("later").write(&track);
            let tag = stage.signed.registry.reference(&format!("{}:stable", stage.signed.name));
            let push = format!("{program} image push oci:{}:later {tag}", track.display());
            stage.hook(&format!("{push} >&2 || exit 1"));
        },
    },
    Attack {
        name: "attack/hook-image-missing",
        refused: (1, "container-hook-missing"),
        said: "hooks/nobody",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            let image = stage.signed.registry.image("hooks/nobody:1");
            stage.signed.set(&format!("[policy.hooks.container]\nimage = {image:?}"));
            stage.podman("");
        },
    },
    Attack {
        name: "attack/hook-image-unsigned",
        refused: (1, "signature-missing"),
        said: "hook",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            stage.hook_image("");
            stage.podman("");
        },
    },
    Attack {
        name: "attack/hook-of-another-repository",
        refused: (1, "signature-invalid"),
        said: "names no repository",
        perform: |stage| {
            // Anything that the owner ever signed so could be put there.
            stage.signed.sign(&stage.owner);
            let (digest, repository) = stage.hook_image("");
            stage.sign_by_bundle(&repository, &digest);
            stage.podman("");
        },
    },
    Attack {
        name: "attack/container-never-ends",
        refused: (75, "hook-timeout"),
        said: "the container hook",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            stage.signed_hook_image("[policy.hooks]\ntimeout = \"1s\"\n");
            stage.podman("[ $1 = run ] || exit 0; trap '' TERM; while :; do sleep 1; done");
        },
    },
    Attack {
        name: "attack/container-prints-a-gigabyte",
        refused: (75, "hook-deferred"),
        said: "xxx",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            stage.signed_hook_image("");
            let print = "head -c 1000000000 /dev/zero | tr '\\0' x; exit 75";
            stage.podman(&format!("[ $1 = run ] || exit 0; {print}"));
        },
    },
    Attack {
        name: "attack/image-hook-never-ends",
        refused: (75, "hook-timeout"),
        said: "the image's hook",
        perform: |stage| {
            stage.signed.set("[policy.hooks]\ntimeout = \"1s\"");
            stage.brings("trap '' TERM; while :; do sleep 1; done");
        },
    },
    Attack {
        name: "attack/image-hook-prints-a-gigabyte",
        refused: (75, "hook-deferred"),
        said: "xxx",
        perform: |stage| stage.brings("head -c 1000000000 /dev/zero | tr '\\0' x; exit 75"),
    },
    Attack {
        name: "attack/hook-never-ends",
        refused: (75, "hook-timeout"),
        said: "50-hook",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            stage.signed.set("[policy.hooks]\ntimeout = \"1s\"");
            stage.hook("trap '' TERM; while :; do sleep 1; done");
        },
    },
    Attack {
        name: "attack/hook-prints-a-gigabyte",
        refused: (75, "hook-deferred"),
        said: "xxx",
        perform: |stage| {
            stage.signed.sign(&stage.owner);
            stage.hook("head -c 1000000000 /dev/zero | tr '\\0' x; exit 75");
        },
    },
];

impl Stage {
    fn new(name: &'static str) -> Self {
        let (signed, owner) = (SignedHost::new(name), new_key());
        signed.trust("etc/owner.pub", &owner);
        Self { signed, owner }
    }

    fn repository(&self) -> Repository {
        self.signed.repository()
    }

    /// Lets the tag point to `version`, signed by the owner.
    fn sign_another(&mut self, version: &str) {
        self.signed.publish(&ImageBuilder::new(version));
        self.signed.sign(&self.owner);
    }

    /// The manifest that the tag points to.
    fn manifest(&self) -> Value {
        let image = &self.signed.image;
        serde_json::from_slice(&std::fs::read(image.blob(&image.digest)).unwrap()).unwrap()
    }

    /// Puts `manifest` in the place of what the owner signed, with the owner's signature of that.
    fn replace_by(&self, manifest: &Value) {
        let signed = self.signed.image.digest;
        let digest = self.repository().manifest(Some("stable"), manifest).digest;
        let signature = simple(&self.owner, &signed, &self.signed.identity());
        self.signed.put_simple(&digest, &[signature]);
    }

    /// Puts a document beside the tag: about the tag `of`, issued so many hours ago, good for so
    /// many days from now.
    fn put_document(&self, of: &str, hours: i64, good_for: i64, signer: &PrivateKey) {
        let listed = release("2", &self.signed.image.digest, json!({}));
        let mut document = document(hours, &[listed]);
        document["expires"] = json!(days(good_for));
        let digest = self.repository().document("stable.policy", &document, Some(of));
        let signature = simple(signer, &digest, &self.signed.identity());
        self.signed.put_simple(&digest, &[signature]);
        self.signed.sign(&self.owner);
    }

    /// A run that remembers it, and goes no further.
    fn sees_the_document(&self) {
        self.hook("exit 75");
        let output = self.signed.host.program(["update"]);
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        self.hook("exit 0");
        assert!(self.signed.host.file("var/lib/flipside/policy").exists());
    }

    fn hook(&self, script: &str) {
        self.program("etc/flipside/hooks/pre-upgrade.d/50-hook", script);
    }

    fn podman(&self, script: &str) {
        self.program("usr/bin/podman", script);
    }

    fn program(&self, name: &str, script: &str) {
        self.signed.host.write(name, format!("#!/bin/sh\n{script}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.signed.host.file(name), mode).unwrap();
    }

    /// Lets the tag point to an image of the owner's that brings this hook.
    fn brings(&mut self, script: &str) {
        let hook = format!("#!/bin/sh\n{script}\n");
        self.signed.publish(&ImageBuilder::new("2").payload("pre-upgrade", hook));
        self.signed.sign(&self.owner);
    }

    /// Has a container hook, in a repository of its own, that nobody has signed.
    fn hook_image(&self, settings: &str) -> (Digest, Repository) {
        let layout = self.signed.host.0.directory.path().join("hook");
        let digest = ImageBuilder::new("9").write(&layout).digest;
        let name = format!("{}/hook", self.signed.name);
        self.signed.registry.push(&layout, &format!("{name}:1"));
        let image = self.signed.registry.image(&format!("{name}:1"));
        self.signed.set(&format!("{settings}[policy.hooks.container]\nimage = {image:?}"));
        (digest, Repository::at(self.signed.registry.address(), &name))
    }

    /// The same, signed by the owner.
    fn signed_hook_image(&self, settings: &str) {
        let (digest, repository) = self.hook_image(settings);
        let identity = self.signed.registry.image(&format!("{}/hook", self.signed.name));
        let Signature::Simple { payload, annotations } =
            simple(&self.owner, &digest, &identity).unwrap()
        else {
            panic!("not simple");
        };
        repository.simple(&digest, &[(&payload, &annotations[SIGNATURE_ANNOTATION])]);
    }

    fn sign_by_bundle(&self, repository: &Repository, digest: &Digest) {
        let Signature::Bundle { bundle, .. } = bundle(&self.owner, digest).unwrap() else {
            panic!()
        };
        let listed = repository.bundle(digest, &bundle);
        repository.referrers(digest, &[listed]);
    }
}

/// What a simple signature signs.
fn simple_payload(digest: &Digest, identity: &str) -> String {
    let Signature::Simple { payload, .. } = simple(&new_key(), digest, identity).unwrap() else {
        panic!()
    };
    String::from_utf8(payload).unwrap()
}

#[test]
fn every_attack_is_refused_and_leaves_the_host_as_it_was() {
    // What one of them waits for, another need not.
    std::thread::scope(|scope| {
        for half in ATTACKS.chunks(ATTACKS.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(perform));
        }
    });
}

/// An update without what it would take to keep a gigabyte.
fn within_memory(host: &ProgramHost) -> Command {
    let mut command = Command::new("sh");
    let script = "ulimit -v 900000 && exec \"$0\" -q --root \"$1\" update";
    command.args(["-c", script, env!("CARGO_BIN_EXE_flipside")]).arg(host.0.path());
    command
}

fn perform(attack: &Attack) {
    let mut stage = Stage::new(attack.name);
    (attack.perform)(&mut stage);
    let (status, code) = attack.refused;
    let host = &stage.signed.host;
    let sentence = host.refuses_in(&mut within_memory(host), status, code);
    assert!(sentence.contains(attack.said), "{}: {sentence}", attack.name);
    host.boots_as_before();
}

#[test]
fn without_an_attack_the_same_host_updates() {
    let stage = Stage::new("attack/none");
    stage.signed.sign(&stage.owner);
    stage.signed.host.updates();
    assert_eq!(stage.signed.host.boot(), "booted slot B: 2 (promoted)");
}

#[test]
fn what_a_fast_forward_showed_is_not_remembered() {
    let stage = Stage::new("attack/after-fast-forward");
    stage.put_document("stable", 0, 300, &new_key());
    stage.signed.host.refuses(75, "policy-document-unsigned");
    // By the owner himself, with a clock that was wrong.
    stage.put_document("stable", -100 * 24, 300, &stage.owner);
    stage.signed.host.refuses(75, "policy-document-not-yet-valid");
    stage.put_document("stable", 1, 30, &stage.owner);
    stage.signed.host.updates();
}

#[test]
fn a_mirror_that_lies_keeps_nobody_from_an_update() {
    // "Malicious mirrors preventing updates"
    let stage = Stage::new("attack/mirror");
    stage.signed.sign(&stage.owner);
    let mirror = Proxy::start(stage.signed.registry.address());
    mirror.fault("manifests/sha256:", ALWAYS, Fault::Corrupt(30));
    mirror.fault("blobs/", ALWAYS, Fault::Corrupt(0));
    let setting = format!("mirrors = [{:?}]", mirror.address());
    stage.signed.set(&setting);
    stage.signed.host.updates();
    assert!(mirror.count("blobs/") > 0, "it was asked first");
    assert_eq!(stage.signed.host.boot(), "booted slot B: 2 (promoted)");
}

#[test]
fn a_payload_without_an_end_is_given_up_at_its_first_chunk() {
    let stage = Stage::new("attack/endless-payload");
    stage.signed.sign(&stage.owner);
    for layer in &stage.signed.image.image.manifest.layers {
        stage.signed.proxy.fault(
            &format!("blobs/{}", layer.digest),
            ALWAYS,
            Fault::Flood(64 << 20),
        );
    }
    let output = within_memory(&stage.signed.host).output().unwrap();
    refusal(&output, 1, "chunk-damaged");
    stage.signed.host.boots_as_before();
}

/// A host that asks for no signature: the config says how many layers there are.
#[test]
fn a_layer_that_the_config_does_not_know_is_refused_also_without_keys() {
    let signed = SignedHost::new("attack/extraneous-payload-unsigned");
    let image = &signed.image;
    let mut more: Value =
        serde_json::from_slice(&std::fs::read(image.blob(&image.digest)).unwrap()).unwrap();
    let layer = signed.repository().blob("application/octet-stream", b"a door");
    more["layers"].as_array_mut().unwrap().push(layer);
    signed.repository().manifest(Some("stable"), &more);
    signed.host.refuses(1, "image-malformed");
    signed.host.boots_as_before();
}

#[test]
fn a_mirror_with_another_policy_document_keeps_nobody_from_an_update() {
    let name = "attack/mirror-document";
    let stage = Stage::new(name);
    stage.put_document("stable", 1, 30, &stage.owner);
    let (mirror, two) = (Registry::start(), stage.signed.image.digest);
    stage.signed.set(&format!("mirrors = [{:?}]", mirror.address()));
    let listed = document(2, &[release("2", &two, json!({}))]);
    let mut expired = listed.clone();
    expired["expires"] = json!(days(-1));
    let unlisted = document(2, &[release("1", &Digest::of(b"1"), json!({}))]);
    for (case, document, is_signed) in [
        ("unsigned", &listed, false),
        ("expired", &expired, true),
        ("of days gone by", &unlisted, true),
    ] {
        let there = Repository::at(mirror.address(), name);
        let digest = there.document("stable.policy", document, Some("stable"));
        if is_signed {
            let signature = simple(&stage.owner, &digest, &stage.signed.identity());
            stage.signed.put_simple(&digest, &[signature]);
        }
        let output = stage.signed.host.program(["check"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("2 is available"), "{case}: {output:?}");
    }
    // That of the mirror is still one to be refused, where nobody has another.
    let at_registry = stage.repository();
    at_registry.document("stable.policy", &unlisted, Some("stable"));
    stage.signed.host.program(["update"]);
    stage.signed.host.refuses(75, "release-not-listed");
    stage.put_document("stable", 1, 30, &stage.owner);
    stage.signed.host.updates();
}

/// A host that asks for no signature, with nothing but the hashes to go by.
#[test]
fn payloads_of_another_image_never_reach_a_slot() {
    let (host, registry) = (ProgramHost::new(), Registry::shared());
    // Of one size and not compressed, so that nothing but the bytes differs.
    let image = |version| ImageBuilder::new(version).uncompressed();
    let two = host.0.publish(&image("2"));
    let three = host.0.publish(&image("3"));
    let name = "attack/mix-and-match-unsigned";
    for version in ["v2", "v3"] {
        let reference = registry.reference(&format!("{name}:{version}"));
        let options = registry.options();
        flipside_publish::push::push(&host.0.track, Some(version), &reference, &options, &Silent)
            .unwrap();
    }
    let read = |digest: &Digest| -> Value {
        serde_json::from_slice(&std::fs::read(two.blob(digest)).unwrap()).unwrap()
    };
    let mut mixed = read(&two.digest);
    mixed["layers"] = read(&three.digest)["layers"].clone();
    Repository::at(registry.address(), name).manifest(Some("stable"), &mixed);
    host.follow(&registry.image(&format!("{name}:stable")), "");
    let output = host.program(["update"]);
    refusal(&output, 1, "chunk-damaged");
    // 3 differs from 2 in some chunks, and none of these came anywhere near the disk.
    let blocks = |bytes: &[u8]| bytes.chunks(4096).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (of_two, disk) =
        (blocks(two.payload("system")), blocks(&std::fs::read(host.file("disk.img")).unwrap()));
    let is_own = |block: &Vec<u8>| block.iter().any(|byte| *byte != 0) && !of_two.contains(block);
    let own: Vec<_> = blocks(three.payload("system")).into_iter().filter(is_own).collect();
    assert!(own.len() > 3 && !own.iter().any(|block| disk.contains(block)));
    host.boots_as_before();
}
