// SPDX-License-Identifier: MIT OR Apache-2.0

//! A delta of a small image: its manifest, its config, and what they say of each chunk. What is taken
//! lies in the old payload and in the layer, and is written and read again the same.

#![no_main]

use flipside_image::delta::{
    ChunkDelta, DELTA_CONFIG_TYPE, DELTA_FRAMES_TYPE, Delta, DeltaManifest, OldImage, PayloadDelta,
    WINDOWS, WINDOWS_LIMIT,
};
use flipside_image::{
    CONFIG_TYPE, ChunkIndex, ChunkSize, Compression, Descriptor, Digest, FrameTable, Image,
    ImageConfig, MANIFEST_TYPE, Manifest, Payload, ProductInfo,
};
use libfuzzer_sys::fuzz_target;

/// The payloads, by how their layers have them: `system` as it is, `usr` in frames, and `var` as one
/// stream, which takes no delta.
const NAMES: [&str; 3] = ["system", "usr", "var"];

fn image() -> Image {
    let content = b"aaaabbbbccccdd";
    let chunk_size = ChunkSize::new(4).expect("a size");
    let frames = FrameTable::new(&[9, 9, 9, 9], chunk_size, 14).expect("a table");
    let payload = |name: &str, frames: Option<FrameTable>| Payload {
        name: name.parse().expect("a name"),
        size: content.len() as u64,
        chunk_size,
        chunks: content.chunks(4).map(Digest::of).collect(),
        frames,
        partition: None,
    };
    let product_info = ProductInfo {
        id: "acme".into(),
        name: "Acme OS".into(),
        version: "2".into(),
        variant: "x86_64".into(),
        commit_hash: String::new(),
        commit_date: String::new(),
        build_tree_dirty: false,
        components: None,
    };
    let [system, usr, var] = NAMES;
    let payloads = vec![payload(system, None), payload(usr, Some(frames)), payload(var, None)];
    let config = ImageConfig { product_info, payloads }.to_bytes().expect("a config");
    let layer =
        |compression: Compression, bytes: &[u8]| Descriptor::of(compression.media_type(), bytes);
    let layers = vec![
        layer(Compression::None, content),
        layer(Compression::Zstd, &[0; 36]),
        layer(Compression::Zstd, &[0; 20]),
    ];
    let manifest = Manifest::new(Descriptor::of(CONFIG_TYPE, &config), layers, [].into());
    let manifest = manifest.to_bytes().expect("a manifest");
    Image::assemble(Digest::of(&manifest), &manifest, &config).expect("an image")
}

/// The manifest of a delta whose payloads have layers of these sizes.
fn manifest(image: &Image, sizes: &[u64]) -> DeltaManifest {
    let layer = |size: &u64| Descriptor::new(DELTA_FRAMES_TYPE, Digest::of(b"frames"), *size);
    DeltaManifest {
        subject: Descriptor::new(MANIFEST_TYPE, image.digest, 7),
        from: Digest::of(b"old"),
        config: Descriptor::of(DELTA_CONFIG_TYPE, b"any"),
        layers: sizes.iter().map(layer).collect(),
    }
}

/// The config of a delta of these payloads. The fuzzer would not find its digests in its life.
fn config(image: &Image, payloads: &str) -> String {
    let (from, to) = (Digest::of(b"old"), image.digest);
    format!(
        r#"{{"format_version":"1","from":{{"config":"{from}","version":"1"}},
        "to":{{"manifest":"{to}","version":"2"}},"payloads":{payloads}}}"#
    )
}

fn parse(bytes: &[u8], manifest: &DeltaManifest, image: &Image) {
    let Ok(delta) = Delta::parse(bytes, manifest, image) else { return };
    assert_eq!(delta.payloads.len(), manifest.layers.len());
    delta.payloads.iter().for_each(|payload| check(payload, image));
    let again = delta.to_bytes(image).expect("it can be written");
    assert_eq!(Delta::parse(&again, manifest, image).expect("it is still one"), delta);
    // Of a host that runs an image with the same payloads.
    let old = OldImage { config: image.config.clone(), delta: Some(delta) };
    for layer in image.layers() {
        if let Some(payload) = old.delta_of(&layer) {
            check(&payload, image);
        }
        let _ = old.download(&layer);
    }
}

fn check(delta: &PayloadDelta, image: &Image) {
    let payload = image.layer(delta.name.as_str()).expect("it is one of the image").payload;
    assert_eq!(delta.chunks().count(), payload.chunks.len());
    let is_inside = |offset: u64, length: u64| {
        offset.checked_add(length).is_some_and(|end| end <= delta.from_size)
    };
    let mut end = 0;
    for (index, _) in payload.chunks() {
        let frame = delta.frames.range(index).expect("every chunk has a place");
        assert_eq!(frame.start, end);
        end = frame.end;
        match delta.chunk(index) {
            ChunkDelta::Full => assert!(frame.is_empty()),
            ChunkDelta::Copy(offset) => {
                let chunk = payload.chunk_range(index);
                assert!(frame.is_empty() && is_inside(offset, chunk.end - chunk.start));
            }
            ChunkDelta::Patch { size, windows } => {
                assert!(size > 0 && size == frame.end - frame.start);
                assert!((1..=WINDOWS).contains(&windows.len()));
                assert!(windows.iter().all(|w| is_inside(w.offset, u64::from(w.length))));
                assert!(windows.iter().map(|w| u64::from(w.length)).sum::<u64>() <= WINDOWS_LIMIT);
            }
        }
    }
    assert_eq!(end, delta.layer.size);
    assert_eq!(delta.chunk(ChunkIndex(payload.chunk_count())), ChunkDelta::Full);
}

/// A chunk: a choice, an offset or the size of a frame, and windows.
type Chunk = (u8, u64, Vec<(u64, u32)>);

fn json(chunk: &Chunk) -> String {
    match chunk {
        (choice, ..) if choice % 4 == 0 => "null".to_owned(),
        (choice, offset, _) if choice % 4 == 1 => format!(r#"{{"copy":{offset}}}"#),
        (_, size, windows) => {
            let windows: Vec<_> = windows.iter().map(|(at, n)| format!("[{at},{n}]")).collect();
            format!(r#"{{"frame":{size},"windows":[{}]}}"#, windows.join(","))
        }
    }
}

fuzz_target!(|input: (u8, u64, Vec<Chunk>, &[u8])| {
    thread_local!(static IMAGE: Image = image());
    let (choice, from_size, chunks, bytes) = input;
    IMAGE.with(|image| {
        if let Ok(manifest) = DeltaManifest::parse(bytes) {
            let again = manifest.to_bytes().expect("it can be written");
            assert_eq!(DeltaManifest::parse(&again).expect("it is still one"), manifest);
        }
        let text = String::from_utf8_lossy(bytes);
        let (name, count) = (NAMES[usize::from(choice) % 3], usize::from(choice) / 3 % 3);
        parse(bytes, &manifest(image, &[from_size; 3][..count]), image);
        parse(config(image, &text).as_bytes(), &manifest(image, &[from_size; 3][..count]), image);
        let frames = |chunk: &Chunk| if chunk.0 % 4 > 1 { chunk.1 } else { 0 };
        let size = chunks.iter().map(frames).fold(0, u64::saturating_add);
        let chunks: Vec<_> = chunks.iter().map(json).collect();
        let payload = format!(
            r#"[{{"name":"{name}","from_size":{from_size},"chunks":[{}]}}]"#,
            chunks.join(",")
        );
        parse(config(image, &payload).as_bytes(), &manifest(image, &[size]), image);
    });
});
