// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host that follows a tag of a real registry, and deltas there that are changed by hand.

use std::process::Command;
use std::sync::Arc;

use flipside::run;
use flipside_core::host::Slot;
use flipside_core::install::SlotContents;
use flipside_image::delta::{DELTA_CONFIG_TYPE, DELTA_FRAMES_TYPE, DELTA_TYPE, FROM_ANNOTATION};
use flipside_image::{Architecture, Descriptor, Digest, MANIFEST_TYPE};
use serde_json::{Value, json};

use super::deltas::labelled;
use super::host::TestHost;
use super::images::{ImageBuilder, OsImage, content, kernel};
use super::patches::patch;
use super::program_host::ProgramHost;
use super::proxy::{Fault, Proxy};
use super::put::{Repository, oci_manifest};
use super::registry::Registry;

pub const CHUNK: usize = 16 << 10;
pub const SYSTEM: usize = 40 * CHUNK;

/// What an update cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub bytes: usize,
    pub requests: usize,
}

/// A repository with version 2, and hosts that run 1.
pub struct DeltaStage {
    pub proxy: Proxy,
    pub mirror: Proxy,
    pub name: &'static str,
    pub old: OsImage,
    pub new: OsImage,
    /// Of an update without any delta.
    pub full: Cost,
    template: TestHost,
    directory: tempfile::TempDir,
    registry: Arc<Registry>,
}

