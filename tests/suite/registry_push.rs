// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images on their way into a registry.

use std::path::Path;

use flipside_core::progress::Silent;
use flipside_image::code::Coded;
use flipside_image::{
    Architecture, Descriptor, Digest, INDEX_TYPE, Index, MANIFEST_TYPE, Platform,
};
use flipside_publish::push::push;
use flipside_source::fetch_image;

use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::registry::{Registry, fixture, login_file};

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        artifact_type: None,
        platform: None,
        annotations: Default::default(),
    }
}

/// A layout whose `index.json` names an index of the reference images, as for two machines.
fn layout_of_an_index(directory: &Path) -> Digest {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut entries = Vec::new();
    for (name, architecture) in
        [("reference-image-zstd", "amd64"), ("reference-image-uncompressed", "arm64")]
    {
        let layout = fixture(name);
        for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), blobs.join(entry.file_name())).unwrap();
        }
        let index = Index::parse(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let platform = Platform { architecture: architecture.into(), os: "linux".into() };
        entries.push(Descriptor { platform: Some(platform), ..index.manifests[0].clone() });
    }
    let inner = Index::new(entries).to_bytes().unwrap();
    let top = descriptor(INDEX_TYPE, &inner);
    std::fs::write(blobs.join(top.digest.hex()), &inner).unwrap();
    let digest = top.digest;
    std::fs::write(directory.join("index.json"), Index::new(vec![top]).to_bytes().unwrap())
        .unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    digest
}

#[test]
fn an_index_is_pushed_with_all_its_images() {
    let registry = Registry::shared();
    let directory = tempfile::tempdir().unwrap();
    let digest = layout_of_an_index(directory.path());
    assert_eq!(registry.push(directory.path(), "multi:1"), digest);
    let source = registry.source("multi:1");
    assert_eq!(source.resolve().unwrap(), digest);
    let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
    assert_eq!(image.version(), "7.2.0");
    // The other one says x86_64 in its config, whatever the index says of it.
    let error = fetch_image(&*source, &digest, Architecture::Aarch64).unwrap_err();
    assert_eq!(error.code().name(), "wrong-architecture");
    assert!(source.manifest(&image.digest).is_ok());
    assert_eq!(descriptor(MANIFEST_TYPE, b"x").size, 1);
}

#[test]
fn what_the_registry_has_is_not_sent_again() {
    let registry = Registry::shared();
    let first = registry.push(&fixture("reference-image-uncompressed"), "a:1");
    let proxy = Proxy::start(registry.address());
    let again = format!("{}/a:again", proxy.address()).parse().unwrap();
    push(&fixture("reference-image-uncompressed"), None, &again, &registry.options(), &Silent)
        .unwrap();
    assert_eq!(registry.source("a:again").resolve().unwrap(), first);
    let sent = proxy.seen().into_iter().filter(|seen| !["GET", "HEAD"].contains(&&*seen.method));
    let sent: Vec<String> = sent.map(|seen| seen.path).collect();
    assert!(!sent.is_empty() && sent.iter().all(|path| path.contains("/manifests/")), "{sent:?}");
}

#[test]
fn a_push_without_leave_is_told() {
    let registry = Registry::start_with_password();
    let mut options = registry.options();
    let layout = fixture("reference-image-zstd");
    options.auth_file = None;
    let error = push(&layout, None, &registry.reference("a:1"), &options, &Silent).unwrap_err();
    assert_eq!(error.code().name(), "registry-unauthorized", "{error}");
    let wrong = login_file(registry.address(), "flipside", "wrong");
    std::fs::write(options.root.path("/wrong.json"), wrong).unwrap();
    options.auth_file = Some("/wrong.json".into());
    let error = push(&layout, None, &registry.reference("a:1"), &options, &Silent).unwrap_err();
    assert_eq!(error.code().name(), "registry-unauthorized", "{error}");
    let entry = format!("/wrong.json (entry {}) are refused", registry.address());
    assert!(error.to_string().contains(&entry), "{error}");
}

#[test]
fn failures_of_a_push_have_codes_and_hold_no_url() {
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let options = registry.options();
    let reference = format!("{}/refused:1", proxy.address()).parse().unwrap();
    let layout = fixture("reference-image-zstd");
    let errors = r#"{"errors":[{"code":"DENIED","message":"the project is read-only"}]}"#;
    for (status, body, code) in [
        (403, errors, "registry-forbidden"),
        (429, "{}", "registry-rate-limited"),
        (500, "secret", "registry-error"),
        (418, "secret", "registry-error"),
    ] {
        proxy.calm();
        proxy.fault("uploads", 100, Fault::Status(status, vec![], body.into()));
        let error = push(&layout, None, &reference, &options, &Silent).unwrap_err();
        assert_eq!(error.code().name(), code, "{status}: {error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("uploads"), "{error:?}");
        let denied = error.to_string();
        let expected = "denies access to refused: 403 Forbidden (DENIED: the project is read-only)";
        assert_eq!(denied.ends_with(expected), body == errors, "{denied}");
    }
    let error = push(Path::new("/nowhere"), None, &reference, &options, &Silent).unwrap_err();
    assert_eq!(error.code().name(), "source-unreadable", "{error}");
    let error = push(&layout, Some("other"), &reference, &options, &Silent).unwrap_err();
    assert_eq!(error.code().name(), "tag-not-found", "{error}");
}

/// nginx takes bodies of 1 MiB, where it is not told otherwise.
#[test]
fn a_push_through_a_proxy_that_limits_bodies_goes_in_pieces() {
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let options = registry.options();
    let layout = fixture("reference-image-uncompressed");
    let at = |name: &str| format!("{}/{name}", proxy.address()).parse().unwrap();
    proxy.limit_bodies(1 << 20);
    let digest = push(&layout, None, &at("in-pieces/a:1"), &options, &Silent).unwrap();
    let source = registry.source("in-pieces/a:1");
    let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
    for layer in image.layers() {
        source.blob("payload", layer.descriptor, u64::MAX).unwrap();
    }
    let seen = proxy.seen();
    assert!(seen.iter().filter(|seen| seen.method == "PATCH").count() > 4);
    // Only the first large blob was sent whole.
    let is_whole = |seen: &&Seen| seen.method == "PUT" && seen.body.len() > 1 << 20;
    assert_eq!(seen.iter().filter(is_whole).count(), 1);
    // Not even pieces.
    proxy.limit_bodies(1 << 10);
    let error = push(&layout, None, &at("not-in-pieces/b:1"), &options, &Silent).unwrap_err();
    let expected = "413 Payload Too Large: a proxy in front of it limits the size of uploads";
    assert!(error.to_string().ends_with(expected), "{error}");
}
