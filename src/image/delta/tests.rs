// SPDX-License-Identifier: MIT OR Apache-2.0

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    ChunkIndex, ChunkSize, Compression, Descriptor, FrameTable, ImageConfig, Manifest, Payload,
    ProductInfo,
};

/// An image with a payload `system` of `content` in chunks of four bytes, stored as it is.
fn image(content: &[u8]) -> Image {
    let payload = Payload {
        name: "system".parse().unwrap(),
        size: content.len() as u64,
        chunk_size: ChunkSize::new(4).unwrap(),
        chunks: content.chunks(4).map(Digest::of).collect(),
        frames: None,
        partition: None,
    };
    let config = ImageConfig {
        product_info: ProductInfo {
            id: "acme".into(),
            name: "Acme OS".into(),
            version: "2".into(),
            variant: "x86_64".into(),
            commit_hash: String::new(),
            commit_date: String::new(),
            build_tree_dirty: false,
            components: None,
        },
        payloads: vec![payload],
    };
    let bytes = config.to_bytes().unwrap();
    let layer = Descriptor::of(Compression::None.media_type(), content);
    let manifest =
        Manifest::new(Descriptor::of(crate::CONFIG_TYPE, &bytes), vec![layer], [].into());
    let manifest_bytes = manifest.to_bytes().unwrap();
    Image::assemble(Digest::of(&manifest_bytes), &manifest_bytes, &bytes).unwrap()
}

fn new() -> Image {
    image(b"aaaabbbbccccdd")
}

/// One chunk of each kind: from the image, copied, and two patches.
fn delta() -> Delta {
    let windows = [Window { offset: 0, length: 4 }, Window { offset: 8, length: 2 }];
    let chunks = [
        ChunkDelta::Full,
        ChunkDelta::Copy(6),
        ChunkDelta::Patch { size: 5, windows: &windows },
        ChunkDelta::Patch { size: 7, windows: &windows[..1] },
    ];
    let layer = Descriptor::of(DELTA_FRAMES_TYPE, b"12345abcdefg");
    let payload = &new().config.payloads[0];
    let payload = PayloadDelta::of(payload, 10, chunks.into_iter(), layer).unwrap();
    Delta { from: Digest::of(b"old"), from_version: "1".into(), payloads: vec![payload] }
}

fn manifest(delta: &Delta) -> DeltaManifest {
    DeltaManifest {
        subject: Descriptor::new(crate::MANIFEST_TYPE, new().digest, 7),
        from: delta.from,
        config: Descriptor::of(DELTA_CONFIG_TYPE, &delta.to_bytes(&new()).unwrap()),
        layers: delta.payloads.iter().map(|payload| payload.layer.clone()).collect(),
    }
}

#[test]
fn a_delta_survives_the_round_trip() {
    let (delta, image) = (delta(), new());
    let bytes = delta.to_bytes(&image).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(
        text.contains(
            r#""chunks":[null,{"copy":6},{"frame":5,"windows":[[0,4],[8,2]]},{"frame":7,"windows":[[0,4]]}]"#
        ),
        "{text}"
    );
    let manifest = manifest(&delta);
    assert_eq!(Delta::parse(&bytes, &manifest, &image).unwrap(), delta);
    let again = DeltaManifest::parse(&manifest.to_bytes().unwrap()).unwrap();
    assert_eq!(again, manifest);
    let payload = delta.payload(&"system".parse().unwrap()).unwrap();
    assert_eq!(payload.frames.range(ChunkIndex(2)), Some(0..5));
    assert_eq!(payload.frames.range(ChunkIndex(3)), Some(5..12));
    assert_eq!(payload.chunk(ChunkIndex(9)), ChunkDelta::Full);
}

