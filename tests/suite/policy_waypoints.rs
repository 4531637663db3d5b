// SPDX-License-Identifier: MIT OR Apache-2.0

//! What lies on the way to another release: whoever can push to the repository moves the tags that
//! lead there and makes indexes, without any key. The policy document says what may be taken.

use std::os::unix::fs::PermissionsExt as _;

use flipside_image::Digest;
use flipside_publish::sign::PrivateKey;
use serde_json::{Value, json};

use crate::support::images::{ImageBuilder, OsImage};
use crate::support::keys::new_key;
use crate::support::policy_host::{PolicyHost, days, document, release};
use crate::support::registry_host::RegistryHost;

const REQUIRES: &str = "org.flipside.requires";
const VIA: &str = "org.flipside.via";

fn none() -> Value {
    json!({})
}

fn because(field: &str) -> Value {
    json!({field: {"reason": "eats data"}})
}

/// Rolled out from tomorrow on.
fn tomorrow() -> Value {
    json!({"rollout": {"start": days(1), "start_percentage": 1.0, "duration": "1d"}})
}

/// A version that is installed from `lowest` on, and through `bridge` from below.
fn through_bridge(version: &str, lowest: &str) -> ImageBuilder {
    ImageBuilder::new(version).annotation(REQUIRES, lowest).annotation(VIA, "bridge")
}

/// The host runs 1 and has its publisher's key. The publisher has signed 0.9, 2, 3 and 4. The tag
/// has 3, which lower versions than 2 go to through the tag `bridge`.
struct Stage {
    host: PolicyHost,
    key: PrivateKey,
    /// 0.9, 1, 2, 3 and 4.
    digests: Vec<(&'static str, Digest)>,
    two: OsImage,
}

impl Stage {
    fn new() -> Self {
        let (host, key) = (PolicyHost::new(), new_key());
        host.trust("etc/mine.pub", &key);
        let push = |version: &str| host.at.publish_as("bridge", &ImageBuilder::new(version));
        let (old, four, two) = (push("0.9").digest, push("4").digest, push("2"));
        let three = host.at.publish(&through_bridge("3", "2")).digest;
        let all = [("0.9", old), ("1", host.one), ("2", two.digest), ("3", three), ("4", four)];
        let stage = Self { host, key, digests: all.to_vec(), two };
        for (_, digest) in &stage.digests {
            stage.host.sign(&stage.key, digest);
        }
        stage
    }

    fn digest(&self, version: &str) -> Digest {
        self.digests.iter().find(|(other, _)| *other == version).unwrap().1
    }

    /// A document of these releases, issued so many hours ago.
    fn document(&self, hours: i64, releases: &[(&str, Value)]) -> Value {
        let releases = releases.iter().map(|(v, more)| release(v, &self.digest(v), more.clone()));
        document(hours, &releases.collect::<Vec<_>>())
    }

    /// The publisher puts a document beside the tag.
    fn put(&self, document: &Value) {
        self.host.sign(&self.key, &self.host.put(document));
    }

    /// Whoever has no key lets a tag name an index of this image.
    fn wrap(&self, tag: &str, image: &OsImage) -> Digest {
        let manifest = std::fs::metadata(image.blob(&image.digest)).unwrap();
        self.host.repository().manifest(Some(tag), &index_of(&image.digest, manifest.len())).digest
    }

    /// Whoever has no key lets `bridge` name what the publisher has signed.
    fn move_bridge(&self, version: &str) {
        self.host.at.publish_as("bridge", &ImageBuilder::new(version));
    }
}

fn index_of(digest: &Digest, size: u64) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": size,
            "platform": {"architecture": "amd64", "os": "linux"},
        }],
    })
}

type Releases = &'static [(&'static str, fn() -> Value)];

