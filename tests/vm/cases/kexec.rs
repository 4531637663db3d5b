// SPDX-License-Identifier: MIT OR Apache-2.0

//! A reboot past the firmware: the right root comes up, nothing is proven by it, and the trial
//! is the next boot by the firmware.

use anyhow::{Result, ensure};

use super::expect::{self, text};
use crate::lab::Bench;
use crate::machine::Machine;

pub fn run(bench: &Bench<'_>) -> Result<()> {
    let (v1, v2) = (bench.debian("1.0")?, bench.debian("2.0")?);
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings("[reboot]\nkexec = true\n"))?;
    machine.start()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    machine.settle()?;
    expect::updates(&mut machine, "b", "2.0")?;
    let armed = text(&machine.status()?, "/boot_next").to_owned();

    machine.send("flipside reboot --now")?;
    machine.wait_boot()?;
    let command_line = machine.run("cat /proc/cmdline")?;
    ensure!(command_line.contains("flipside.slot=b"), "no kexec: {command_line}");
    machine.settle()?;
    let root = machine.run("readlink -f /dev/flipside/system; findmnt -no SOURCE /")?;
    ensure!(root.lines().all(|line| line.trim() == "/dev/vda3"), "the root is {root}");
    let status = machine.status()?;
    ensure!(text(&status, "/running/slot") == "b", "slot {} runs", text(&status, "/running/slot"));
    let proof = machine.ask("sleep 5; test -e /efi/EFI/flipside/slot-b.proven")?;
    ensure!(proof.status != 0, "a boot by kexec has proved 2.0");
    ensure!(text(&machine.status()?, "/boot_next") == armed, "BootNext has gone");

    machine.reboot()?;
    let command_line = machine.run("cat /proc/cmdline")?;
    ensure!(!command_line.contains("flipside.slot"), "kexec again: {command_line}");
    expect::trial_then_promoted(&mut machine, "b", "2.0")
}
