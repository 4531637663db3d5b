// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the cases share: a directory for what is built, the programs under test, a registry.
//! And what each has for itself: a directory, and names in that registry.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::debian::{Debian, Recipe};
use crate::os_image::OsImage;
use crate::programs;
use crate::put::Repository;
use crate::registry::Registry;

/// Shared by all cases.
pub struct Lab {
    directory: PathBuf,
    debian: Debian,
    registry: Registry,
    keep: bool,
}

/// One case's place.
pub struct Bench<'a> {
    pub lab: &'a Lab,
    /// Its files: disks, NVRAM, logs.
    pub directory: PathBuf,
    name: String,
}

impl Lab {
    /// Opens it, with what former runs have built.
    ///
    /// # Errors
    /// Something that every case needs is missing.
    pub fn open(keep: bool) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the files of an OS have owners: run this as root, as CI does");
        }
        crate::qemu::check()?;
        let target = target()?;
        let directory = target.join("vm");
        let runs = directory.join("runs");
        if runs.exists() {
            fs::remove_dir_all(&runs)?;
        }
        fs::create_dir_all(&runs)?;
        let debian = Debian::new(&directory, &target)?;
        Ok(Self { directory, debian, registry: Registry::start(), keep })
    }

    /// Where each case has its directory.
    pub fn runs(&self) -> PathBuf {
        self.directory.join("runs")
    }

    /// The place of the case `name`, new.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn bench(&self, name: &str) -> Result<Bench<'_>> {
        let directory = self.runs().join(name);
        fs::create_dir_all(&directory)?;
        Ok(Bench { lab: self, directory, name: name.to_owned() })
    }

    /// The Debian system that most cases run.
    pub fn debian(&self) -> &Debian {
        &self.debian
    }

    /// flipside on this machine, to make images and disks with. (Guests have it from its package.)
    pub fn flipside(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--quiet");
        command
    }
}

impl Bench<'_> {
    /// The settings with which a guest follows this case's tag, and `more` of them.
    pub fn settings(&self, more: &str) -> String {
        let host = self.registry_in_guest();
        format!(
            "[track]\nimage = \"{host}/{}:stable\"\nplain_http = [\"{host}\"]\n{more}",
            self.name
        )
    }

    /// The registry as guests see it: QEMU forwards 10.0.2.2 to the loopback address.
    pub fn registry_in_guest(&self) -> String {
        let address = self.lab.registry.address();
        address.replace("127.0.0.1", "10.0.2.2")
    }

    /// A repository of the registry, to be filled past flipside.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::at(self.lab.registry.address(), name)
    }

    /// Lets the tag that this case's guests follow name `image`.
    ///
    /// # Errors
    /// The registry's.
    pub fn publish(&self, image: &OsImage) -> Result<()> {
        self.publish_as("stable", image)
    }

    /// The same for another tag beside it.
    ///
    /// # Errors
    /// The registry's.
    pub fn publish_as(&self, tag: &str, image: &OsImage) -> Result<()> {
        let name = self.lab.registry.image(&format!("{}:{tag}", self.name));
        let mut push = self.lab.flipside();
        push.args(["image", "push"]).arg(format!("oci:{}", image.layout.display())).arg(name);
        programs::run(&mut push)
    }

    /// Makes a delta from `old` to what the tag names, beside that.
    ///
    /// # Errors
    /// Those of `flipside image delta`.
    pub fn publish_delta(&self, old: &OsImage) -> Result<()> {
        let name = self.lab.registry.image(&format!("{}:stable", self.name));
        let mut delta = self.lab.flipside();
        delta.args(["image", "delta"]).arg(format!("oci:{}", old.layout.display())).arg(name);
        programs::run(&mut delta)
    }

    /// Keeps a line in the case's log.
    pub fn note(&self, line: &str) {
        note(&self.directory, line);
    }

    /// A version of Debian with flipside.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    pub fn debian(&self, version: &str) -> Result<Arc<OsImage>> {
        self.recipe(&Recipe::new(version))
    }

    /// A version that differs from the others.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    pub fn recipe(&self, recipe: &Recipe) -> Result<Arc<OsImage>> {
        self.lab.debian.version(self.lab, recipe)
    }

    /// A version of the minimal system.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    pub fn minimal(&self, version: &str) -> Result<Arc<OsImage>> {
        crate::minimal::version(self.lab, version)
    }

    /// Throws disks away; logs stay where the case failed.
    pub fn finish(&self, passed: bool) {
        if self.lab.keep {
            return;
        }
        if passed {
            let _ = fs::remove_dir_all(&self.directory);
        } else if let Ok(files) = fs::read_dir(&self.directory) {
            for file in files.flatten() {
                let is_kept =
                    |extension: &std::ffi::OsStr| extension == "log" || extension == "kept";
                if !file.path().extension().is_some_and(is_kept) {
                    let path = file.path();
                    let _ = if path.is_dir() {
                        fs::remove_dir_all(path)
                    } else {
                        fs::remove_file(path)
                    };
                }
            }
        }
    }
}

/// Keeps a line in the log of the case whose place is `directory`, so that it tells what went before.
pub fn note(directory: &Path, line: &str) {
    if let Ok(mut log) =
        fs::File::options().create(true).append(true).open(directory.join("commands.log"))
    {
        let _ = writeln!(log, "{} {line}", jiff::Zoned::now().strftime("%H:%M:%S"));
    }
}

/// Cargo's target directory, in which this test stands as `debug/deps/vm-…`.
fn target() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(3).map(Path::to_owned);
    target.with_context(|| format!("{} is not in a target directory", this.display()))
}