/// The parts of a delta from 1 to 2. As they are made, they are right.
pub struct Parts {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    /// The entries of the chunks of `system`, and their frames.
    pub chunks: Vec<Value>,
    pub frames: Vec<Vec<u8>>,
    /// The config, but for these chunks.
    pub config: Value,
    /// What stands in the place of the config.
    pub config_bytes: Option<Vec<u8>>,
    /// The frames of further payloads.
    pub more: Vec<Vec<u8>>,
    /// What the manifest says otherwise.
    pub lies: Vec<(&'static str, Value)>,
    /// What goes wrong with the `config` or the `layer`.
    pub faults: Vec<(&'static str, Fault)>,
}

/// Versions differ in every chunk of `system`, and in one of the kernel.
pub fn version(name: &str) -> ImageBuilder {
    let mut system = content(7, SYSTEM);
    if name != "1" {
        for (nth, chunk) in system.chunks_mut(CHUNK).enumerate() {
            chunk[5000..7000].copy_from_slice(&content(1000 + nth as u64, 2000));
        }
    }
    let mut boot = kernel(Architecture::X86_64, 5, 60_000);
    boot[50_000] ^= name.as_bytes()[0];
    ImageBuilder::new(name)
        .chunk_size(CHUNK as u64)
        .payload("system", system)
        .payload("kernel.efi", boot)
        // No host here has a place for it.
        .payload("unmapped", content(u64::from(name.as_bytes()[0]), 100_000))
}

impl DeltaStage {
    pub fn new(name: &'static str) -> Self {
        let mut stage = Self::of(name, 1 << 20, version);
        stage.list(&[]);
        stage.full = stage.updates("no delta", &stage.host());
        stage
    }

    /// With other images, on hosts with slots of this many bytes. Nothing is updated yet.
    pub fn of(name: &'static str, slot_size: u64, version: impl Fn(&str) -> ImageBuilder) -> Self {
        let registry = Registry::shared();
        let (proxy, mirror) = (Proxy::start(registry.address()), Proxy::start(registry.address()));
        let directory = tempfile::tempdir().unwrap();
        let push = |version: ImageBuilder, tag: &str| {
            let layout = directory.path().join(&version.version);
            let image = version.write(&layout);
            registry.push(&layout, &format!("{name}:{tag}"));
            image
        };
        let (old, new) = (push(version("1"), "one"), push(version("2"), "stable"));
        let template = TestHost::running_in(slot_size, &version("1"));
        // Whose boots are judged has to be known to `sim`.
        template.publish(&version("2"));
        let full = Cost { bytes: 0, requests: 0 };
        Self { proxy, mirror, name, old, new, full, template, directory, registry }
    }

    pub fn repository(&self) -> Repository {
        Repository::at(self.registry.address(), self.name)
    }

    /// The repository that the mirror has, with the image.
    pub fn at_mirror(&self) -> Repository {
        let name = format!("mirror/{}", self.name);
        self.registry.push(&self.directory.path().join("2"), &format!("{name}:stable"));
        Repository::at(self.registry.address(), &name)
    }

    /// Lists these as what refers to version 2.
    pub fn list(&self, entries: &[Descriptor]) {
        self.repository().referrers(&self.new.digest, entries);
    }

    /// A host that runs version 1.
    pub fn host(&self) -> ProgramHost {
        let directory = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .args([&self.template.path(), &directory.path().join("host")])
            .status();
        assert!(copied.unwrap().success());
        let host = ProgramHost(TestHost { track: directory.path().join("track"), directory });
        host.follow(&format!("{}/{}:stable", self.proxy.address(), self.name), "");
        host
    }

    /// The same, with a mirror that has the image.
    pub fn mirrored_host(&self) -> ProgramHost {
        let host = self.host();
        host.set(&format!("track.mirrors = [\"{}/mirror\"]\n", self.mirror.address()));
        host
    }

    /// The host updates to version 2, byte for byte, boots it, and keeps version 1.
    pub fn updates(&self, case: &str, host: &ProgramHost) -> Cost {
        self.proxy.forget();
        self.mirror.forget();
        let output = host.program(["update"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = "2 is installed in slot B and boots once at the next reboot\n";
        assert!(output.status.success() && text == expected, "{case}: {output:?}");
        let cost = Cost { bytes: self.proxy.sent(), requests: self.proxy.seen().len() };
        let found = run::verify(&host.0.run(), &[Slot::A, Slot::B]).unwrap();
        let whole = [(Slot::A, SlotContents::Whole), (Slot::B, SlotContents::Whole)];
        assert_eq!(found, whole, "{case}");
        let disk = std::fs::read(host.file("disk.img")).unwrap();
        for image in [&self.old, &self.new] {
            place_of(&disk, image.payload("system"));
        }
        assert_eq!(host.0.boot(), "B 2 promoted", "{case}");
        let unmapped = self.digest_of("unmapped");
        assert_eq!(self.proxy.count(&unmapped.to_string()), 0, "{case}");
        println!("{case}: {cost:?}");
        cost
    }

    /// A right delta.
    pub fn parts(&self) -> Parts {
        let (old, new) = (self.old.payload("system").to_vec(), self.new.payload("system").to_vec());
        let chunk = self.new.image.layer("system").unwrap().payload.chunk_size.bytes() as usize;
        let frames = old.chunks(chunk).zip(new.chunks(chunk)).map(|(old, new)| patch(old, new));
        let frames: Vec<Vec<u8>> = frames.collect();
        let chunks = frames
            .iter()
            .enumerate()
            .map(|(nth, frame)| json!({"frame": frame.len(), "windows": [[nth * chunk, chunk]]}));
        let (from, to) = (Digest::of(&self.old.image.config_bytes), self.new.digest);
        let config = json!({
            "format_version": "1",
            "from": {"config": from, "version": "1"},
            "to": {"manifest": to, "version": "2"},
            "payloads": [{"name": "system", "from_size": old.len()}],
        });
        Parts {
            chunks: chunks.collect(),
            frames,
            config,
            config_bytes: None,
            more: Vec::new(),
            lies: Vec::new(),
            faults: Vec::new(),
            old,
            new,
        }
    }

    /// Puts a delta into the repository. Returns its entry in a list, and the digest of its frames.
    pub fn put(&self, parts: Parts) -> (Descriptor, Digest) {
        self.put_at(&self.repository(), parts)
    }

    pub fn put_at(&self, repository: &Repository, parts: Parts) -> (Descriptor, Digest) {
        let config = repository.blob(DELTA_CONFIG_TYPE, &parts.config_text());
        let Parts { frames, more, lies, faults, .. } = parts;
        let layers = [frames.concat()].into_iter().chain(more);
        let layers: Vec<_> =
            layers.map(|frames| repository.blob(DELTA_FRAMES_TYPE, &frames)).collect();
        for (what, fault) in faults {
            let digest = if what == "config" { &config["digest"] } else { &layers[0]["digest"] };
            self.proxy.fault(&format!("blobs/{}", digest.as_str().unwrap()), usize::MAX, fault);
        }
        let layer = layers[0]["digest"].as_str().unwrap().parse().unwrap();
        let from = Digest::of(&self.old.image.config_bytes);
        let mut manifest = oci_manifest(config, layers);
        manifest["artifactType"] = DELTA_TYPE.into();
        manifest["subject"] =
            json!(Descriptor::new(MANIFEST_TYPE, self.new.digest, self.new_manifest_size()));
        manifest["annotations"] = json!({ FROM_ANNOTATION: from });
        for (pointer, value) in lies {
            *manifest.pointer_mut(pointer).unwrap() = value;
        }
        (labelled(repository.manifest(None, &manifest), &from), layer)
    }

    /// The digest of the layer of a payload of version 2.
    pub fn digest_of(&self, payload: &str) -> Digest {
        self.new.image.layer(payload).unwrap().descriptor.digest
    }

    fn new_manifest_size(&self) -> u64 {
        self.new.image.manifest.to_bytes().unwrap().len() as u64
    }

    /// A host that finds this delta has version 2 afterwards, for no more than the image and what the
    /// delta may cost besides.
    pub fn survives(&self, case: &str, change: impl FnOnce(&mut Parts)) -> Cost {
        self.proxy.calm();
        let mut parts = self.parts();
        change(&mut parts);
        let config = parts.config_text().len().min(8 << 20) + 100_000;
        let (entry, _) = self.put(parts);
        self.list(&[entry]);
        let cost = self.updates(case, &self.host());
        assert!(cost.bytes <= 2 * self.full.bytes + config, "{case}: {cost:?}");
        assert!(cost.requests <= self.full.requests + 60, "{case}: {cost:?}");
        cost
    }
}

impl Parts {
    /// The bytes of the config.
    fn config_text(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        config["payloads"][0]["chunks"] = json!(self.chunks);
        self.config_bytes.clone().unwrap_or_else(|| config.to_string().into_bytes())
    }

    /// Another frame for a chunk.
    pub fn set_frame(&mut self, nth: usize, frame: Vec<u8>) {
        self.chunks[nth]["frame"] = frame.len().into();
        self.frames[nth] = frame;
    }

    /// Another frame for each chunk, made from the old chunk, the new one and the right frame.
    pub fn set_frames(&mut self, make: impl Fn(&[u8], &[u8], &[u8]) -> Vec<u8>) {
        for nth in 0..self.frames.len() {
            let place = nth * CHUNK..(nth + 1) * CHUNK;
            let frame = make(&self.old[place.clone()], &self.new[place], &self.frames[nth]);
            self.set_frame(nth, frame);
        }
    }

    /// No frames: each chunk is this.
    pub fn set_chunks(&mut self, entry: impl Fn(usize) -> Value) {
        self.frames.iter_mut().for_each(Vec::clear);
        self.chunks = (0..self.chunks.len()).map(entry).collect();
    }
}

/// Where `bytes` stand in a disk.
pub fn place_of(disk: &[u8], bytes: &[u8]) -> usize {
    let is_there = |at: &usize| disk.get(*at..*at + bytes.len()) == Some(bytes);
    (0..disk.len()).step_by(4096).find(is_there).expect("the disk holds it")
}
