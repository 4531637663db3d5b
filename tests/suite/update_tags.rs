// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tags of indexes, tags that move at the wrong moment, payloads with partitions of their own, and
//! hooks in whole runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use flipside::run::Outcome;
use flipside_image::{Descriptor, INDEX_TYPE, Index, PartitionIdentity, Platform};
use flipside_publish::disk::Plan;
use flipside_sim::NewOptions;
use uuid::Uuid;

use crate::support::documents;
use crate::support::followed::followed;
use crate::support::host::TestHost;
use crate::support::images::{ImageBuilder, OsImage};

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(32 << 10).system_size(64 << 10)
}

/// Lets `stable` point to an index that lists `image`, and says by `note` which index it is.
fn publish_index(host: &TestHost, image: &OsImage, note: &str) -> flipside_image::Digest {
    let manifest = std::fs::read(image.blob(&image.digest)).unwrap();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry.platform = Some(Platform { architecture: "amd64".into(), os: "linux".into() });
    entry.annotations.insert("note".into(), note.into());
    let inner = Index::new(vec![entry]).to_bytes().unwrap();
    let mut top = descriptor(INDEX_TYPE, &inner);
    std::fs::write(image.blob(&top.digest), &inner).unwrap();
    let digest = top.digest;
    let name = "org.opencontainers.image.ref.name";
    top.annotations.insert(name.into(), "stable".into());
    let path = host.track.join("index.json");
    let index = Index::parse(&std::fs::read(&path).unwrap()).unwrap();
    let mut manifests = index.manifests;
    manifests.retain(|m| m.annotations.get(name).is_none_or(|tag| tag != "stable"));
    manifests.push(top);
    std::fs::write(path, Index::new(manifests).to_bytes().unwrap()).unwrap();
    digest
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.into(),
        digest: flipside_image::Digest::of(bytes),
        size: bytes.len() as u64,
        artifact_type: None,
        platform: None,
        annotations: Default::default(),
    }
}

#[test]
fn a_tag_of_an_index_is_followed_and_one_that_comes_again_with_the_same_image_is_nothing_new() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2"));
    let first = publish_index(&host, &two, "first");
    assert_eq!(host.arm(), "B 2");
    // The index was made again before the reboot, and after it.
    publish_index(&host, &two, "second");
    assert!(matches!(host.update().unwrap(), Outcome::Armed { before: true, .. }));
    assert_eq!(host.boot(), "B 2 promoted");
    let Outcome::UpToDate { tag, .. } = host.update().unwrap() else { panic!() };
    assert_ne!(tag, first);
}

#[test]
fn p7_a_digest_that_failed_is_known_by_its_index() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2"));
    publish_index(&host, &two, "first");
    for _ in 0..2 {
        host.arm();
        host.boot_and_fail();
        assert_eq!(host.boot(), "A 1 fell back");
    }
    assert_eq!(host.refusal(), "digest-failed");
    publish_index(&host, &two, "second");
    assert_eq!(host.refusal(), "digest-failed");
    host.publish(&version("3"));
    host.arm();
    assert_eq!(host.boot(), "B 3 promoted");
    publish_index(&host, &two, "third");
    assert_eq!(host.refusal(), "digest-failed");
    assert!(host.retry(&two.digest));
    host.allow_downgrades();
    assert_eq!(host.arm(), "A 2");
}

#[test]
fn a_second_run_of_an_index_costs_a_question_for_it_and_one_for_its_policy() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2"));
    publish_index(&host, &two, "first");
    let (_registry, proxy) = followed(&host, "os");
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
    proxy.forget();
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    let asked: Vec<_> =
        proxy.seen().into_iter().map(|s| format!("{} {}", s.method, s.path)).collect();
    assert_eq!(asked, ["HEAD /v2/os/manifests/stable", "GET /v2/os/manifests/stable.policy"]);
}

#[test]
fn an_install_fetches_the_config_once_and_keeps_it() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2").annotation("com.example.note", "fetched once"));
    let (_registry, proxy) = followed(&host, "once");
    assert_eq!(host.arm(), "B 2");
    let config = two.image.manifest.config.digest;
    let path = format!("/v2/once/blobs/{config}");
    assert_eq!(proxy.seen().iter().filter(|seen| seen.path == path).count(), 1);
    let kept = host.file(format!("var/lib/flipside/configs/{}.json", config.hex()));
    assert_eq!(std::fs::read(kept).unwrap(), two.image.config_bytes);
}

