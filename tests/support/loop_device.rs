// SPDX-License-Identifier: MIT OR Apache-2.0

//! Block devices and file systems in files. Root only: everybody else is told why a test
//! was skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file as a block device, detached when dropped.
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// A device of `size` bytes. The reason, where there can be none.
    pub fn new(file: &Path, size: u64, sector_size: u32) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("loop devices need root".to_owned());
        }
        std::fs::File::create(file).unwrap().set_len(size).unwrap();
        let sector_size = sector_size.to_string();
        let name = output(
            "losetup",
            &["--find", "--show", "--sector-size", &sector_size, file.to_str().unwrap()],
        )?;
        Ok(Self(name.trim().into()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = output("losetup", &["--detach", self.0.to_str().unwrap()]);
    }
}

/// A mounted file system, unmounted when dropped.
pub struct Mounted {
    directory: PathBuf,
    _device: LoopDevice,
}

impl Mounted {
    /// Makes a file system with `mkfs.KIND` on a device of `size` bytes, and mounts it on
    /// `directory`/KIND. The reason, where that cannot be.
    pub fn new(kind: &str, directory: &Path, size: u64) -> Result<Self, String> {
        let device = LoopDevice::new(&directory.join("device"), size, 512)?;
        let name = device.path().to_str().unwrap().to_owned();
        output(&format!("mkfs.{kind}"), &["-q", &name])?;
        let mount_point = directory.join(kind);
        std::fs::create_dir(&mount_point).unwrap();
        output("mount", &["-t", kind, &name, mount_point.to_str().unwrap()])?;
        Ok(Self { directory: mount_point, _device: device })
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Free bytes, once everything is written.
    pub fn free(&self) -> u64 {
        let directory = std::fs::File::open(&self.directory).unwrap();
        nix::unistd::syncfs(&directory).unwrap();
        let stat = nix::sys::statvfs::fstatvfs(&directory).unwrap();
        stat.blocks_free() * stat.fragment_size()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = output("umount", &[self.directory.to_str().unwrap()]);
    }
}

/// What a program says, or why it failed.
pub fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{program} {arguments:?}: {}", text(&output.stderr).trim())),
    }
}
