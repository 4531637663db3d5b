// SPDX-License-Identifier: MIT OR Apache-2.0

//! Past the firmware into the new system, and by the firmware into it once more.

use anyhow::{Result, ensure};

use super::expect;
use crate::lab::Bench;
use crate::machine::Machine;

/// The timer's run installs 2.0 and reboots into it by kexec, at once. That proves nothing: its
/// trial is the next boot by the firmware.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let (v1, v2) = (bench.debian("1.0")?, bench.debian("2.0")?);
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    let firmware_booted = boot_current(&mut machine)?;

    machine.settings(&bench.settings("[reboot]\nstrategy = \"immediate\"\nkexec = true\n"))?;
    machine.send("systemctl start flipside-update.service")?;
    machine.wait_boot()?;
    ensure!(
        boot_current(&mut machine)? == firmware_booted,
        "the machine came back by its firmware, not by kexec"
    );
    let state = machine.record_trial_outcome()?;
    ensure!(state == "running", "after kexec the system is {state}");
    let status = expect::runs(&mut machine, "b", "2.0", "trial")?;
    ensure!(status.pointer("/boot_next").is_some_and(|next| !next.is_null()), "it is not armed");
    // What runs in it and has to leave it alone: nothing of it is a trial.
    for unit in ["promote", "trial-deadline", "update", "reboot-window"] {
        machine.run(&format!("systemctl start flipside-{unit}.service"))?;
    }
    let status = expect::runs(&mut machine, "b", "2.0", "trial")?;
    ensure!(status.pointer("/boot_next").is_some_and(|next| !next.is_null()), "not armed any more");
    machine.run(
        "[ ! -e /efi/EFI/flipside/slot-b.proven ] || exit 1\n\
         grep -qw flipside.slot=b /proc/cmdline || exit 2\n\
         b=$(readlink -f /dev/disk/by-partlabel/system-b)\n\
         [ $(readlink -f /dev/flipside/system) = $b ] || exit 3\n\
         [ $(findmnt -no MAJ:MIN /) = $(lsblk -dno MAJ:MIN $b) ] || exit 4",
    )?;

    machine.reboot()?;
    ensure!(
        boot_current(&mut machine)? != firmware_booted,
        "the firmware has not booted what was armed"
    );
    expect::trial_then_promoted(&mut machine, "b", "2.0")
}

/// The entry that the firmware booted: a kexec leaves it as it was.
fn boot_current(machine: &mut Machine) -> Result<String> {
    machine.run("efibootmgr | sed -n 's/^BootCurrent: //p'")
}
