// SPDX-License-Identifier: MIT OR Apache-2.0

//! `image pull`, `image extract`, `image inspect`: what comes out is what went in, or nothing.

use std::fs;
use std::path::Path;

use flipside::report::progress::Silent;
use flipside_core::cancel::Cancel;
use flipside_image::code::Coded;
use flipside_image::{Architecture, Digest, Index, PartitionIdentity};
use flipside_publish::inspect::{StoredAs, inspect};
use flipside_publish::pull::{Pulled, pull};
use flipside_publish::{PublishError, extract, find_image};
use flipside_source::{LayoutSource, Source as _};
use serde_json::json;
use tempfile::TempDir;

use crate::support::images::{ImageBuilder, OsImage, content};
use crate::support::registry::Registry;

fn extract_from(layout: &Path, payload: &str, output: &Path) -> Result<(), PublishError> {
    let source = LayoutSource::open(layout, None)?;
    let image = find_image(&source, None)?;
    extract(&source, &image, payload, output, &Silent, &Cancel::new())
}

fn pull_from(image: &OsImage, directory: &Path) -> Result<Pulled, PublishError> {
    let source = LayoutSource::open(&image.layout, None)?;
    pull(&source, directory, Some("here"), None, &Silent, &Cancel::new())
}

fn flip(file: &Path, at: usize) -> Vec<u8> {
    let good = fs::read(file).unwrap();
    let mut bad = good.clone();
    let at = at % good.len();
    bad[at] ^= 0x10;
    fs::write(file, bad).unwrap();
    good
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_reference_images_extract_to_their_hashes() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let directory = tempfile::tempdir().unwrap();
    let hashes = fs::read_to_string(fixtures.join("payloads.sha256")).unwrap();
    for layout in ["reference-image-zstd", "reference-image-uncompressed"] {
        for line in hashes.lines() {
            let (hash, file) = line.split_once("  ").unwrap();
            let payload = file.trim_end_matches(".img").trim_end_matches(".bin");
            let output = directory.path().join(file);
            extract_from(&fixtures.join(layout), payload, &output).unwrap();
            assert_eq!(Digest::of(&fs::read(&output).unwrap()).hex(), hash, "{layout} {payload}");
        }
    }
}

#[test]
fn what_was_built_extracts_to_what_went_in() {
    for size in [0, 1, 999, 1000, 1001, 123_457] {
        for uncompressed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let bytes = content(3, size);
            let mut builder = ImageBuilder::new("1")
                .payload("system", bytes.clone())
                .chunk_size(1000)
                .unbootable();
            if uncompressed {
                builder = builder.uncompressed();
            }
            let image = builder.write(directory.path().join("layout"));
            for payload in ["system", "kernel.efi"] {
                let output = directory.path().join("output");
                fs::write(&output, "old").unwrap();
                extract_from(&image.layout, payload, &output).unwrap();
                assert_eq!(fs::read(&output).unwrap(), image.payload(payload));
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_layer_leaves_no_file() {
    for uncompressed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let layout = tempfile::tempdir().unwrap();
        let mut builder = ImageBuilder::new("1").system_size(10_000).chunk_size(1000);
        if uncompressed {
            builder = builder.uncompressed();
        }
        let image = builder.write(layout.path());
        let file = image.layer_file("system");
        let length = fs::metadata(&file).unwrap().len() as usize;
        for at in (0..length).step_by(97).chain([0, length - 1]) {
            let good = flip(&file, at);
            let output = directory.path().join("system");
            match extract_from(layout.path(), "system", &output) {
                // A bit of a frame header that no decoder looks at.
                Ok(()) => {
                    assert!(!uncompressed);
                    assert_eq!(fs::read(&output).unwrap(), image.payload("system"));
                    fs::remove_file(&output).unwrap();
                }
                Err(error) => assert_eq!(error.code().name(), "chunk-damaged", "{at}"),
            }
            assert_eq!(names(&directory), [""; 0]);
            fs::write(&file, good).unwrap();
        }
    }
}

#[test]
fn layers_that_are_cut_or_lie_about_their_length_leave_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let layout = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").system_size(10_000).chunk_size(1000).write(layout.path());
    let file = image.layer_file("system");
    let good = fs::read(&file).unwrap();
    for bad in [&good[..good.len() - 1], &[&good[..], b"x"].concat(), b""] {
        fs::write(&file, bad).unwrap();
        let error = extract_from(layout.path(), "system", &directory.path().join("s")).unwrap_err();
        assert_eq!(error.code().name(), "digest-mismatch");
        assert_eq!(names(&directory), [""; 0]);
    }
}

#[test]
fn an_output_that_is_no_regular_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path().join("layout"));
    for output in [directory.path(), Path::new("/dev/null")] {
        let error = extract_from(&image.layout, "system", output).unwrap_err();
        assert_eq!(error.code().name(), "output-exists");
    }
    let error = extract_from(&image.layout, "sytem", &directory.path().join("x")).unwrap_err();
    assert_eq!(error.code().name(), "argument-invalid");
    assert!(error.to_string().contains("kernel.efi, system"), "{error}");
}

