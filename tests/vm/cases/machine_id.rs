// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine ID, on images that bring none.

use anyhow::{Result, ensure};

use super::expect;
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

/// From A to B and back to A, and by a failed trial of B to A once more: one ID, that of the first
/// boot.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let recipe = |version: &str| Recipe::new(version).file("etc/machine-id", "uninitialized\n");
    let check = "#!/bin/sh\ncp /etc/machine-id /var/lib/vm/id-of-the-trial\nexit 1\n";
    let bad = recipe("4.0").file("etc/flipside/health.d/required/10-never", check);
    let (v1, v2) = (bench.recipe(&recipe("1.0"))?, bench.recipe(&recipe("2.0"))?);
    let (v3, v4) = (bench.recipe(&recipe("3.0"))?, bench.recipe(&bad)?);
    let settings = bench.settings("[trial]\nattempts = 1\n");
    let mut machine = Machine::new(bench, &v1, &settings)?;
    bench.publish(&v1)?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    let first = id(&mut machine)?;
    let kept = machine.run("cat /var/lib/flipside/machine-id")?;
    ensure!(kept.trim() == first, "{first} is not kept, but {kept:?}");

    for (slot, version, image) in [("b", "2.0", &v2), ("a", "3.0", &v3)] {
        bench.publish(image)?;
        expect::updates(&mut machine, slot, version)?;
        machine.reboot()?;
        expect::trial_then_promoted(&mut machine, slot, version)?;
        let now = id(&mut machine)?;
        ensure!(now == first, "{version} in slot {slot} has the ID {now}, not {first}");
    }

    bench.publish(&v4)?;
    expect::updates(&mut machine, "b", "4.0")?;
    machine.send("systemctl reboot")?;
    // The trial may come as far as the test's shell, or not.
    super::failing::wait_for_old(&mut machine, "3.0")?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "3.0", 300)?;
    let now = id(&mut machine)?;
    ensure!(now == first, "after the fall-back the ID is {now}, not {first}");
    let trial = machine.run("cat /var/lib/vm/id-of-the-trial")?;
    ensure!(trial.trim() == first, "the trial had the ID {trial:?}, not {first}");
    Ok(())
}

/// As PID 1 and its services have it.
fn id(machine: &mut Machine) -> Result<String> {
    let id = machine.run("cat /etc/machine-id")?.trim().to_owned();
    let of_systemd = machine.run("systemd-id128 machine-id")?;
    ensure!(id.len() == 32 && of_systemd.trim() == id, "{id:?} is no ID, or not systemd's");
    Ok(id)
}
