// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images from a real registry: what a good day looks like.

use std::time::Duration;

use flipside_image::code::Coded;
use flipside_image::{Architecture, Compression, Digest, MANIFEST_LIMIT};
use flipside_source::{Location, fetch_image, open};

use crate::support::registry::{Registry, fixture};

fn payload_bytes(source: &dyn flipside_source::Source, digest: &Digest, name: &str) -> Vec<u8> {
    let image = fetch_image(source, digest, Architecture::X86_64).unwrap();
    let layer = image.layer(name).unwrap();
    let mut bytes = Vec::new();
    source
        .stream(layer.descriptor, 0..layer.descriptor.size, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
    match layer.compression {
        Compression::None => bytes,
        Compression::Zstd => zstd::decode_all(bytes.as_slice()).unwrap(),
    }
}

fn expected_hash(payload: &str) -> String {
    let list = std::fs::read_to_string(fixture("payloads.sha256")).unwrap();
    let line = list.lines().find(|l| l.contains(payload)).unwrap();
    line.split_once(' ').unwrap().0.to_owned()
}

#[test]
fn what_was_pushed_comes_back() {
    let registry = Registry::shared();
    for name in ["reference-image-zstd", "reference-image-uncompressed"] {
        let pushed = registry.push(&fixture(name), &format!("acme/{name}:1"));
        let source = registry.source(&format!("acme/{name}:1"));
        let digest = source.resolve().unwrap();
        assert_eq!(digest, pushed);
        for payload in ["system", "exact"] {
            let bytes = payload_bytes(&*source, &digest, payload);
            assert_eq!(Digest::of(&bytes).hex(), expected_hash(payload));
        }
        assert_eq!(source.repository(), format!("{}/acme/{name}", registry.address()));
    }
}

#[test]
fn any_range_of_a_blob_is_the_same_bytes() {
    let registry = Registry::shared();
    registry.push(&fixture("reference-image-uncompressed"), "a:1");
    let source = registry.source("a:1");
    let digest = source.resolve().unwrap();
    let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
    let blob = image.layer("system").unwrap().descriptor;
    let whole = payload_bytes(&*source, &digest, "system");
    let size = blob.size;
    for range in [0..0, 0..1, 0..size, 1..size, size - 1..size, size / 3..size / 2, size..size] {
        let mut bytes = Vec::new();
        source
            .stream(blob, range.clone(), &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(bytes, whole[range.start as usize..range.end as usize]);
    }
    for range in [size..size + 1, 0..size + 1] {
        let error = source.stream(blob, range, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.code().name(), "image-malformed");
    }
}

#[test]
fn several_threads_share_one_source() {
    let registry = Registry::shared();
    registry.push(&fixture("reference-image-uncompressed"), "a:1");
    let source = registry.source("a:1");
    let digest = source.resolve().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let bytes = payload_bytes(&*source, &digest, "system");
                assert_eq!(Digest::of(&bytes).hex(), expected_hash("system"));
            });
        }
    });
}

#[test]
fn what_is_not_there_is_named() {
    let registry = Registry::shared();
    registry.push(&fixture("reference-image-zstd"), "z:1");
    for name in ["z:none", "none:1"] {
        let error = registry.source(name).resolve().unwrap_err();
        assert_eq!(error.code().name(), "tag-not-found", "{error}");
    }
    let source = registry.source("z:1");
    let other = Digest::of(b"something else");
    assert_eq!(source.manifest(&other).unwrap_err().code().name(), "blob-not-found");
    let digest = source.resolve().unwrap();
    let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
    let mut blob = image.manifest.config.clone();
    blob.digest = other;
    let error = source.blob("config", &blob, MANIFEST_LIMIT).unwrap_err();
    assert_eq!(error.code().name(), "blob-not-found", "{error}");
    let error = source.blob("config", &image.manifest.config, 1).unwrap_err();
    assert_eq!(error.code().name(), "image-over-limit");
    let error = fetch_image(&*source, &digest, Architecture::Aarch64).unwrap_err();
    assert_eq!(error.code().name(), "wrong-architecture", "{error}");
}

#[test]
fn nobody_there_is_unreachable_and_a_name_without_address_unknown() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let directory = tempfile::tempdir().unwrap();
    let options = crate::support::registry::options(directory.path());
    for (name, code) in [
        (format!("127.0.0.1:{port}/a:1"), "registry-unreachable"),
        ("no-such-host.invalid/a:1".to_owned(), "registry-unknown-host"),
    ] {
        let location: Location = name.parse().unwrap();
        let error = open(&location, &options).unwrap().resolve().unwrap_err();
        assert_eq!(error.code().name(), code, "{error}");
    }
}

#[test]
fn basic_authentication_takes_the_credentials_from_the_file() {
    let registry = Registry::start_with_password();
    let digest = registry.push(&fixture("reference-image-zstd"), "a/b:1");
    assert_eq!(registry.source("a/b:1").resolve().unwrap(), digest);
    let mut options = registry.options();
    options.auth_file = None;
    let location = Location::Registry(registry.reference("a/b:1"));
    let error = open(&location, &options).unwrap().resolve().unwrap_err();
    assert_eq!(error.code().name(), "registry-unauthorized", "{error}");
    let wrong = crate::support::registry::login_file(registry.address(), "flipside", "wrong");
    std::fs::write(options.root.path("/wrong.json"), wrong).unwrap();
    options.auth_file = Some("/wrong.json".into());
    let error = open(&location, &options).unwrap().resolve().unwrap_err();
    assert_eq!(error.code().name(), "registry-unauthorized", "{error}");
    assert!(error.to_string().contains("wrong.json"), "{error}");
    options.auth_file = Some("/missing.json".into());
    let error = open(&location, &options).unwrap().resolve().unwrap_err();
    assert_eq!(error.code().name(), "credentials-unreadable", "{error}");
}

#[test]
fn a_stop_ends_every_wait_at_once() {
    // Accepts connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/a:1", listener.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut options = crate::support::registry::options(directory.path());
    // Who does not listen waits for an hour.
    options.timing.stall = Duration::from_secs(3600);
    options.timing.total = Duration::from_secs(3600);
    let source = open(&name.parse().unwrap(), &options).unwrap();
    let stop = options.stop.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stop.request();
        });
        let error = source.resolve().unwrap_err();
        assert_eq!(error.code().name(), "stopped");
    });
}
