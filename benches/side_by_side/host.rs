// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host in a directory, which runs one image and is offered another: what the real program updates,
//! as often as is wanted.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::bed::{Bed, Image};
use crate::measure::{Command, Usage};
use crate::medium::{LoopDevice, Medium, overwrite, punch};

/// What of a host is in its directory beside the disk, and changes in an update.
const CHANGES: [&str; 4] = ["efi", "run", "sys", "var"];

pub struct Host {
    directory: PathBuf,
    device: Option<LoopDevice>,
    /// Where the disk has the slot that is written.
    target: Range<u64>,
}

impl Host {
    /// Runs `image`, promoted. `more` goes to `sim new`.
    pub fn new(bed: &Bed, name: &str, image: &Image, more: &[&str], medium: Medium) -> Self {
        let directory = bed.directory.join(format!("host-{name}"));
        let _ = std::fs::remove_dir_all(&directory);
        let path = directory.display().to_string();
        let layout = format!("oci:{}", image.layout.display());
        let new = ["sim", "new", &path, "--image", &layout];
        Command::flipside(&[&new[..], more].concat()).output();
        Command::flipside(&["sim", "boot", &path]).output();
        let (disk, raw) = (directory.join("disk.img"), directory.join("disk.raw"));
        let mut host = Self { directory, device: None, target: partition(&disk, "system-b") };
        if medium == Medium::BlockDevice {
            std::fs::rename(&disk, &raw).unwrap();
            host.device = Some(LoopDevice::over(&raw));
            host.show_device();
        }
        let copy = format!("mkdir saved && cp -a {} saved", CHANGES.join(" "));
        host.shell(&copy);
        host
    }

    /// Shows the host its disk and partitions as the kernel has them.
    fn show_device(&self) {
        let Some(device) = &self.device else { return };
        let name = device.path().file_name().unwrap().to_string_lossy().into_owned();
        self.shell(&format!(
            "partx -a /dev/{name}; mkdir dev; ln -s /sys/dev sys/dev; ln -s /sys/class sys/class
             for device in /sys/class/block/{name} /sys/class/block/{name}p*; do
                 mknod dev/${{device##*/}} b $(tr : ' ' <$device/dev)
             done
             ln -s dev/{name} disk.img"
        ));
        // By itself it looks at files alone.
        self.set("40-disk.toml", "[host]\ndisk = \"/disk.img\"\n");
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn root(&self) -> String {
        self.directory.display().to_string()
    }

    fn shell(&self, script: &str) {
        Command::shell(&format!("set -e; cd {}; {script}", self.root())).output();
    }

    /// Follows `reference`, with further settings.
    pub fn follow(&self, reference: &str, more: &str) -> &Self {
        self.set("50-bench.toml", &format!("[track]\nimage = {reference:?}\n{more}\n"));
        self
    }

    fn set(&self, drop_in: &str, text: &str) {
        let directory = self.file("etc/flipside/flipside.toml.d");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(drop_in), text).unwrap();
    }

    pub fn update(&self) -> Command {
        Command::flipside(&["update", "--root", &self.root()])
    }

    /// Makes the host what it was when it was new, but for its settings. The slot that is written has
    /// something else, all blocks of its own, and nothing of the disk is in the page cache.
    pub fn reset(&self) {
        self.restore();
        overwrite(&self.file("disk.img"), self.target.clone());
    }

    /// The same where there is no room for all of the slot's blocks; of a disk in a file.
    pub fn reset_sparse(&self) {
        self.restore();
        punch(&self.file("disk.img"), self.target.clone());
    }

    /// Gives back the blocks of the disk that are zero.
    pub fn dig_holes(&self) {
        self.shell("fallocate --dig-holes disk.img");
    }

    fn restore(&self) {
        let names = CHANGES.join(" ");
        self.shell(&format!("rm -rf {names}; cp -a saved/. ."));
    }

    /// Makes it new and updates it.
    pub fn measure(&self) -> Usage {
        self.reset();
        self.update().measure()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.device = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Where a disk has the partition with this label, in bytes.
fn partition(disk: &Path, label: &str) -> Range<u64> {
    let table = gpt::GptConfig::new().writable(false).open(disk).unwrap();
    let found = table.partitions().values().find(|partition| partition.name == label).unwrap();
    let sector = |number: u64| number * 512;
    sector(found.first_lba)..sector(found.last_lba + 1)
}
