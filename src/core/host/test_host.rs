// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `/proc`, `/sys` and `/dev` of a live host as a directory, for tests: what a
//! kernel shows, with disks that are files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Root;
use super::device::BlockDevice;
use super::disk::Disk;
use super::durable::Durable;
use super::test_disk;

pub(crate) struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    /// With the disk `vda` (254:0) of [`test_disk::make`], its partitions `vda1` to `vda4`.
    pub(crate) fn new() -> Self {
        let host = Self { directory: tempfile::tempdir().unwrap() };
        for directory in ["sys/dev/block", "sys/class/block", "sys/block", "dev", "proc/self"] {
            fs::create_dir_all(host.path(directory)).unwrap();
        }
        host.add_disk("vda", 254);
        host
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(self.directory.path())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// A disk with the usual partitions.
    pub(crate) fn add_disk(&self, name: &str, major: u32) {
        test_disk::make(&self.path("dev").join(name), 512);
        self.add_device(&format!("virtual/{name}"), major, 0, 24 * test_disk::MIB);
        self.write(&format!("sys/devices/virtual/{name}/queue/logical_block_size"), "512\n");
        symlink(format!("../devices/virtual/{name}"), self.path("sys/block").join(name)).unwrap();
        let mib = test_disk::MIB;
        for (number, start, size) in [(1, 1, 4), (2, 5, 4), (3, 9, 4), (4, 13, 10)] {
            let partition = format!("virtual/{name}/{name}{number}");
            self.add_device(&partition, major, number, size * mib);
            let directory = format!("sys/devices/{partition}");
            self.write(&format!("{directory}/partition"), &format!("{number}\n"));
            self.write(&format!("{directory}/start"), &format!("{}\n", start * mib / 512));
        }
    }

    /// A device without a node; `below` is its directory in `/sys/devices`.
    pub(crate) fn add_device(&self, below: &str, major: u32, minor: u32, size: u64) {
        let directory = format!("sys/devices/{below}");
        self.write(&format!("{directory}/dev"), &format!("{major}:{minor}\n"));
        self.write(&format!("{directory}/size"), &format!("{}\n", size / 512));
        let name = Path::new(below).file_name().unwrap();
        let to = format!("../../devices/{below}");
        symlink(&to, self.path("sys/dev/block").join(format!("{major}:{minor}"))).unwrap();
        symlink(&to, self.path("sys/class/block").join(name)).unwrap();
    }

    /// A device on top of others: `dm-0` on `vda2`.
    pub(crate) fn add_stacked(&self, name: &str, major: u32, minor: u32, parts: &[&str]) {
        self.add_device(&format!("virtual/{name}"), major, minor, test_disk::MIB);
        let directory = self.path(&format!("sys/devices/virtual/{name}/slaves"));
        fs::create_dir(&directory).unwrap();
        for part in parts {
            let device = fs::canonicalize(self.path("sys/class/block").join(part)).unwrap();
            symlink(device, directory.join(part)).unwrap();
        }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What is mounted; the mount points are made.
    pub(crate) fn mount(&self, mountinfo: &str) {
        for line in mountinfo.lines() {
            let point = line.split(' ').nth(4).unwrap().trim_start_matches('/');
            fs::create_dir_all(self.path(point)).unwrap();
        }
        self.write("proc/self/mountinfo", mountinfo);
    }

    pub(crate) fn disk(&self) -> Disk {
        let device = BlockDevice::by_name(&self.root(), "vda").unwrap();
        let node = device.node(&self.root());
        Disk::open_device(&self.root(), &node, Some(device), &Durable::new()).unwrap()
    }
}
