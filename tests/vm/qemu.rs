// SPDX-License-Identifier: MIT OR Apache-2.0

//! A QEMU process: OVMF, one virtio disk, user networking, two serial lines (the console and the
//! test's commands) and a watchdog that resets.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

const PROGRAM: &str = "qemu-system-x86_64";
/// The firmware's code. Its variables are the machine's own copy of [`VARIABLES`].
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// NVRAM as it leaves the factory.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The same for Secure Boot: its code keeps variables in system management mode, and Debian's test key
/// is enrolled.
const SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const SECURE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";

/// What the machine boots by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// It starts any program.
    Open,
    /// It asks for signatures.
    SecureBoot,
}

impl Firmware {
    const fn code(self) -> &'static str {
        match self {
            Self::Open => CODE,
            Self::SecureBoot => SECURE_CODE,
        }
    }

    /// NVRAM as it leaves the factory.
    pub const fn variables(self) -> &'static str {
        match self {
            Self::Open => VARIABLES,
            Self::SecureBoot => SECURE_VARIABLES,
        }
    }
}

/// Whether machines can be run here at all: told at the beginning, by name.
///
/// # Errors
/// Why not.
pub fn check() -> Result<()> {
    let mut monitor = Command::new(PROGRAM)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "none"])
        .args(["-accel", "tcg", "-monitor", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("QEMU cannot run here: {PROGRAM}: `tests/needs vm` installs it")
        })?;
    // Where it ends before it is told to, it says why.
    let _ = monitor.stdin.take().map(|mut stdin| stdin.write_all(b"quit\n"));
    let done = monitor.wait_with_output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("QEMU cannot run here: it ended with {}: {}", done.status, said.trim());
    }
    for file in [CODE, VARIABLES, SECURE_CODE, SECURE_VARIABLES] {
        ensure!(Path::new(file).exists(), "no firmware {file}: `tests/needs vm` installs it");
    }
    Ok(())
}

/// What the machine is made of.
pub struct Hardware<'a> {
    /// For its sockets and logs.
    pub directory: &'a Path,
    pub disk: &'a Path,
    pub nvram: &'a Path,
    pub firmware: Firmware,
    /// Where each write and flush of the disk is recorded, where it is.
    pub write_log: Option<&'a Path>,
}

/// A machine that is switched on.
pub struct Qemu {
    child: Child,
    pub commands: PathBuf,
}

impl Qemu {
    /// Switches one on.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(hardware: &Hardware<'_>) -> Result<Self> {
        let at = |name: &str| hardware.directory.join(name);
        let commands = at("commands.sock");
        if commands.exists() {
            std::fs::remove_file(&commands)?;
        }
        let log = std::fs::File::options().create(true).append(true).open(at("qemu.log"))?;
        let mut qemu = Command::new(PROGRAM);
        qemu.args(["-name", "flipside", "-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "1", "-m", "640"])
            // Its instructions are those that are emulated fastest.
            .args(["-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand"])
            .args(["-drive", &pflash(0, true, Path::new(hardware.firmware.code()))])
            .args(["-drive", &pflash(1, false, hardware.nvram)])
            .args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"])
            .args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="])
            // A reset ends the process, and the machine is switched on again: OVMF now and then
            // stands still where an emulated processor is reset.
            .args(["-device", "i6300esb", "-action", "watchdog=reset", "-no-reboot"])
            .args([
                "-chardev",
                &format!("file,id=console,append=on,path={}", at("serial.log").display()),
            ])
            .args(["-serial", "chardev:console"])
            .args([
                "-chardev",
                &format!("socket,id=commands,server=on,wait=off,path={}", commands.display()),
            ])
            .args(["-serial", "chardev:commands"]);
        if hardware.firmware == Firmware::SecureBoot {
            // Variables that only the firmware's own code in that mode may write.
            qemu.args(["-machine", "smm=on"]);
            qemu.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
            qemu.args(["-global", "ICH9-LPC.disable_s3=1"]);
        }
        let file = format!("driver=raw,file.driver=file,file.filename={}", hardware.disk.display());
        match hardware.write_log {
            None => qemu.args(["-blockdev", &format!("node-name=disk,{file}")]),
            Some(log) => qemu.args(["-blockdev", &format!("node-name=file,{file}")]).args([
                "-blockdev",
                &format!(
                    "node-name=disk,driver=blklogwrites,file=file,log.driver=file,log.filename={}",
                    log.display()
                ),
            ]),
        };
        let child = qemu
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        Ok(Self { child, commands })
    }

    /// Whether it has switched itself off.
    ///
    /// # Errors
    /// The process cannot be asked.
    pub fn is_off(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until the guest has switched the machine off.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_off(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        while !self.is_off()? {
            if begun.elapsed() > limit {
                bail!("the machine is still on after {limit:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends the process at once, wherever it is.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pflash(unit: u8, is_read_only: bool, file: &Path) -> String {
    let read_only = if is_read_only { "on" } else { "off" };
    format!("if=pflash,format=raw,unit={unit},readonly={read_only},file={}", file.display())
}
