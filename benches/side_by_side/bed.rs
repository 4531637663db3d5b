// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is measured on: a payload from this machine's `/usr`, the image made of it, a
//! registry that serves it, and slots to write it to.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flipside_image::Digest;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::child;
use crate::image::build_image;
use crate::measure::Command;
use crate::registry::Registry;

pub const MIB: u64 = 1 << 20;

/// An image in the registry, and the file that it was made of.
pub struct Served {
    pub payload: PathBuf,
    pub size: u64,
    /// The size of its layer.
    pub stored: u64,
    layer: Digest,
    tag: String,
}

pub struct Bed {
    pub directory: PathBuf,
    registry: Registry,
    pub small: Served,
    pub large: Served,
    pub huge: Served,
    slots: [PathBuf; 2],
    /// Loop devices over slots of their own, where this is root.
    devices: Option<[PathBuf; 2]>,
}

/// What a slot is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    BlockDevice,
}

impl Bed {
    /// Makes it; what an earlier run left is used again.
    pub fn make() -> Self {
        let directory = std::env::var_os("FLIPSIDE_BENCH_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/side_by_side"),
            PathBuf::from,
        );
        std::fs::create_dir_all(&directory).unwrap();
        let registry = Registry::start();
        let serve = |mib| serve(&directory, &registry, mib);
        let (small, large, huge) = (serve(128), serve(600), serve(1024));
        let slots = ["slot-a", "slot-b"].map(|slot| allocate(&directory.join(slot), huge.size));
        let devices = nix::unistd::geteuid().is_root().then(|| {
            ["device-a", "device-b"].map(|slot| {
                let file = allocate(&directory.join(slot), huge.size);
                let losetup = format!("losetup --direct-io=on --show -f {}", file.display());
                PathBuf::from(Command::shell(losetup).output().trim())
            })
        });
        Self { directory, registry, small, large, huge, slots, devices }
    }

    /// The two slots of a kind; `None` where this machine has none.
    fn slots(&self, kind: Kind) -> Option<&[PathBuf; 2]> {
        match kind {
            Kind::File => Some(&self.slots),
            Kind::BlockDevice => self.devices.as_ref(),
        }
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.slots(kind).is_some()
    }

    pub fn describe(&self) -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
        let cores = std::thread::available_parallelism().unwrap();
        format!(
            "{}; {cores} cores; payload {} MiB of /usr, layer {} MiB, chunks 1 MiB; {} runs",
            model.trim_start_matches(['\t', ':', ' ']),
            self.large.size / MIB,
            self.large.stored / MIB,
            crate::measure::runs()
        )
    }

    /// Installs an image into slot A of this kind.
    pub fn install(&self, kind: Kind, image: &Served, read_back: bool, more: &[&str]) -> Command {
        let this = std::env::current_exe().unwrap();
        let reference = format!("{}/bench:{}", self.registry.address(), image.tag);
        let slot = self.slots(kind).unwrap()[0].display().to_string();
        let mut arguments = vec![child::INSTALL.to_owned(), reference, slot];
        arguments.extend(read_back.then(|| "--read-back".to_owned()));
        arguments.extend(more.iter().map(ToString::to_string));
        Command::new(&this.display().to_string(), arguments)
    }

    /// What a person would do, into slot B of this kind.
    pub fn by_hand(&self, kind: Kind) -> Command {
        let url = format!("http://{}/v2/bench/blobs/{}", self.registry.address(), self.large.layer);
        let slot = self.slots(kind).unwrap()[1].display();
        // A slot keeps its size; on a block device `notrunc` means nothing.
        Command::shell(format!(
            "curl -fsS {url} | tee >(sha256sum >&2) | zstd -dc | dd of={slot} bs=1M \
             conv=fsync,notrunc status=none"
        ))
    }

    /// Builds the image in this process's child.
    pub fn build(&self) -> Command {
        let this = std::env::current_exe().unwrap();
        let arguments =
            [child::BUILD.to_owned(), self.large.payload.display().to_string(), self.built()];
        Command::new(&this.display().to_string(), arguments)
    }

    pub fn remove_built(&self) {
        let _ = std::fs::remove_dir_all(self.built());
    }

    fn built(&self) -> String {
        self.directory.join("built").display().to_string()
    }

    /// Fills both slots with what no image has, and makes that durable.
    pub fn spoil_slots(&self, kind: Kind) {
        for slot in self.slots(kind).unwrap() {
            let mut file = File::options().write(true).open(slot).unwrap();
            let block: Vec<u8> = (0..MIB).map(|at| (at % 241) as u8).collect();
            for _ in 0..self.huge.size / MIB {
                file.write_all(&block).unwrap();
            }
            file.sync_all().unwrap();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for device in self.devices.iter().flatten() {
            Command::shell(format!("losetup -d {}", device.display())).output();
        }
    }
}

/// A file with all its blocks.
fn allocate(path: &Path, size: u64) -> PathBuf {
    let file = File::options().create(true).write(true).truncate(false).open(path).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, size.cast_signed()).unwrap();
    path.to_owned()
}

fn serve(directory: &Path, registry: &Registry, mib: u64) -> Served {
    let payload = directory.join(format!("payload-{mib}"));
    if payload.metadata().map_or(0, |metadata| metadata.len()) != mib * MIB {
        fill_from_usr(&payload, mib * MIB);
    }
    let layout = directory.join(format!("layout-{mib}"));
    let _ = std::fs::remove_dir_all(&layout);
    let image = build_image(&payload, &layout);
    let tag = format!("{mib}mib");
    registry.push(&layout, &format!("bench:{tag}"));
    let layer = image.layer("system").unwrap().descriptor;
    Served { payload, size: mib * MIB, stored: layer.size, layer: layer.digest, tag }
}

/// The files below `/usr` in the order of their names, each from a new block, as a file
/// system image has them.
fn fill_from_usr(path: &Path, size: u64) {
    let mut output = std::io::BufWriter::new(File::create(path).unwrap());
    let mut left = size;
    let mut waiting = vec![PathBuf::from("/usr")];
    while let Some(next) = waiting.pop() {
        let Ok(metadata) = next.symlink_metadata() else { continue };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&next).into_iter().flatten().flatten();
            let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
            entries.sort_by(|a, b| b.cmp(a));
            waiting.extend(entries);
        } else if metadata.is_file() {
            let Ok(file) = File::open(&next) else { continue };
            let copied = std::io::copy(&mut file.take(left), &mut output).unwrap();
            let padding = (copied.next_multiple_of(4096) - copied).min(left - copied);
            output.write_all(&vec![0; padding as usize]).unwrap();
            left -= copied + padding;
        }
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0, "/usr is too small for a payload of {size} bytes");
    output.flush().unwrap();
}