#[test]
fn a_pulled_image_is_the_same_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").tag("there").write(directory.path().join("from"));
    let to = directory.path().join("to");
    let pulled = pull_from(&image, &to).unwrap();
    assert_eq!((pulled.digest, pulled.kept), (image.digest, 0));
    for entry in fs::read_dir(image.layout.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join("blobs/sha256").join(path.file_name().unwrap());
        assert_eq!(fs::read(path).unwrap(), fs::read(copy).unwrap());
    }
    let index = Index::parse(&fs::read(to.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.manifests.len(), 1);
    assert_eq!(index.manifests[0].annotations["org.opencontainers.image.ref.name"], "here");
    assert_eq!(index.manifests[0].platform.as_ref().unwrap().architecture, "amd64");
}

#[test]
fn a_pull_that_broke_off_fetches_only_what_is_missing_or_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path().join("from"));
    let to = directory.path().join("to");
    let kernel = image.image.layer("kernel.efi").unwrap().descriptor.clone();
    let system = image.image.layer("system").unwrap().descriptor.clone();

    // The source loses its second layer half way.
    let good = fs::read(image.layer_file("system")).unwrap();
    fs::write(image.layer_file("system"), &good[1..]).unwrap();
    assert_eq!(pull_from(&image, &to).unwrap_err().code().name(), "digest-mismatch");
    assert!(!to.join("index.json").exists());
    fs::write(image.layer_file("system"), &good).unwrap();
    let pulled = pull_from(&image, &to).unwrap();
    assert_eq!((pulled.kept, pulled.fetched), (kernel.size, system.size));

    let copy = OsImage { layout: to.clone(), ..image.clone() };
    flip(&copy.layer_file("kernel.efi"), 100);
    let pulled = pull_from(&image, &to).unwrap();
    assert_eq!((pulled.kept, pulled.fetched), (system.size, kernel.size));
    assert_eq!(pull_from(&image, &to).unwrap().fetched, 0);
}

#[test]
fn a_flipped_bit_in_any_blob_is_found_by_a_pull() {
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path().join("from"));
    for entry in fs::read_dir(image.layout.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let good = flip(&path, 1234);
        let to = tempfile::tempdir().unwrap();
        let error = pull_from(&image, to.path()).unwrap_err();
        assert_eq!(error.code().name(), "digest-mismatch", "{}", path.display());
        assert!(!to.path().join("index.json").exists());
        fs::write(path, good).unwrap();
    }
    pull_from(&image, &directory.path().join("to")).unwrap();
}

/// A layout whose only entry is an index of an image for each architecture.
fn multi_arch(directory: &Path) -> (OsImage, OsImage) {
    let layout = directory.join("multi");
    let arm = ImageBuilder::new("1").architecture(Architecture::Aarch64).write(&layout);
    let intel = ImageBuilder::new("1").write(&layout);
    let list = fs::read(layout.join("index.json")).unwrap();
    let digest = Digest::of(&list);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), &list).unwrap();
    let top = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{digest}","size":{}}}]}}"#,
        list.len()
    );
    fs::write(layout.join("index.json"), top).unwrap();
    (intel, arm)
}

#[test]
fn an_index_is_pulled_whole_or_for_one_architecture() {
    let directory = tempfile::tempdir().unwrap();
    let (intel, arm) = multi_arch(directory.path());
    let source = LayoutSource::open(&intel.layout, None).unwrap();
    let found = |architecture| find_image(&source, Some(architecture)).unwrap().digest;
    assert_eq!(found(Architecture::X86_64), intel.digest);
    assert_eq!(found(Architecture::Aarch64), arm.digest);

    let whole = directory.path().join("whole");
    pull(&source, &whole, None, None, &Silent, &Cancel::new()).unwrap();
    let copy = LayoutSource::open(&whole, None).unwrap();
    assert_eq!(copy.resolve().unwrap(), source.resolve().unwrap());
    assert_eq!(find_image(&copy, Some(Architecture::Aarch64)).unwrap().digest, arm.digest);

    let one = directory.path().join("one");
    let aarch64 = Some(Architecture::Aarch64);
    let pulled = pull(&source, &one, None, aarch64, &Silent, &Cancel::new()).unwrap();
    assert_eq!(pulled.digest, arm.digest);
    assert!(!one.join("blobs/sha256").join(intel.digest.hex()).exists());
    let copy = LayoutSource::open(&one, None).unwrap();
    let error = find_image(&copy, Some(Architecture::X86_64)).unwrap_err();
    assert_eq!(error.code().name(), "wrong-architecture");
}