#[test]
fn what_is_not_as_the_image_is_refused_and_said() {
    let (delta, image) = (delta(), new());
    let good: Value = serde_json::from_slice(&delta.to_bytes(&image).unwrap()).unwrap();
    let frame = |windows: Value| json!([null, null, null, {"frame": 12, "windows": windows}]);
    let full = u64::from(u32::MAX);
    for (path, value, what) in [
        ("/format_version", json!("2"), "format version"),
        ("/to/manifest", json!(Digest::of(b"x")), "other images"),
        ("/from/config", json!(Digest::of(b"x")), "other images"),
        ("/payloads", json!([]), "0 payloads and 1 layers"),
        ("/payloads/0/name", json!("other"), "no payload \"other\""),
        ("/payloads/0/chunks", json!([]), "all its chunks"),
        ("/payloads/0/chunks", json!([null, null, null, null]), "another size than its frames"),
        ("/payloads/0/chunks", json!([null, null, null, null, null]), "one too many"),
        ("/payloads/0/chunks", json!([{"copy": 7}]), "beyond the old payload's end"),
        ("/payloads/0/chunks", json!([{"copy": u64::MAX}]), "beyond the old payload's end"),
        ("/payloads/0/chunks", json!([{"copy": 0, "frame": 1}]), "neither"),
        ("/payloads/0/chunks", json!([{}]), "neither"),
        ("/payloads/0/chunks", json!([[]]), "malformed"),
        ("/payloads/0/chunks", json!("x"), "malformed"),
        ("/payloads/0/chunks", json!([{"frame": 0, "windows": [[0, 1]]}]), "no bytes"),
        ("/payloads/0/chunks", frame(json!([])), "one to four windows"),
        ("/payloads/0/chunks", frame(json!([[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]])), "4 entries"),
        ("/payloads/0/chunks", frame(json!([[0, 11]])), "window beyond"),
        ("/payloads/0/chunks", frame(json!([[u64::MAX, 1]])), "window beyond"),
        ("/payloads/0/chunks", frame(json!([[0, full + 1]])), "malformed"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        let bytes = serde_json::to_vec(&bad).unwrap();
        let flaw = Delta::parse(&bytes, &manifest(&delta), &image).unwrap_err();
        assert!(flaw.to_string().contains(what), "{path}: {flaw}");
    }
    // Of an old payload that is large enough, more than 4 MiB.
    let mut wide = good;
    wide["payloads"][0]["from_size"] = u64::MAX.into();
    wide["payloads"][0]["chunks"][2]["windows"] = json!([[0, (4 << 20) + 1]]);
    let bytes = serde_json::to_vec(&wide).unwrap();
    let flaw = Delta::parse(&bytes, &manifest(&delta), &image).unwrap_err();
    assert!(flaw.to_string().contains("more than 4 MiB"), "{flaw}");
    let long = vec![b' '; DELTA_CONFIG_LIMIT as usize + 1];
    assert!(Delta::parse(&long, &manifest(&delta), &image).is_err());
}

#[test]
fn a_list_of_chunks_takes_no_more_memory_than_the_image_has_chunks() {
    let (delta, image) = (delta(), new());
    let config = String::from_utf8(delta.to_bytes(&image).unwrap()).unwrap();
    let (start, end) = (config.find("[null").unwrap(), config.rfind(']').unwrap());
    let many = vec!["null"; 1_000_000].join(",");
    let bad = format!("{}[{many}{}", &config[..start], &config[end - 2..]);
    let flaw = Delta::parse(bad.as_bytes(), &manifest(&delta), &image).unwrap_err();
    assert!(flaw.to_string().contains("chunk 4 of system is one too many"), "{flaw}");
}

#[test]
fn a_manifest_of_anything_else_is_refused() {
    let good: Value = serde_json::from_slice(&manifest(&delta()).to_bytes().unwrap()).unwrap();
    for (path, value) in [
        ("/schemaVersion", json!(1)),
        ("/artifactType", json!(crate::ARTIFACT_TYPE)),
        ("/config/mediaType", json!(EMPTY)),
        ("/config/size", json!(DELTA_CONFIG_LIMIT + 1)),
        ("/layers/0/mediaType", json!("application/zstd")),
        ("/layers", json!(vec![good["layers"][0].clone(); PAYLOADS + 1])),
        ("/annotations", json!({})),
        ("/annotations", json!({ FROM_ANNOTATION: "sha256:0" })),
        ("/subject", Value::Null),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        assert!(DeltaManifest::parse(&serde_json::to_vec(&bad).unwrap()).is_err(), "{path}");
    }
    let mut long = serde_json::to_vec(&good).unwrap();
    long.resize(DELTA_MANIFEST_LIMIT as usize + 1, b' ');
    assert!(DeltaManifest::parse(&long).is_err());
}

const EMPTY: &str = crate::EMPTY_TYPE;

#[test]
fn entries_that_say_otherwise_are_no_candidates() {
    let from = Digest::of(b"old");
    let entry = |kind: Option<&str>, said: Option<&str>| Descriptor {
        artifact_type: kind.map(str::to_owned),
        annotations: said
            .map(|said| (FROM_ANNOTATION.to_owned(), said.to_owned()))
            .into_iter()
            .collect(),
        ..Descriptor::new(crate::MANIFEST_TYPE, Digest::of(b""), 9)
    };
    let from_text = from.to_string();
    for kind in [None, Some(DELTA_TYPE), Some(DELTA_CONFIG_TYPE), Some(EMPTY)] {
        assert!(DeltaManifest::may_be(&entry(kind, None), &from), "{kind:?}");
        assert!(DeltaManifest::may_be(&entry(kind, Some(&from_text)), &from), "{kind:?}");
        assert!(!DeltaManifest::may_be(&entry(kind, Some("sha256:1")), &from), "{kind:?}");
    }
    assert!(!DeltaManifest::may_be(&entry(Some("application/x"), None), &from));
    let large = Descriptor { size: DELTA_MANIFEST_LIMIT + 1, ..entry(None, None) };
    assert!(!DeltaManifest::may_be(&large, &from));
    let index = Descriptor { media_type: crate::INDEX_TYPE.to_owned(), ..entry(None, None) };
    assert!(!DeltaManifest::may_be(&index, &from));
}

#[test]
fn chunks_of_the_same_hash_are_copied() {
    let (old, new) = (image(b"bbbbxxxxdd"), image(b"aaaabbbbddddbbbbdd"));
    let (old, new) = (&old.config.payloads[0], &new.config.payloads[0]);
    let mut delta = PayloadDelta::new(new, old.size);
    assert!(delta.chunks().all(|chunk| chunk == ChunkDelta::Full));
    delta.add_copies(old, new);
    let chunks: Vec<_> = delta.chunks().collect();
    let (full, copy) = (ChunkDelta::Full, ChunkDelta::Copy);
    assert_eq!(chunks, [full, copy(0), full, copy(0), copy(8)]);
    // What has other chunks, or is said to have another size, gives none.
    let mut other = PayloadDelta::new(new, old.size + 1);
    other.add_copies(old, new);
    assert!(other.chunks().all(|chunk| chunk == ChunkDelta::Full));
    let larger = Payload { chunk_size: ChunkSize::new(8).unwrap(), ..old.clone() };
    let mut other = PayloadDelta::new(new, old.size);
    other.add_copies(&larger, new);
    assert!(other.chunks().all(|chunk| chunk == ChunkDelta::Full));
}

#[test]
fn a_download_is_what_the_patches_and_the_missing_chunks_have() {
    let new = new();
    let old = image(b"aaaabbbbxx");
    let of = |image: &Image, old: &ImageConfig, delta| {
        let old = OldImage::new(old, delta, image);
        Download::of(image, Some(&old), |name| name == "system")
    };
    // The first chunk is copied, though the delta would have had it fetched.
    let with = of(&new, &old.config, Some(delta()));
    let from = Some("1".to_owned());
    assert_eq!(with, Download { bytes: 12, full: 14, delta_from: from });
    let without = of(&new, &old.config, None);
    assert_eq!(without, Download { bytes: 6, full: 14, delta_from: None });
    assert_eq!(Download::of(&new, None, |_| true).bytes, 14);
    assert_eq!(Download::of(&new, None, |_| false).bytes, 0);
    // A delta from a payload of another size is none of this one.
    let mut other = delta();
    other.payloads[0].from_size = 11;
    assert_eq!(of(&new, &old.config, Some(other)), without);
    // A stream is fetched whole, unless nothing of it is missing.
    let mut stream = new.clone();
    stream.manifest.layers[0].media_type = Compression::Zstd.media_type().to_owned();
    assert_eq!(of(&stream, &old.config, None).bytes, 14);
    assert_eq!(of(&stream, &new.config, None).bytes, 0);
}

#[test]
fn a_payload_that_is_one_stream_or_has_large_chunks_takes_no_delta() {
    let delta = delta();
    let bytes = delta.to_bytes(&new()).unwrap();
    let mut stream = new();
    stream.manifest.layers[0].media_type = Compression::Zstd.media_type().to_owned();
    let mut large = new();
    large.config.payloads[0].chunk_size = ChunkSize::new((2 << 20) + 1).unwrap();
    for image in [stream, large] {
        let flaw = Delta::parse(&bytes, &manifest(&delta), &image).unwrap_err();
        assert!(flaw.to_string().contains("takes no delta"), "{flaw}");
    }
    let mut framed = new();
    framed.manifest.layers[0].media_type = Compression::Zstd.media_type().to_owned();
    let sizes = FrameTable::new(&[9, 9, 9, 9], ChunkSize::new(4).unwrap(), 14).unwrap();
    framed.config.payloads[0].frames = Some(sizes);
    assert!(Delta::parse(&bytes, &manifest(&delta), &framed).is_ok());
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (delta, image) = (delta(), new());
        let mut bytes = delta.to_bytes(&image).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Delta::parse(&bytes, &manifest(&delta), &image) {
            let again = read.to_bytes(&image).unwrap();
            prop_assert_eq!(Delta::parse(&again, &manifest(&delta), &image).unwrap(), read);
        }
        let mut bytes = manifest(&delta).to_bytes().unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = DeltaManifest::parse(&bytes);
    }
}
