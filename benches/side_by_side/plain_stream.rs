// SPDX-License-Identifier: MIT OR Apache-2.0

//! An image whose layer is one plain zstd stream, as other tools than flipside make it.

use std::path::Path;

use flipside_image::Digest;
use serde_json::Value;

use crate::bed::{Bed, Image};
use crate::measure::Command;

/// What the format's reference writer compresses with: a window of 8 MiB.
const ZSTD: &str = "zstd -q -3 --zstd=wlog=23 --no-check";

/// The image with its `system`, which is the file `payload`, stored as one stream.
pub fn publish(bed: &Bed, image: &Image, payload: &Path) -> Image {
    let layout = image.layout.with_extension("stream");
    let (from, to) = (image.layout.display(), layout.display());
    let script = format!(
        "set -e; rm -rf {to}; cp -al {from} {to}; rm {to}/index.json
         {ZSTD} -f {} -o {to}/layer; sha256sum {to}/layer | cut -c -64",
        payload.display()
    );
    let digest = Command::shell(&script).output();
    let layer = layout.join("layer");
    let size = layer.metadata().unwrap().len();
    std::fs::rename(&layer, layout.join("blobs/sha256").join(digest.trim())).unwrap();

    let mut index = read(&image.layout.join("index.json"));
    let mut manifest = blob(&layout, &index["manifests"][0]);
    let mut config = blob(&layout, &manifest["config"]);
    config["payloads"][0].as_object_mut().unwrap().remove("frame_sizes").unwrap();
    manifest["layers"][0]["digest"] = format!("sha256:{}", digest.trim()).into();
    manifest["layers"][0]["size"] = size.into();
    put(&layout, &config, &mut manifest["config"]);
    put(&layout, &manifest, &mut index["manifests"][0]);
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let tag = layout.file_name().unwrap().to_string_lossy().replace('.', "-");
    bed.push(&tag, &layout)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    read(&layout.join("blobs").join(digest))
}

/// Writes a document, and describes it.
fn put(layout: &Path, document: &Value, descriptor: &mut Value) {
    let bytes = document.to_string();
    let digest = Digest::of(bytes.as_bytes()).to_string();
    std::fs::write(layout.join("blobs").join(digest.replace(':', "/")), &bytes).unwrap();
    descriptor["digest"] = digest.into();
    descriptor["size"] = bytes.len().into();
}