/// A hook that runs `script`; `flipside` in it is this program.
fn hook(host: &TestHost, script: &str) {
    let directory = host.file("etc/flipside/hooks/pre-upgrade.d");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("50-hook");
    let program = env!("CARGO_BIN_EXE_flipside");
    let text = format!("#!/bin/sh\nflipside() {{ {program} --root . \"$@\"; }}\n{script}\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn tree(directory: &Path, files: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("run") || path.ends_with("hooks") {
            continue;
        }
        if path.is_dir() {
            tree(&path, files);
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
}

#[test]
fn a_hook_that_defers_or_blocks_keeps_everything_as_it_is() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    let look = || {
        let mut files = Vec::new();
        tree(&host.path(), &mut files);
        files
    };
    let before = look();
    for (script, code) in [("echo later; exit 75", "hook-deferred"), ("exit 1", "hook-blocked")] {
        hook(&host, script);
        assert_eq!(host.refusal(), code);
        assert!(look() == before, "{script}");
    }
    hook(&host, "exit 0");
    assert_eq!(host.arm(), "B 2");
    // What waits already is not asked about again.
    hook(&host, "exit 1");
    assert!(matches!(host.update().unwrap(), Outcome::Armed { before: true, .. }));
}

#[test]
fn a_hook_may_call_flipside_and_is_not_asked_about_itself() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    hook(
        &host,
        "flipside status >seen.status 2>&1 || exit 1\n\
         flipside update >seen.update 2>&1; echo $? >>seen.update\n\
         flipside promote >seen.promote 2>&1 || exit 1\nexit 0",
    );
    assert_eq!(host.arm(), "B 2");
    let seen = std::fs::read_to_string(host.file("seen.update")).unwrap();
    assert!(seen.contains("hook-nested") && seen.ends_with("75\n"), "{seen}");
    assert_eq!(host.boot(), "B 2 promoted");
}

#[test]
fn a_tag_that_moves_while_the_hooks_are_asked_defers() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("3"));
    let later = std::fs::read(host.track.join("index.json")).unwrap();
    host.publish(&version("2"));
    std::fs::write(host.file("later.json"), later).unwrap();
    hook(&host, &format!("cp later.json {}/index.json", host.track.display()));
    assert_eq!(host.refusal(), "situation-changed");
    assert!(!host.file("efi/EFI/flipside/slot-b.json").exists());
    assert_eq!(host.arm(), "B 3");
    assert_eq!(host.boot(), "B 3 promoted");
}

const UUIDS: [Uuid; 3] = [Uuid::from_u128(0x11), Uuid::from_u128(0x22), Uuid::from_u128(0x33)];

/// An image with a payload `verity`, whose partition it names.
fn with_verity(name: &str, uuid: Uuid) -> ImageBuilder {
    let identity = PartitionIdentity { uuid: Some(uuid), type_uuid: None, flags: None };
    version(name).payload("verity", vec![uuid.as_bytes()[15]; 40_000]).partition("verity", identity)
}

fn host_with_verity() -> TestHost {
    let directory = tempfile::tempdir().unwrap();
    let track = directory.path().join("track");
    let host = TestHost { directory, track };
    host.publish(&with_verity("1", UUIDS[0]));
    let reference = format!("oci:{}:stable", host.track.display());
    let loader = host.directory.path().join("loader.efi");
    let kernel = crate::support::images::kernel(flipside_image::Architecture::X86_64, 9, 5000);
    std::fs::write(&loader, kernel).unwrap();
    let options = NewOptions {
        images: vec![reference.clone()],
        track: Some(reference),
        payloads: vec!["verity".into()],
        ..NewOptions::default()
    };
    let disk = Plan {
        esp_size: Some(4 << 20),
        slot_size: Some(1 << 20),
        seed: Some(1),
        loader: Some(loader),
        ..Plan::default()
    };
    flipside::cli::new_machine(&host.path(), &options, &disk).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
    host
}

#[test]
fn further_payloads_and_the_partitions_that_they_name_come_along() {
    let host = host_with_verity();
    host.publish(&with_verity("2", UUIDS[1]));
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
    host.publish(&with_verity("3", UUIDS[2]));
    assert_eq!(host.arm(), "A 3");
    assert_eq!(host.boot(), "A 3 promoted");
}

#[test]
fn a_partition_uuid_that_the_running_slot_has_is_refused_before_anything_is_touched() {
    let host = host_with_verity();
    let disk = || std::fs::read(host.file("disk.img")).unwrap();
    let before = disk();
    host.publish(&with_verity("2", UUIDS[0]));
    assert_eq!(host.refusal(), "partition-uuid-duplicate");
    assert!(disk() == before);
    assert!(!host.file("efi/EFI/flipside/slot-b.json").exists());
    assert_eq!(host.boot(), "A 1 promoted");
}

#[test]
fn a_clock_that_jumps_backwards_changes_nothing() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    // What was written stems from a future that did not come.
    let state = host.file("var/lib/flipside/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut entry: serde_json::Value = serde_json::from_str(&text).unwrap();
    entry["time"] = "9000-01-01T00:00:00Z".into();
    std::fs::write(&state, entry.to_string()).unwrap();
    host.status();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    assert_eq!(host.boot(), "A 1 fell back");
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(command.arg("--root").arg(host.path()).arg("status"));
    assert!(output.status.success());
}
