// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two small images and deltas between them, made by hand.

use std::path::Path;

use flipside_image::delta::{
    ChunkDelta, DELTA_CONFIG_TYPE, DELTA_FRAMES_TYPE, DELTA_TYPE, Delta, DeltaManifest,
    FROM_ANNOTATION, PayloadDelta, Window,
};
use flipside_image::{Descriptor, Digest, Image};
use serde_json::{Value, json};

use super::images::ImageBuilder;
use super::put::Repository;
use super::referrers::Referrers;

/// An old image and the one that a delta makes from it.
pub struct Pair {
    pub old: Image,
    pub new: Image,
}

/// The parts of a delta's artifact.
#[derive(Clone)]
pub struct Artifact {
    pub manifest: Value,
    pub config: Vec<u8>,
    /// The patch frames of `system`.
    pub frames: Vec<u8>,
}

impl Pair {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image =
            |version: &str| ImageBuilder::new(version).write(directory.path().join(version)).image;
        Self { old: image("1"), new: image("2") }
    }

    /// The digest by which hosts know the old image.
    pub fn from(&self) -> Digest {
        Digest::of(&self.old.config_bytes)
    }

    /// The delta, in which `name` stands as the version of the old image.
    pub fn delta(&self, name: &str) -> (Delta, Artifact) {
        let system = |image: &Image| image.layer("system").unwrap().payload.clone();
        let (old, new) = (system(&self.old), system(&self.new));
        let frames = format!("the patch frame of {name}").into_bytes();
        let windows = [Window { offset: 0, length: 4096 }];
        let mut chunks = vec![ChunkDelta::Full; new.chunks.len()];
        chunks[0] = ChunkDelta::Copy(0);
        chunks[1] = ChunkDelta::Patch { size: frames.len() as u64, windows: &windows };
        let layer = Descriptor::of(DELTA_FRAMES_TYPE, &frames);
        let payload = PayloadDelta::of(&new, old.size, chunks.into_iter(), layer).unwrap();
        let from_version = name.to_owned();
        let delta = Delta { from: self.from(), from_version, payloads: vec![payload] };
        let config = delta.to_bytes(&self.new).unwrap();
        let manifest = DeltaManifest {
            subject: Descriptor::new(flipside_image::MANIFEST_TYPE, self.new.digest, 7),
            from: delta.from,
            config: Descriptor::of(DELTA_CONFIG_TYPE, &config),
            layers: delta.payloads.iter().map(|payload| payload.layer.clone()).collect(),
        };
        let manifest = serde_json::from_slice(&manifest.to_bytes().unwrap()).unwrap();
        (delta, Artifact { manifest, config, frames })
    }
}

impl Artifact {
    /// The manifest's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap()
    }

    /// With another value at `pointer` of the manifest.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.manifest.pointer_mut(pointer).unwrap() = value;
        self
    }

    /// Puts it into a registry, and describes it as a list of referrers does.
    pub fn put(&self, repository: &Repository) -> Descriptor {
        repository.blob(DELTA_CONFIG_TYPE, &self.config);
        repository.blob(DELTA_FRAMES_TYPE, &self.frames);
        repository.manifest(None, &self.manifest);
        self.entry()
    }

    /// Writes its blobs into a layout, and describes it.
    pub fn write(&self, layout: &Path) -> Descriptor {
        for bytes in [&self.config, &self.frames, &self.bytes()] {
            write_blob(layout, bytes);
        }
        self.entry()
    }

    /// As a list of referrers has it.
    pub fn entry(&self) -> Descriptor {
        let mut referrers = Referrers::default();
        referrers.note(&self.bytes());
        let (_, entry) = referrers.listed.pop().unwrap();
        serde_json::from_value(entry).unwrap()
    }
}

/// Puts a blob into a layout.
pub fn write_blob(layout: &Path, bytes: &[u8]) {
    std::fs::write(layout.join("blobs/sha256").join(Digest::of(bytes).hex()), bytes).unwrap();
}

/// Lists more in a layout.
pub fn list(layout: &Path, entries: &[Descriptor]) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().extend(entries.iter().map(|entry| json!(entry)));
    std::fs::write(path, index.to_string()).unwrap();
}

/// An entry as a list that keeps nothing has it.
pub fn bare(entry: &Descriptor) -> Descriptor {
    Descriptor::new(entry.media_type.clone(), entry.digest, entry.size)
}

/// The annotations and type of a delta from `from`, on something else.
pub fn labelled(entry: Descriptor, from: &Digest) -> Descriptor {
    let annotations = [(FROM_ANNOTATION.to_owned(), from.to_string())].into();
    Descriptor { artifact_type: Some(DELTA_TYPE.to_owned()), annotations, ..entry }
}
