// SPDX-License-Identifier: MIT OR Apache-2.0

//! An initrd in a directory: what the kernel, the firmware and udev show there, and the shell
//! programs that look at it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::nvram::Nvram;

/// Where the initrd's programs are in the sources.
pub const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/initrd");

/// The shells of initrds, as far as this machine has them; says which it has not.
pub fn shells() -> Vec<&'static [&'static str]> {
    let known: [&[&str]; 3] = [&["dash"], &["busybox", "sh"], &["bash", "--posix"]];
    let (found, missing): (Vec<_>, Vec<_>) = known.into_iter().partition(|shell| {
        Command::new(shell[0]).args(&shell[1..]).args(["-c", "true"]).output().is_ok()
    });
    for shell in missing {
        println!("skipped: there is no {} here", shell[0]);
    }
    assert!(!found.is_empty());
    found
}

pub struct Initrd {
    pub nvram: Nvram,
}

impl Initrd {
    /// Without variables, disks and parameters.
    pub fn new() -> Self {
        let initrd = Self { nvram: Nvram::empty() };
        for directory in ["usr/lib/flipside", "sys/class/block", "sys/devices", "dev", "bin"] {
            fs::create_dir_all(initrd.path(directory)).unwrap();
        }
        for program in ["initrd", "slot.sh"] {
            let to = initrd.path("usr/lib/flipside").join(program);
            fs::copy(Path::new(PROGRAMS).join(program), to).unwrap();
        }
        initrd.write("usr/lib/flipside/labels", "system\tsystem-a\tsystem-b\nverity\tv a\tv b\n");
        initrd.write("proc/cmdline", "quiet ro\n");
        initrd
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.nvram.directory.path().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A program of the initrd, before those of this machine.
    pub fn program(&self, name: &str, script: &str) {
        let path = format!("bin/{name}");
        self.write(&path, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A disk with partitions, each a label and a GUID, which a kernel since 6.10 tells.
    pub fn disk(&self, name: &str, partitions: &[(&str, &str)]) {
        for (number, (label, guid)) in (1..).zip(partitions) {
            let device = format!("{name}{number}");
            let directory = format!("sys/devices/pci0000:00/{name}/{device}");
            self.write(&format!("{directory}/partition"), format!("{number}\n"));
            let guid = if guid.is_empty() { String::new() } else { format!("PARTUUID={guid}\n") };
            self.write(
                &format!("{directory}/uevent"),
                format!("MAJOR=254\nDEVNAME={device}\nDEVTYPE=partition\nPARTNAME={label}\n{guid}"),
            );
            self.write(&format!("dev/{device}"), "");
            let to = format!("../../devices/pci0000:00/{name}/{device}");
            symlink(to, self.path("sys/class/block").join(&device)).unwrap();
        }
    }

    pub fn command(&self, shell: &[&str], command: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut run = Command::new(shell[0]);
        run.args(&shell[1..]).arg(self.path("usr/lib/flipside/initrd")).arg(command);
        run.env("FLIPSIDE_ROOT", self.path("")).env("LC_ALL", "C");
        run.env("PATH", format!("{}:{path}", self.path("bin").display()));
        run
    }

    pub fn run(&self, shell: &[&str], command: &str) -> Output {
        self.command(shell, command).output().unwrap()
    }

    /// What udev is told about the partition.
    pub fn name(&self, shell: &[&str], disk: &str, number: u32, label: &str) -> Option<String> {
        let mut command = self.command(shell, "name");
        command.env("DEVPATH", format!("/devices/pci0000:00/{disk}/{disk}{number}"));
        let output = command.env("PARTNAME", label).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| text.trim_end().to_owned())
    }

    /// What was found out.
    pub fn answer(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path("run/flipside/boot").join(name)).ok()?;
        Some(text.trim_end().to_owned())
    }
}
