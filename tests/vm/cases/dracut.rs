// SPDX-License-Identifier: MIT OR Apache-2.0

//! The initrd part for dracut, with systemd in the initrd and without.

use anyhow::Result;

use super::expect;
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

/// What dracut's own initrd does without.
const SYSTEMD: &str = "systemd systemd-initrd dracut-systemd";

/// 1.0 from slot A by systemd in the initrd, then 2.0 from B by dracut's own init.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let v1 = bench.recipe(&Recipe::new("1.0").root("flipside:system").dracut("plymouth"))?;
    let v2 = bench.recipe(&Recipe::new("2.0").root("flipside:system").dracut(SYSTEMD))?;
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    is_mounted(&mut machine, "a")?;
    let initrd = "journalctl -b -o short --no-pager | grep -qi 'running in initrd'";
    machine.run(initrd)?;

    expect::updates(&mut machine, "b", "2.0")?;
    machine.reboot()?;
    expect::trial_then_promoted(&mut machine, "b", "2.0")?;
    is_mounted(&mut machine, "b")?;
    machine.run(&format!("! {initrd}"))?;
    Ok(())
}

/// The slot's partition is `/dev/flipside/system`, and the root.
fn is_mounted(machine: &mut Machine, slot: &str) -> Result<()> {
    machine.run(&format!(
        "d=$(readlink -f /dev/disk/by-partlabel/system-{slot})\n\
         [ $(readlink -f /dev/flipside/system) = $d ] || exit 1\n\
         [ $(findmnt -no MAJ:MIN /) = $(lsblk -dno MAJ:MIN $d) ] || exit 2"
    ))?;
    Ok(())
}