struct Attack {
    name: &'static str,
    refused: (i32, &'static str),
    /// What the sentence has to say.
    said: &'static str,
    /// What the publisher says.
    listed: Releases,
    /// What the attacker does.
    perform: fn(&Stage),
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "a withdrawn release",
        refused: (1, "release-withdrawn"),
        said: "2 is withdrawn: eats data",
        listed: &[("1", none), ("2", || because("withdrawn")), ("3", none)],
        perform: |_| {},
    },
    Attack {
        name: "a withdrawn release behind an index that nobody signed",
        refused: (1, "release-withdrawn"),
        said: "2 is withdrawn: eats data",
        listed: &[("1", none), ("2", || because("withdrawn")), ("3", none)],
        perform: |stage| {
            stage.wrap("bridge", &stage.two);
        },
    },
    Attack {
        name: "a signed release that the document does not list",
        refused: (75, "release-not-listed"),
        said: "which comes before 3",
        listed: &[("1", none), ("3", none)],
        perform: |_| {},
    },
    Attack {
        name: "the same behind an index",
        refused: (75, "release-not-listed"),
        said: "which comes before 3",
        listed: &[("1", none), ("3", none)],
        perform: |stage| {
            stage.wrap("bridge", &stage.two);
        },
    },
    Attack {
        name: "a release before its rollout",
        refused: (75, "rollout-not-reached"),
        said: "the rollout of 2 has not reached this host",
        listed: &[("1", none), ("2", tomorrow), ("3", none)],
        perform: |stage| stage.host.host().set("policy.wariness = 0\n"),
    },
    Attack {
        name: "a release before its rollout behind an index",
        refused: (75, "rollout-not-reached"),
        said: "the rollout of 2 has not reached this host",
        listed: &[("1", none), ("2", tomorrow), ("3", none)],
        perform: |stage| {
            stage.host.host().set("policy.wariness = 0\n");
            stage.wrap("bridge", &stage.two);
        },
    },
    Attack {
        name: "a release above the goal",
        refused: (1, "release-out-of-range"),
        said: "4 is not between what runs and 3",
        listed: &[("1", none), ("2", none), ("3", none), ("4", none)],
        perform: |stage| stage.move_bridge("4"),
    },
    Attack {
        name: "a dead end",
        refused: (1, "dead-end"),
        said: "2 is a dead end: eats data",
        listed: &[("1", none), ("2", || because("dead_end")), ("3", none)],
        perform: |_| {},
    },
    Attack {
        name: "past a barrier",
        refused: (1, "release-out-of-range"),
        said: "1.5 has to come before 2: eats data",
        listed: &[("1", none), ("2", none), ("3", none)],
        perform: |stage| {
            // The barrier leads through the same tag.
            let barrier = stage.host.at.publish_as("1.5", &through_bridge("1.5", "1.2")).digest;
            stage.host.sign(&stage.key, &barrier);
            let mut later = stage.document(1, &[("1", none()), ("2", none()), ("3", none())]);
            let releases = later["releases"].as_array_mut().unwrap();
            releases.push(release("1.5", &barrier, because("barrier")));
            stage.put(&later);
        },
    },
    Attack {
        name: "a downgrade",
        refused: (1, "version-too-old"),
        said: "0.9 would be a downgrade from 1",
        listed: &[("0.9", none), ("1", none), ("3", none)],
        perform: |stage| stage.move_bridge("0.9"),
    },
    Attack {
        name: "a downgrade where downgrades are allowed",
        refused: (1, "version-too-old"),
        said: "0.9 would be a downgrade from 1",
        listed: &[("0.9", none), ("1", none), ("3", none)],
        perform: |stage| {
            stage.host.host().set("update.allow_downgrade = true\n");
            stage.move_bridge("0.9");
        },
    },
    Attack {
        name: "a downgrade from what was withdrawn",
        refused: (1, "version-too-old"),
        said: "0.9 would be a downgrade from 1",
        listed: &[("0.9", none), ("1", || because("withdrawn")), ("3", none)],
        perform: |stage| stage.move_bridge("0.9"),
    },
    Attack {
        name: "an unlisted downgrade from what was withdrawn",
        refused: (75, "release-not-listed"),
        said: "which comes before 3",
        listed: &[("1", || because("withdrawn")), ("3", none)],
        perform: |stage| stage.move_bridge("0.9"),
    },
];

