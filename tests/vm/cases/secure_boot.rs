// SPDX-License-Identifier: MIT OR Apache-2.0

//! Secure Boot, by firmware that asks for signatures: what it would not start is refused before the
//! slot is touched, and what flipside takes is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::expect::text;
use super::killed::is_whole;
use crate::lab::Bench;
use crate::machine::Machine;
use crate::{minimal, programs};

/// Debian's test key, which is in this firmware's `db`.
const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// A key and its certificate, in PEM.
struct Signer {
    key: PathBuf,
    certificate: PathBuf,
}

impl Signer {
    /// The one that the firmware knows.
    fn known(bench: &Bench<'_>) -> Result<Self> {
        let key = bench.directory.join("known.key");
        let mut open = Command::new("openssl");
        open.args(["pkey", "-passin", "pass:snakeoil", "-in", KEY, "-out"]);
        programs::run(open.arg(&key))?;
        Ok(Self { key, certificate: PathBuf::from(CERTIFICATE) })
    }

    /// One that it does not know.
    fn unknown(bench: &Bench<'_>) -> Result<Self> {
        let signer = Self {
            key: bench.directory.join("unknown.key"),
            certificate: bench.directory.join("unknown.pem"),
        };
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=somebody"]);
        make.arg("-keyout").arg(&signer.key).arg("-out").arg(&signer.certificate);
        programs::run(&mut make)?;
        Ok(signer)
    }

    fn sign(&self, from: &Path, to: &Path) -> Result<()> {
        let mut sign = Command::new("sbsign");
        sign.arg("--key").arg(&self.key).arg("--cert").arg(&self.certificate);
        programs::run(sign.arg("--output").arg(to).arg(from))
    }
}

pub fn run(bench: &Bench<'_>) -> Result<()> {
    let (known, unknown) = (Signer::known(bench)?, Signer::unknown(bench)?);
    let loader = bench.directory.join("loader.efi");
    known.sign(Path::new(LOADER), &loader)?;
    let image = |version: &str, name: &str, signer: &Signer| {
        minimal::with_boot_file(bench.lab, version, name, |file| signer.sign(file, file))
    };
    let (v1, v2) = (image("1.0", "signed", &known)?, image("2.0", "signed", &known)?);
    let foreign = image("2.0", "foreign", &unknown)?;
    let mut machine = Machine::secure(bench, &v1, &loader, &bench.settings(""))?;
    machine.start()?;
    machine.run("flipside promote")?;
    let status = machine.status()?;
    ensure!(text(&status, "/secure_boot") == "on", "Secure Boot is not on: {status}");

    bench.publish(&foreign)?;
    is_refused(&mut machine, "is signed by somebody")?;
    bench.publish(&*bench.minimal("2.0")?)?;
    is_refused(&mut machine, "it is not signed")?;

    bench.publish(&v2)?;
    machine.run("flipside update")?;
    machine.send("sync; reboot -f")?;
    machine.wait_boot()?;
    boots(&mut machine, "trial")?;
    machine.run("flipside promote")?;
    boots(&mut machine, "proven")?;

    // The keys stay, the boot entries go.
    power_off(&mut machine)?;
    machine.wipe_nvram()?;
    machine.start()?;
    let status = machine.status()?;
    ensure!(text(&status, "/secure_boot") == "on", "Secure Boot is not on: {status}");
    boots(&mut machine, "proven")
}

/// The minimal system has no systemd.
fn power_off(machine: &mut Machine) -> Result<()> {
    machine.send("sync; poweroff -f")?;
    machine.wait_off()
}

/// An update is refused, with this in its sentence, and changes neither the slot nor the ESP.
fn is_refused(machine: &mut Machine, why: &str) -> Result<()> {
    let all = "cat /dev/disk/by-partlabel/system-b /efi/EFI/flipside/* /efi/loader/entries/* \
               | sha256sum";
    // The minimal system has no udev.
    let all = all.replace("/dev/disk/by-partlabel/system-b", "/dev/vda3");
    let before = machine.run(&all)?;
    let answer = machine.ask("flipside update")?;
    let is_told = answer.text.contains("[boot-file-untrusted]") && answer.text.contains(why);
    ensure!(answer.status == 1 && is_told, "{why}: {}: {}", answer.status, answer.text);
    let after = machine.run(&all)?;
    ensure!(before == after, "{why}: the slot or the ESP was changed");
    Ok(())
}

/// 2.0 runs in slot B, in this state.
fn boots(machine: &mut Machine, state: &str) -> Result<()> {
    is_whole(machine)?;
    let status = machine.status()?;
    let found = (
        text(&status, "/running/slot"),
        text(&status, "/slots/1/version"),
        text(&status, "/slots/1/state"),
    );
    ensure!(found == ("b", "2.0", state), "expected 2.0 in slot B, {state}; found {found:?}");
    Ok(())
}
