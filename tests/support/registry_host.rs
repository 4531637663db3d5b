// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host that follows a tag of a real registry.

use flipside_core::progress::Silent;
use flipside_image::Digest;
use flipside_source::TAG_ANNOTATION;

use super::images::{ImageBuilder, OsImage};
use super::program_host::ProgramHost;
use super::registry::Registry;

/// Runs version 1 from slot A, promoted; follows `os:stable`, which has 1 as well.
pub struct RegistryHost {
    pub host: ProgramHost,
    pub registry: Registry,
}

impl RegistryHost {
    pub fn new() -> Self {
        let this = Self { host: ProgramHost::new(), registry: Registry::start() };
        this.host.follow(&this.registry.reference("os:stable").to_string(), "");
        this.publish(&ImageBuilder::new("1"));
        this
    }

    /// Lets the tag point to `image`.
    pub fn publish(&self, image: &ImageBuilder) -> OsImage {
        let image = self.host.0.publish(image);
        self.push("stable");
        image
    }

    /// Lets another tag of the repository point to `image`; the followed one stays.
    pub fn publish_as(&self, tag: &str, image: &ImageBuilder) -> OsImage {
        let image = image.clone().tag(tag).write(&self.host.0.track);
        self.push(tag);
        image
    }

    /// Lets the followed tag point to an image with annotations that flipside's builder refuses.
    pub fn publish_raw(&self, version: &str, annotations: &[(&str, &str)]) {
        let track = &self.host.0.track;
        let image = ImageBuilder::new(version).write(track);
        let mut manifest = image.image.manifest.clone();
        for (key, value) in annotations {
            manifest.annotations.insert((*key).to_owned(), (*value).to_owned());
        }
        let bytes = manifest.to_bytes().unwrap();
        let digest = Digest::of(&bytes);
        std::fs::write(image.blob(&digest), &bytes).unwrap();
        let index = track.join("index.json");
        let mut document: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        let entries = document["manifests"].as_array_mut().unwrap();
        let is_stable =
            |entry: &&mut serde_json::Value| entry["annotations"][TAG_ANNOTATION] == "stable";
        let entry = entries.iter_mut().find(is_stable).unwrap();
        entry["digest"] = digest.to_string().into();
        entry["size"] = bytes.len().into();
        std::fs::write(index, document.to_string()).unwrap();
        self.push("stable");
    }

    fn push(&self, tag: &str) {
        let reference = self.registry.reference(&format!("os:{tag}"));
        let options = self.registry.options();
        flipside_publish::push::push(&self.host.0.track, Some(tag), &reference, &options, &Silent)
            .unwrap();
    }

    /// Publishes and installs `version`, and boots it to success.
    pub fn arrives_at(&self, version: &str) {
        self.publish(&ImageBuilder::new(version));
        let output = self.host.program(["update"]);
        assert!(output.status.success(), "{output:?}");
        assert!(self.host.0.boot().ends_with(" promoted"), "{version}");
    }

    /// `update --automatic` is refused with this code, and leaves the host as it was.
    pub fn waits(&self, code: &str) -> String {
        self.host.refuses_in(&mut self.host.command(["update", "--automatic"]), 0, code)
    }

    /// What a command prints that succeeds.
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.host.program(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The status document.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.says(&["status", "--json"])).unwrap()
    }
}
