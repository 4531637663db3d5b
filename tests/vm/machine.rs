// SPDX-License-Identifier: MIT OR Apache-2.0

//! A machine: a disk with an OS in slot A, NVRAM, and what the test does with both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::guest::{Answer, Guest};
use crate::lab::Bench;
use crate::os_image::OsImage;
use crate::programs;
use crate::qemu::{Firmware, Hardware, Qemu};

/// From power-on to the first command: more than ten times what an idle machine needs.
pub const BOOT: Duration = Duration::from_secs(400);
/// Any one command.
pub const COMMAND: Duration = Duration::from_secs(600);

/// A machine, on or off.
pub struct Machine {
    directory: PathBuf,
    pub disk: PathBuf,
    pub nvram: PathBuf,
    pub write_log: Option<PathBuf>,
    firmware: Firmware,
    running: Option<(Qemu, Guest)>,
}

impl Machine {
    /// A new one with `image` in slot A, as `flipside disk build` makes its disk, the settings in
    /// `flipside.toml`, and NVRAM that has seen nothing yet.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn new(bench: &Bench<'_>, image: &OsImage, settings: &str) -> Result<Self> {
        Self::with_var(bench, image, &bench.lab.debian().var(), settings)
    }

    /// The same with a copy of `from` in `/var`.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn with_var(
        bench: &Bench<'_>,
        image: &OsImage,
        from: &Path,
        settings: &str,
    ) -> Result<Self> {
        let var = bench.directory.join("var");
        programs::copy_tree(from, &var)?;
        fs::create_dir_all(var.join("log/journal"))?;
        let packages = var.join("lib/vm/packages");
        fs::create_dir_all(&packages)?;
        for package in bench.lab.debian().packages() {
            fs::copy(package, packages.join(package.file_name().unwrap_or_default()))?;
        }
        Self::with(bench, image, &["--esp-size", "64MiB", "--data-size", "192MiB"], settings)
    }

    /// The same for the minimal system, which needs less: `slot` is a size for `disk build`.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn minimal(bench: &Bench<'_>, image: &OsImage, slot: &str, settings: &str) -> Result<Self> {
        fs::create_dir_all(bench.directory.join("var"))?;
        let sizes = ["--esp-size", "48MiB", "--slot-size", slot, "--data-size", "16MiB"];
        Self::with(bench, image, &sizes, settings)
    }

    /// The same where Secure Boot is on, with `loader` for removable media.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn secure(
        bench: &Bench<'_>,
        image: &OsImage,
        loader: &Path,
        settings: &str,
    ) -> Result<Self> {
        fs::create_dir_all(bench.directory.join("var"))?;
        let loader = loader.display().to_string();
        let sizes = ["--esp-size", "48MiB", "--slot-size", "8MiB", "--data-size", "16MiB"];
        let options = [&sizes[..], &["--loader", &loader]].concat();
        let mut machine = Self::with(bench, image, &options, settings)?;
        machine.firmware = Firmware::SecureBoot;
        machine.wipe_nvram()?;
        Ok(machine)
    }

    /// One with this disk and new NVRAM.
    ///
    /// # Errors
    /// Those of writing files.
    pub fn of_disk(bench: &Bench<'_>, name: &str, disk: &[u8]) -> Result<Self> {
        let machine = Self {
            directory: bench.directory.clone(),
            disk: bench.directory.join(format!("{name}.raw")),
            nvram: bench.directory.join(format!("{name}.fd")),
            write_log: None,
            firmware: Firmware::Open,
            running: None,
        };
        fs::write(&machine.disk, disk)?;
        machine.wipe_nvram()?;
        Ok(machine)
    }

    /// Throws its disk and NVRAM away.
    ///
    /// # Errors
    /// Those of removing files.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.disk)?;
        Ok(fs::remove_file(&self.nvram)?)
    }

    fn with(bench: &Bench<'_>, image: &OsImage, sizes: &[&str], settings: &str) -> Result<Self> {
        let machine = Self {
            directory: bench.directory.clone(),
            disk: bench.directory.join("disk.raw"),
            nvram: bench.directory.join("nvram.fd"),
            write_log: None,
            firmware: Firmware::Open,
            running: None,
        };
        let mut build = bench.lab.flipside();
        build.args(["disk", "build", "--force"]).args(sizes);
        build.arg("--image").arg(format!("oci:{}", image.layout.display()));
        programs::run(build.arg("--output").arg(&machine.disk))?;
        let var = bench.directory.join("var");
        fs::create_dir_all(var.join("lib/vm"))?;
        fs::write(var.join("lib/vm/flipside.toml"), settings)?;
        machine.format_data(&var)?;
        fs::remove_dir_all(var)?;
        machine.wipe_nvram()?;
        Ok(machine)
    }

    fn format_data(&self, content: &Path) -> Result<()> {
        let found = programs::output(
            Command::new("partx").args(["-o", "START,SIZE", "-g", "-b", "-n", "4"]).arg(&self.disk),
        )?;
        let mut numbers = found.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(start)), Some(Ok(bytes))) = (numbers.next(), numbers.next()) else {
            bail!("partx says {found:?}");
        };
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-E"])
            .arg(format!("offset={},lazy_itable_init=1,lazy_journal_init=1", start * 512))
            .arg("-d")
            .arg(content)
            .arg(&self.disk)
            .arg(format!("{}k", bytes / 1024));
        programs::run(&mut make)
    }

    /// NVRAM as it leaves the factory. The machine is off.
    ///
    /// # Errors
    /// Those of copying a file.
    pub fn wipe_nvram(&self) -> Result<()> {
        fs::copy(self.firmware.variables(), &self.nvram)
            .context("OVMF: `tests/needs vm` installs it")?;
        Ok(())
    }

    /// Switches it on and waits for a system.
    ///
    /// # Errors
    /// None comes up.
    pub fn start(&mut self) -> Result<()> {
        self.switch_on()?;
        self.wait_boot()
    }

    fn switch_on(&mut self) -> Result<()> {
        let qemu = Qemu::start(&Hardware {
            directory: &self.directory,
            disk: &self.disk,
            nvram: &self.nvram,
            firmware: self.firmware,
            write_log: self.write_log.as_deref(),
        })?;
        let guest = Guest::connect(&qemu.commands)?;
        self.running = Some((qemu, guest));
        Ok(())
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        Ok(&mut self.running.as_mut().context("the machine is off")?.1)
    }

    /// Waits for the next boot, whoever brings it about.
    ///
    /// # Errors
    /// None comes.
    pub fn wait_boot(&mut self) -> Result<()> {
        self.note("waiting for a boot");
        let end = Instant::now() + BOOT;
        while !self.guest()?.wait_boot(end)? {
            self.note("a reset");
            if let Some((mut qemu, _)) = self.running.take() {
                qemu.wait_off(COMMAND)?;
            }
            self.switch_on()?;
        }
        self.note("a system is up");
        Ok(())
    }

    /// Runs a command in the guest.
    ///
    /// # Errors
    /// It does not end, or the guest is gone before. A status that is not 0 is an answer.
    pub fn ask(&mut self, command: &str) -> Result<Answer> {
        let answer = self.guest()?.run(command, COMMAND);
        match &answer {
            Ok(answer) => self.note(&format!("$ {command}\n{}[{}]", answer.text, answer.status)),
            Err(error) => self.note(&format!("$ {command}\n({error:#})")),
        }
        answer
    }

    /// Runs a command that has to succeed, and gives what it says.
    ///
    /// # Errors
    /// As [`Machine::ask`], and where it fails.
    pub fn run(&mut self, command: &str) -> Result<String> {
        let answer = self.ask(command)?;
        ensure!(answer.status == 0, "`{command}` ended with {}: {}", answer.status, answer.text);
        Ok(answer.text)
    }

    /// Sends a command that the guest does not outlive.
    ///
    /// # Errors
    /// The machine is off.
    pub fn send(&mut self, command: &str) -> Result<()> {
        self.note(&format!("$ {command} &"));
        self.guest()?.send(command)
    }

    /// Gives the running guest other settings.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn settings(&mut self, settings: &str) -> Result<()> {
        self.run(&format!("cat >/var/lib/vm/flipside.toml <<'END'\n{settings}\nEND")).map(drop)
    }

    /// `flipside status --json`.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn status(&mut self) -> Result<Value> {
        // What a power cut left may be worth a warning, which is no part of the document.
        let text = self.run("flipside status --json 2>/dev/null")?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Waits until systemd has started what it starts. Gives `running`, or `degraded` where a
    /// unit failed.
    ///
    /// # Errors
    /// As [`Machine::ask`].
    pub fn record_trial_outcome(&mut self) -> Result<String> {
        let state = self.ask("systemctl is-system-running --wait")?.text.trim().to_owned();
        if state != "running" {
            self.ask("systemctl --failed --no-legend --plain; systemctl list-jobs --no-legend")?;
        }
        Ok(state)
    }

    /// Reboots it by systemd and waits for a system.
    ///
    /// # Errors
    /// None comes up.
    pub fn reboot(&mut self) -> Result<()> {
        self.send("systemctl reboot")?;
        self.wait_boot()
    }

    /// Switches it off by systemd.
    ///
    /// # Errors
    /// It stays on.
    pub fn power_off(&mut self) -> Result<()> {
        self.send("systemctl poweroff")?;
        self.wait_off()
    }

    /// Waits until it is off.
    ///
    /// # Errors
    /// It stays on.
    pub fn wait_off(&mut self) -> Result<()> {
        let (mut qemu, guest) = self.running.take().context("the machine is off")?;
        qemu.wait_off(COMMAND)?;
        drop(guest);
        Ok(())
    }

    /// Pulls its plug. (The host's page cache survives.)
    pub fn kill(&mut self) {
        self.note("killed");
        if let Some((mut qemu, _)) = self.running.take() {
            qemu.kill();
        }
    }

    /// Keeps a line in the case's log.
    pub fn note(&self, line: &str) {
        crate::lab::note(&self.directory, line);
    }
}
