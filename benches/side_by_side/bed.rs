// SPDX-License-Identifier: MIT OR Apache-2.0

//! What all figures are measured with: a directory, a registry, a line to it, and images in it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::link::Link;
use crate::measure::Command;
use crate::registry::Registry;

pub const MIB: u64 = 1 << 20;

/// The repository of all images.
const REPOSITORY: &str = "bench";

pub struct Bed {
    pub directory: PathBuf,
    pub registry: Registry,
    pub link: Link,
}

/// An image in an OCI layout, and in the registry.
#[derive(Debug, Clone)]
pub struct Image {
    pub layout: PathBuf,
    tag: String,
    /// All its layers, in bytes.
    pub full: u64,
    /// The layer of `system`: its digest, and its size in bytes.
    pub layer: String,
    pub layer_size: u64,
}

impl Bed {
    /// In `FLIPSIDE_BENCH_DIR`, or below `target`.
    pub fn make() -> Self {
        let directory = std::env::var_os("FLIPSIDE_BENCH_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/side_by_side"),
            PathBuf::from,
        );
        std::fs::create_dir_all(&directory).unwrap();
        let registry = Registry::start();
        let link = Link::start(registry.address());
        Self { directory, registry, link }
    }

    pub fn describe() -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
        let cores = std::thread::available_parallelism().unwrap();
        let model = model.trim_start_matches(['\t', ':', ' ']);
        format!("{model}; {cores} cores; load {}; {} runs", load(), crate::measure::runs())
    }

    /// Builds an image with this `system`, and pushes it under `tag`. Its boot file is the systemd
    /// stub: no kernel starts here.
    pub fn publish(&self, tag: &str, version: &str, system: &Path, more: &[&str]) -> Image {
        let layout = self.directory.join(format!("image-{tag}"));
        build(&layout, version, system, more).output();
        self.push(tag, &layout)
    }

    /// Pushes the image in `layout` under `tag`.
    pub fn push(&self, tag: &str, layout: &Path) -> Image {
        let image = read(layout, tag);
        let layout = layout.display().to_string();
        Command::flipside(&["image", "push", &layout, &self.reference(&image)]).output();
        image
    }

    /// What `track.image` says to fetch straight from the registry.
    pub fn reference(&self, image: &Image) -> String {
        format!("{}/{REPOSITORY}:{}", self.registry.address(), image.tag)
    }

    /// What it says to fetch over the line.
    pub fn over_the_line(&self, image: &Image) -> String {
        format!("{}/{REPOSITORY}:{}", self.link.address(), image.tag)
    }

    /// Where anybody can get a blob.
    pub fn url(&self, digest: &str) -> String {
        format!("http://{}/v2/{REPOSITORY}/blobs/{digest}", self.registry.address())
    }

    /// Puts a file into the registry, and says where it is.
    pub fn upload(&self, file: &Path) -> Result<String, String> {
        let digest = Command::shell(&format!("sha256sum {} | cut -c -64", file.display()));
        let digest = format!("sha256:{}", digest.try_output()?.trim());
        let begin = format!("http://{}/v2/{REPOSITORY}/blobs/uploads/", self.registry.address());
        let script = format!(
            "set -e; place=$(curl -fsSi -X POST {begin} | tr -d '\\r' | sed -n 's/^Location: //Ip')
             curl -fsS -H 'Content-Type: application/octet-stream' -T {} \
                 \"$place&digest={digest}\"",
            file.display()
        );
        Command::shell(&script).try_output().map(|_| self.url(&digest))
    }
}

/// How busy the machine has been in the last minute.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// Builds an image into `layout`, which is emptied.
pub fn build(layout: &Path, version: &str, system: &Path, more: &[&str]) -> Command {
    let _ = std::fs::remove_dir_all(layout);
    let release = layout.with_extension("os-release");
    std::fs::write(&release, "ID=bench\nNAME=Bench\nVERSION_ID=1\n").unwrap();
    let stub = ["x64", "aa64"]
        .map(|machine| format!("/usr/lib/systemd/boot/efi/linux{machine}.efi.stub"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("systemd-boot-efi has to be installed");
    let (system, kernel) = (format!("system={}", system.display()), format!("kernel.efi={stub}"));
    let (release, output) = (release.display().to_string(), layout.display().to_string());
    let mut arguments = vec!["image", "build", "--payload", &system, "--payload", &kernel];
    arguments.extend(["--os-release", &release, "--version", version, "--output", &output]);
    arguments.extend(more);
    Command::flipside(&arguments)
}

/// Reads the only image of a layout.
pub fn read(layout: &Path, tag: &str) -> Image {
    let manifest = blob(layout, &document(&layout.join("index.json"))["manifests"][0]);
    let layers = manifest["layers"].as_array().unwrap();
    let size = |layer: &Value| layer["size"].as_u64().unwrap();
    Image {
        layout: layout.to_owned(),
        tag: tag.to_owned(),
        full: layers.iter().map(size).sum(),
        layer: layers[0]["digest"].as_str().unwrap().to_owned(),
        layer_size: size(&layers[0]),
    }
}

fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    document(&layout.join("blobs").join(digest))
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
