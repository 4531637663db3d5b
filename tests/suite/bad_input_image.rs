// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tags that point to something else than an OS image for this host.

use std::path::Path;

use flipside_image::{Architecture, Digest};
use serde_json::{Value, json};

use crate::support::images::{ImageBuilder, OsImage};
use crate::support::program_host::ProgramHost;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes an image to a layout of its own, which the host follows from then on; the machine that
/// is played reads the other one.
fn publish(host: &ProgramHost, image: &ImageBuilder) -> OsImage {
    let layout = host.0.directory.path().join("other");
    host.follow(&format!("oci:{}:stable", layout.display()), "");
    image.clone().tag("stable").write(layout)
}

/// Stores `bytes` in the layout, and describes them.
fn store(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
}

/// Lets the tag `stable` of the layout point to `manifest`.
fn point(layout: &Path, manifest: &Value) {
    let mut entry = store(layout, MANIFEST, manifest.to_string().as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "stable"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// Version 2 with another config.
fn with_config(host: &ProgramHost, change: impl FnOnce(&mut Value)) {
    let image = publish(host, &ImageBuilder::new("2"));
    let read = |digest: &Digest| -> Value {
        serde_json::from_slice(&std::fs::read(image.blob(digest)).unwrap()).unwrap()
    };
    let mut config = read(&image.image.manifest.config.digest);
    change(&mut config);
    let mut manifest = read(&image.digest);
    let media_type = manifest["config"]["mediaType"].as_str().unwrap().to_owned();
    manifest["config"] = store(&image.layout, &media_type, config.to_string().as_bytes());
    point(&image.layout, &manifest);
}

/// A manifest of another kind of artifact.
fn artifact(host: &ProgramHost, config: &str, layer: &str) {
    let layout = &publish(host, &ImageBuilder::new("2")).layout;
    let config = store(layout, config, br#"{"architecture":"amd64","os":"linux"}"#);
    let layer = store(layout, layer, b"\x1f\x8b");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
    });
    point(layout, &manifest);
}

fn kernel(config: &mut Value) -> &mut Value {
    let payloads = config["payloads"].as_array_mut().unwrap();
    payloads.iter_mut().find(|payload| payload["name"] == "kernel.efi").unwrap()
}

/// A kernel of more bytes than the file system that holds the ESP has free.
fn oversized_kernel(host: &ProgramHost, config: &mut Value) {
    const CHUNK: u64 = 16 << 20;
    let room = nix::sys::statvfs::statvfs(&host.file("efi")).unwrap();
    let chunks = room.blocks_available() * room.fragment_size() / CHUNK + 100;
    let kernel = kernel(config);
    let hash = kernel["chunk_hashes_sha256"][0].clone();
    kernel["size"] = (chunks * CHUNK).into();
    kernel["hash_chunk_size"] = CHUNK.into();
    kernel["chunk_hashes_sha256"] = (0..chunks).map(|_| hash.clone()).collect();
    kernel.as_object_mut().unwrap().remove("frame_sizes");
}

#[test]
fn what_is_no_os_image_for_this_host_is_refused_by_name() {
    type Case = (&'static str, fn(&ProgramHost), &'static str, &'static str);
    let cases: &[Case] = &[
        (
            "a container image",
            |host| {
                artifact(
                    host,
                    "application/vnd.oci.image.config.v1+json",
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                );
            },
            "not-an-os-image",
            "container image",
        ),
        (
            "a Helm chart",
            |host| {
                artifact(
                    host,
                    "application/vnd.cncf.helm.config.v1+json",
                    "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                );
            },
            "not-an-os-image",
            "Helm chart",
        ),
        (
            "an image for another machine",
            |host| {
                publish(host, &ImageBuilder::new("2").architecture(Architecture::Aarch64));
            },
            "wrong-architecture",
            "aarch64",
        ),
        (
            "a format of the future",
            |host| with_config(host, |config| config["format_version"] = "2".into()),
            "format-version-unknown",
            "\"2\"",
        ),
        (
            "a payload larger than its slot",
            |host| {
                publish(host, &ImageBuilder::new("2").system_size((1 << 20) + 1));
            },
            "slot-too-small",
            "system-b only 1048576",
        ),
        (
            "a kernel larger than the room on the ESP",
            |host| with_config(host, |config| oversized_kernel(host, config)),
            "esp-full",
            "EFI/flipside/boot-b.efi",
        ),
        (
            "an image without a system",
            |host| {
                let kernel = crate::support::images::kernel(Architecture::X86_64, 1, 5000);
                let image = ImageBuilder::new("2").without_payloads();
                publish(host, &image.payload("kernel.efi", kernel));
            },
            "payload-missing",
            "system",
        ),
        (
            "a tag that is not in the layout",
            |host| host.follow(&format!("oci:{}:nope", host.0.track.display()), ""),
            "tag-not-found",
            "nope",
        ),
        (
            "a layout that is not there",
            |host| host.follow("oci:/no/such/layout:stable", ""),
            "source-unreadable",
            "/no/such/layout",
        ),
    ];
    for (name, make, code, said) in cases {
        let host = ProgramHost::new();
        make(&host);
        let sentence = host.refuses(1, code);
        assert!(sentence.contains(said), "{name}: {sentence}");
        host.boots_as_before();
    }
}
