// SPDX-License-Identifier: MIT OR Apache-2.0

//! An update that goes well, and the next one.

use anyhow::{Result, ensure};

use super::expect;
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

pub fn uefi(bench: &Bench<'_>) -> Result<()> {
    run(bench, "uefi")
}

pub fn by_loader(bench: &Bench<'_>) -> Result<()> {
    run(bench, "systemd-boot")
}

/// 3.0 asks for 2.0, and the tag `bridge` has that: one run of the timer, and the machine gets there by
/// itself.
pub fn by_steps(bench: &Bench<'_>) -> Result<()> {
    let (v1, v2) = (bench.debian("1.0")?, bench.debian("2.0")?);
    let asks = Recipe::new("3.0")
        .annotation("org.flipside.requires=2.0")
        .annotation("org.flipside.via=bridge");
    bench.publish_as("bridge", &v2)?;
    let v3 = bench.recipe(&asks)?;
    bench.publish(&v3)?;
    let settings = bench.settings("[reboot]\nstrategy = \"immediate\"\n");
    let mut machine = Machine::new(bench, &v1, &settings)?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    machine.send("systemctl start flipside-update.service")?;
    machine.wait_boot()?;
    expect::runs(&mut machine, "b", "2.0", "trial")?;
    // Its promotion, the next run and the reboot come without a word from here.
    machine.wait_boot()?;
    expect::trial_then_promoted(&mut machine, "a", "3.0")
}

fn run(bench: &Bench<'_>, backend: &str) -> Result<()> {
    let (v1, v2, v3) = (bench.debian("1.0")?, bench.debian("2.0")?, bench.debian("3.0")?);
    bench.publish(&v1)?;
    let settings = |reboot: &str| {
        bench.settings(&format!("[boot]\nbackend = \"{backend}\"\n[reboot]\n{reboot}\n"))
    };
    let mut machine = Machine::new(bench, &v1, &settings("strategy = \"immediate\""))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    let variables = variables(&mut machine)?;

    // The reboot is flipside's own.
    bench.publish(&v2)?;
    machine.send("systemctl start flipside-update.service")?;
    machine.wait_boot()?;
    expect::trial_then_promoted(&mut machine, "b", "2.0")?;

    // A window on another day: the machine waits for it.
    let day = machine.run("LC_ALL=C date -d '+3 days' +%a")?;
    let window = format!("strategy = \"window\"\nwindows = [\"{} 03:00 2h UTC\"]", day.trim());
    machine.settings(&settings(&window))?;
    bench.publish(&v3)?;
    holds_off_shutdowns(&mut machine)?;
    expect::updates(&mut machine, "a", "3.0")?;
    waits_for_its_window(&mut machine, day.trim())?;
    if backend == "systemd-boot" {
        is_the_same(&mut machine, &variables)?;
        // Nothing of it is in NVRAM.
        machine.power_off()?;
        machine.wipe_nvram()?;
        machine.start()?;
    } else {
        machine.reboot()?;
    }
    expect::trial_then_promoted(&mut machine, "a", "3.0")
}

/// The firmware's boot entries, their order, and what boots once.
fn variables(machine: &mut Machine) -> Result<String> {
    machine.run("efibootmgr -v | grep -v ^BootCurrent")
}

/// With systemd-boot, flipside leaves the firmware's variables alone.
fn is_the_same(machine: &mut Machine, before: &str) -> Result<()> {
    let after = variables(machine)?;
    ensure!(after == before, "the firmware's variables were\n{before}\nand are\n{after}");
    Ok(())
}

/// logind knows that a slot is being written, and by whom.
fn holds_off_shutdowns(machine: &mut Machine) -> Result<()> {
    let seen = machine.ask(
        "systemctl start --no-block flipside-update.service\n\
         for i in $(seq 600); do\n\
         systemd-inhibit --list --no-pager | grep -q 'flipside.*writing 3.0 into slot A' && exit 0\n\
         sleep 0.1; done; systemd-inhibit --list --no-pager; exit 1",
    )?;
    ensure!(seen.status == 0, "nothing holds shutdowns off while a slot is written: {}", seen.text);
    Ok(())
}

/// The window's timer is set, and tools that look for a reason to reboot find one.
fn waits_for_its_window(machine: &mut Machine, day: &str) -> Result<()> {
    machine.run("[ -e /run/reboot-required ]")?;
    let timer = "systemctl show --value -p NextElapseUSecRealtime flipside-reboot-window.timer";
    // It is set by the unit that follows the update.
    let next = machine.run(&format!(
        "for i in $(seq 60); do t=$({timer}); [ -n \"$t\" ] && break; sleep 1; done; echo \"$t\""
    ))?;
    let is_in_it = next.starts_with(day) && [" 03:", " 04:"].iter().any(|hour| next.contains(hour));
    ensure!(
        is_in_it,
        "the next reboot is {next:?}, and the window is on {day} from 03:00 to 05:00"
    );
    let left = machine.run("systemd-inhibit --list --no-pager")?;
    ensure!(!left.contains("writing"), "shutdowns are still held off: {left}");
    Ok(())
}