#[test]
fn a_stop_ends_a_pull_between_two_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path().join("from"));
    let source = LayoutSource::open(&image.layout, None).unwrap();
    let (stop, to) = (Cancel::new(), directory.path().join("to"));
    stop.request();
    let error = pull(&source, &to, None, None, &Silent, &stop).unwrap_err();
    assert_eq!(error.code().name(), "stopped");
    let mut left: Vec<_> = fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["blobs", "oci-layout"]);
}

#[test]
fn an_inspection_tells_what_is_inside() {
    let directory = tempfile::tempdir().unwrap();
    let identity = PartitionIdentity {
        uuid: Some("0f0e0d0c-0b0a-0908-0706-050403020100".parse().unwrap()),
        type_uuid: None,
        flags: Some(1 << 60),
    };
    let builder = ImageBuilder::new("1").annotation("org.example.note", "a\x1b[2Jb");
    let image = builder.partition("system", identity).write(directory.path());
    let inspection = inspect(&image.image);
    assert_eq!(inspection.size, 320_000);
    let stored = |name| fs::metadata(image.layer_file(name)).unwrap().len();
    assert_eq!(inspection.stored_size, stored("system") + stored("kernel.efi"));
    assert_eq!(inspection.payloads[1].storage, StoredAs::ZstdFrames);
    assert_eq!((inspection.payloads[1].chunks, inspection.payloads[1].chunk_size), (5, 65536));
    let text = inspection.to_string();
    for part in [
        "Acme OS (acme)",
        "x86_64",
        &image.digest.to_string(),
        "5 chunks of 64.0 KiB",
        "uuid=0f0e0d0c-0b0a-0908-0706-050403020100 flags=0x1000000000000000",
        "org.example.note=a[2Jb",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["payloads"][0]["storage"], "zstd-frames");
    assert_eq!(json["product_info"]["version"], "1");
}

/// As Docker's builder lists them (BuildKit, "Image attestation storage").
#[test]
fn attestations_of_an_index_are_pulled_and_pushed_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    let image = ImageBuilder::new("1").write(&layout);
    let put = |bytes: &[u8]| -> (Digest, usize) {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        (digest, bytes.len())
    };
    let entry = |kind: &str, (digest, size): (Digest, usize)| json!({"mediaType": kind, "digest": digest, "size": size});
    let config = put(br#"{"architecture":"unknown","os":"unknown"}"#);
    let statement = put(br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#);
    let (kind, index_kind) =
        ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json");
    let manifest = put(json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "config": entry("application/vnd.oci.image.config.v1+json", config),
        "layers": [entry("application/vnd.in-toto+json", statement)],
    })
    .to_string()
    .as_bytes());
    let mut attestation = entry(kind, manifest);
    attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    });
    let of_image = fs::metadata(layout.join("blobs/sha256").join(image.digest.hex())).unwrap();
    let mut of_image = entry(kind, (image.digest, of_image.len() as usize));
    of_image["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let index = json!({"schemaVersion": 2, "manifests": [of_image, attestation]}).to_string();
    let index = put(index.as_bytes());
    let top = json!({"schemaVersion": 2, "manifests": [entry(index_kind, index)]}).to_string();
    fs::write(layout.join("index.json"), top).unwrap();

    let copy = directory.path().join("copy");
    let source = LayoutSource::open(&layout, None).unwrap();
    let take = || pull(&source, &copy, Some("here"), None, &Silent, &Cancel::new());
    let first = take().unwrap();
    assert_eq!((first.digest, first.kept), (index.0, 0));
    for digest in [manifest.0, config.0, statement.0, image.digest] {
        let bytes = fs::read(copy.join("blobs/sha256").join(digest.hex())).unwrap();
        assert_eq!(Digest::of(&bytes), digest);
    }
    let again = take().unwrap();
    assert_eq!((again.fetched, again.kept), (0, first.fetched));
    let registry = Registry::shared();
    assert_eq!(registry.push(&copy, "attested:1"), first.digest);
    registry.source("attested:1").manifest(&manifest.0).unwrap();
    // One that is not what it is called is not taken.
    fs::remove_dir_all(&copy).unwrap();
    fs::write(layout.join("blobs/sha256").join(statement.0.hex()), "{}").unwrap();
    take().unwrap_err();
}
