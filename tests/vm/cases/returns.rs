// SPDX-License-Identifier: MIT OR Apache-2.0

//! NVRAM that was lost, and hosts that check nothing.

use anyhow::{Context as _, Result, ensure};

use super::expect::{self, text};
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

/// The firmware forgets everything while 2.0 runs from slot B: the loader for removable media
/// starts it, promote writes the entries again, and the next update works.
pub fn nvram_wiped(bench: &Bench<'_>) -> Result<()> {
    let (v1, v2, v3) = (bench.debian("1.0")?, bench.debian("2.0")?, bench.debian("3.0")?);
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    expect::updates(&mut machine, "b", "2.0")?;
    machine.reboot()?;
    expect::promoted(&mut machine, "b", "2.0", 300)?;

    machine.power_off()?;
    machine.wipe_nvram()?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "b", "2.0", 300)?;
    let status = machine.status()?;
    let first = text(&status, "/boot_order/0/what");
    ensure!(first == "slot-b", "the firmware would boot {first} first: {}", status);

    bench.publish(&v3)?;
    expect::updates(&mut machine, "a", "3.0")?;
    machine.reboot()?;
    expect::promoted(&mut machine, "a", "3.0", 300)
}

/// Without health checks and without the unit that runs them, a trial counts as good once
/// `multi-user.target` is reached, and not a moment before.
pub fn no_health(bench: &Bench<'_>) -> Result<()> {
    let v1 = bench.debian("1.0")?;
    let slow =
        "[Unit]\nBefore=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/sleep 20\n";
    let v2 = bench.recipe(
        &Recipe::new("2.0")
            .without("etc/systemd/system/boot-complete.target.requires/flipside-health.service")
            .unit("slow.service", slow, "multi-user.target"),
    )?;
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    expect::updates(&mut machine, "b", "2.0")?;
    machine.reboot()?;
    machine
        .run("while [ $(systemctl is-active slow.service) != activating ]; do sleep 0.3; done")?;
    expect::runs(&mut machine, "b", "2.0", "trial")?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "b", "2.0", 300)?;
    let mut at = |unit: &str, what: &str| -> Result<u64> {
        let text = machine.run(&format!("systemctl show --value -p {what} {unit}"))?;
        text.trim().parse().with_context(|| format!("{what} of {unit}: {text:?}"))
    };
    let reached = at("multi-user.target", "ActiveEnterTimestampMonotonic")?;
    let promoted = at("flipside-promote.service", "ExecMainStartTimestampMonotonic")?;
    ensure!(at("flipside-health.service", "ActiveEnterTimestampMonotonic")? == 0, "health ran");
    ensure!(
        reached > 0 && promoted >= reached,
        "promote ran at {promoted} us, multi-user was reached at {reached} us"
    );
    Ok(())
}