#[test]
fn no_tag_on_the_way_leads_around_the_policy_document() {
    for attack in ATTACKS {
        let stage = Stage::new();
        let releases: Vec<_> = attack.listed.iter().map(|(v, more)| (*v, more())).collect();
        stage.put(&stage.document(2, &releases));
        (attack.perform)(&stage);
        let (status, code) = attack.refused;
        println!("{}", attack.name);
        let sentence = stage.host.refuses(status, code);
        assert!(sentence.contains(attack.said), "{}: {sentence}", attack.name);
        stage.host.host().boots_as_before();
    }
}

#[test]
fn without_an_attack_the_way_leads_through_the_bridge() {
    let stage = Stage::new();
    stage.put(&stage.document(2, &[("1", none()), ("2", none()), ("3", none())]));
    assert!(stage.host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    assert_eq!(stage.host.host().boot(), "booted slot B: 2 (promoted)");
    assert!(stage.host.at.says(&["update"]).starts_with("3 is installed in slot A"));
    // An index does no harm where what it lists is permitted, nor does a release that is left.
    let stage = Stage::new();
    stage.wrap("bridge", &stage.two);
    let left = because("withdrawn");
    stage.put(&stage.document(2, &[("1", left), ("2", none()), ("3", none())]));
    assert!(stage.host.at.says(&["update"]).starts_with("2 is installed in slot B"));
}

#[test]
fn a_release_is_withdrawn_by_its_manifests_digest_as_well_as_its_indexs() {
    let stage = Stage::new();
    let index = stage.wrap("stable", &stage.two);
    let listed = |hours, more| {
        let manifest = release("2-amd64", &stage.digest("2"), more);
        let one = release("1", &stage.host.one, none());
        document(hours, &[one, release("2", &index, none()), manifest])
    };
    for (hours, more, status, code) in [
        (4, because("withdrawn"), 1, "release-withdrawn"),
        (3, tomorrow(), 75, "rollout-not-reached"),
    ] {
        stage.put(&listed(hours, more));
        stage.host.refuses(status, code);
    }
    stage.put(&listed(2, none()));
    assert!(stage.host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    // Armed already: by either digest it does not boot any more.
    stage.put(&listed(1, because("withdrawn")));
    let output = stage.host.host().program(["update"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stage.host.at.status()["boot_next"], Value::Null);
    stage.host.host().boots_as_before();
}

#[test]
fn what_is_written_already_is_held_to_the_document_by_its_own_digest() {
    let stage = Stage::new();
    stage.wrap("bridge", &stage.two);
    let with = |hours, more| stage.document(hours, &[("1", none()), ("2", more), ("3", none())]);
    stage.put(&with(4, none()));
    assert!(stage.host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    // The tag goes back: what is written stays, and does not boot.
    let three = stage.host.at.publish_as("three", &through_bridge("3", "2"));
    stage.host.publish("1");
    stage.host.at.says(&["update"]);
    assert_eq!(stage.host.at.status()["state"], "idle");
    stage.host.at.publish(&through_bridge("3", "2"));
    assert_eq!(three.digest, stage.digest("3"));
    for (hours, more, status, code) in [
        (3, because("withdrawn"), 1, "release-withdrawn"),
        (2, tomorrow(), 75, "rollout-not-reached"),
    ] {
        stage.put(&with(hours, more));
        stage.host.refuses(status, code);
    }
    stage.put(&with(1, none()));
    assert!(stage.host.at.says(&["update"]).starts_with("2 is installed in slot B"));
}

#[test]
fn what_was_armed_before_there_was_a_document_is_withdrawn_by_its_version() {
    let stage = Stage::new();
    stage.wrap("stable", &stage.two);
    assert!(stage.host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    // The publisher lists the index that he made, and not that of somebody else.
    let his = Digest::of(b"the publisher's index of 2");
    let one = release("1", &stage.host.one, none());
    stage.put(&document(1, &[one, release("2", &his, because("withdrawn"))]));
    let output = stage.host.host().program(["update"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert_eq!(stage.host.at.status()["boot_next"], Value::Null);
    stage.host.host().boots_as_before();
}

#[test]
fn a_waypoint_that_the_document_refuses_by_now_is_not_armed() {
    for (more, status, code) in [
        (Some(because("withdrawn")), 1, "release-withdrawn"),
        (Some(because("dead_end")), 1, "dead-end"),
        (Some(tomorrow()), 75, "rollout-not-reached"),
        (None, 75, "release-not-listed"),
    ] {
        let stage = Stage::new();
        stage.wrap("bridge", &stage.two);
        stage.put(&stage.document(2, &[("1", none()), ("2", none()), ("3", none())]));
        // The publisher changes his mind while a hook of this host thinks.
        let two = more.map(|more| ("2", more));
        let others = [("1", none()), ("3", none())];
        let later = stage.document(1, &others.into_iter().chain(two).collect::<Vec<_>>());
        let file = stage.host.host().file("later.json");
        std::fs::write(&file, later.to_string()).unwrap();
        let target = stage.host.at.registry.image("os:stable");
        let hook = format!(
            "#!/bin/sh\nunset FLIPSIDE_HOOK\nexec {} policy push {} {target} >/dev/null 2>&1\n",
            env!("CARGO_BIN_EXE_flipside"),
            file.display(),
        );
        // Nobody signs what the hook pushes.
        stage.host.host().set("policy.signature.mode = \"off\"\n");
        let name = "etc/flipside/hooks/pre-upgrade.d/10-slow";
        stage.host.host().write(name, hook);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(stage.host.host().file(name), mode).unwrap();
        let output = stage.host.host().program(["update"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("[{code}]")), "{code}: {output:?}");
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let found = stage.host.at.status();
        assert_eq!((&found["state"], &found["boot_next"]), (&json!("installed"), &Value::Null));
        stage.host.host().boots_as_before();
    }
}

#[test]
fn a_lifted_floor_admits_listed_releases_only() {
    let host = PolicyHost::new();
    host.at.arrives_at("3");
    let three = host.publish("3");
    let [old, next] = ["2", "3.6"].map(|version| host.publish_aside(version));
    let four = host.at.publish(&through_bridge("4", "3.5")).digest;
    let bridge = |version: &str| host.at.publish_as("bridge", &ImageBuilder::new(version));
    let listed = [release("3", &three, because("withdrawn")), release("4", &four, none())];
    host.put(&document(5, &listed));
    for (version, digest, code) in [("2", old, "version-too-old"), ("3.6", next, "")] {
        bridge(version);
        host.refuses(75, "release-not-listed");
        let more = [release(version, &digest, none())];
        let hours = if code.is_empty() { 1 } else { 4 };
        host.put(&document(hours, &listed.iter().chain(&more).cloned().collect::<Vec<_>>()));
        match code {
            "" => assert!(host.at.says(&["update"]).starts_with("3.6 is installed in slot A")),
            code => drop(host.refuses(1, code)),
        }
        if !code.is_empty() {
            host.put(&document(3, &listed));
        }
    }
}

#[test]
fn without_a_document_a_waypoint_is_never_older_than_what_runs() {
    let host = RegistryHost::new();
    host.host.set("update.allow_downgrade = true\n");
    host.publish_as("bridge", &ImageBuilder::new("0.9"));
    host.publish(&through_bridge("3", "2.5"));
    let sentence = host.host.refuses(1, "version-too-old");
    assert!(sentence.starts_with("0.9 would be a downgrade from 1, and"), "{sentence}");
    host.host.boots_as_before();

    // Nor where the other slot holds it, proven, and it only has to be armed.
    let host = RegistryHost::new();
    host.host.set("update.allow_downgrade = true\n");
    let one = host.publish_as("1", &ImageBuilder::new("1")).digest;
    host.arrives_at("2");
    host.publish(
        &ImageBuilder::new("3").annotation(REQUIRES, "2.5").annotation(VIA, &one.to_string()),
    );
    host.host.refuses(1, "version-too-old");
    // What the tag itself names may be older: the host's own settings say so.
    host.publish(&ImageBuilder::new("1"));
    assert!(host.says(&["update"]).starts_with("1 is installed in slot A"));
}
