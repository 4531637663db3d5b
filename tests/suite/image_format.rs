// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images written by the reference implementation of the format.

use std::path::{Path, PathBuf};

use flipside_image::{Compression, Digest, Image, Index, Manifest};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn blob(layout: &Path, digest: &Digest) -> Vec<u8> {
    std::fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap()
}

fn load(name: &str) -> (PathBuf, Image) {
    let layout = fixture(name);
    let index = Index::parse(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index.manifests[0].digest;
    let manifest = blob(&layout, &digest);
    let config = blob(&layout, &Manifest::parse(&manifest).unwrap().config.digest);
    (layout.clone(), Image::assemble(digest, &manifest, &config).unwrap())
}

/// `payloads.sha256` has the hashes of the files that went into the reference
/// images; the payload `system` was `system.img`, `exact` was `exact.bin`.
fn hashes() -> Vec<(String, String)> {
    std::fs::read_to_string(fixture("payloads.sha256"))
        .unwrap()
        .lines()
        .map(|line| {
            let (hash, name) = line.split_once("  ").unwrap();
            let payload = name.trim_end_matches(".img").trim_end_matches(".bin");
            (payload.to_owned(), hash.to_owned())
        })
        .collect()
}

#[test]
fn every_payload_of_the_reference_images_has_its_hash() {
    for name in ["reference-image-zstd", "reference-image-uncompressed"] {
        let (layout, image) = load(name);
        let mut seen = 0;
        for (payload, hash) in hashes() {
            let layer = image.layer(&payload).unwrap();
            let stored = blob(&layout, &layer.descriptor.digest);
            let bytes = match layer.compression {
                Compression::None => stored,
                Compression::Zstd => zstd::decode_all(stored.as_slice()).unwrap(),
            };
            assert_eq!(bytes.len() as u64, layer.payload.size);
            assert_eq!(Digest::of(&bytes).hex(), hash, "{name} {payload}");
            for (index, chunk) in layer.payload.chunks() {
                let range = layer.payload.chunk_range(index);
                assert_eq!(Digest::of(&bytes[range.start as usize..range.end as usize]), *chunk);
            }
            seen += 1;
        }
        assert_eq!(seen, 4);
    }
}

#[test]
fn a_reference_manifest_and_config_survive_the_round_trip() {
    let (_, image) = load("reference-image-zstd");
    let manifest = Manifest::parse(&image.manifest.to_bytes().unwrap()).unwrap();
    assert_eq!(manifest, image.manifest);
    assert_eq!(image.version(), "7.2.0");
}
