// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU killed at random moments of update, reboot and promote: whatever the moment, the machine
//! boots a whole system, and the next run completes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::expect::{slot, text};
use crate::lab::Bench;
use crate::machine::Machine;
use crate::random::Random;

/// What the plug is pulled in.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Update,
    Reboot,
    Promote,
}

/// How long each of them takes undisturbed, as measured last.
struct Lasts {
    update: Duration,
    reboot: Duration,
    promote: Duration,
}

pub fn uefi(bench: &Bench<'_>) -> Result<()> {
    cuts(bench, "uefi", 20)
}

pub fn few(bench: &Bench<'_>) -> Result<()> {
    cuts(bench, "uefi", 5)
}

pub fn systemd_boot(bench: &Bench<'_>) -> Result<()> {
    cuts(bench, "systemd-boot", 6)
}

fn cuts(bench: &Bench<'_>, backend: &str, number: u32) -> Result<()> {
    let seed = Random::seed();
    println!("    killed, {backend}: FLIPSIDE_VM_SEED={seed}");
    let mut random = Random::of(&format!("killed {backend} {seed}"));
    let images = [bench.minimal("1.0")?, bench.minimal("2.0")?];
    // The same two versions go to and fro.
    let settings = bench
        .settings(&format!("[boot]\nbackend = \"{backend}\"\n[update]\nallow_downgrade = true\n"));
    let mut machine = Machine::minimal(bench, &images[0], "8MiB", &settings)?;
    machine.start()?;
    promote(&mut machine)?;
    // Once without a cut, to know how long it takes.
    bench.publish(&images[1])?;
    let mut lasts = round(&mut machine, &images[1].version)?;
    for cut in 0..number {
        let next = &images[cut as usize % 2];
        bench.publish(next)?;
        let moment = match random.below(5) {
            0 | 1 => Moment::Update,
            2 => Moment::Reboot,
            _ => Moment::Promote,
        };
        one_cut(&mut machine, &mut random, moment, &mut lasts)
            .with_context(|| format!("cut {cut}, in {moment:?}"))?;
        lasts = round(&mut machine, &next.version)
            .with_context(|| format!("after cut {cut}, in {moment:?}"))?;
    }
    Ok(())
}

/// Brings the machine to the moment, pulls the plug in it, and switches on again.
fn one_cut(
    machine: &mut Machine,
    random: &mut Random,
    moment: Moment,
    lasts: &mut Lasts,
) -> Result<()> {
    machine.note(&format!("a cut in {moment:?}"));
    let whole = match moment {
        Moment::Update => {
            machine.send("flipside update")?;
            lasts.update
        }
        Moment::Reboot => {
            machine.run("flipside update")?;
            machine.send("sync; reboot -f")?;
            lasts.reboot
        }
        Moment::Promote => {
            machine.run("flipside update")?;
            machine.send("sync; reboot -f")?;
            machine.wait_boot()?;
            machine.send("flipside promote")?;
            lasts.promote
        }
    };
    std::thread::sleep(random.part_of(whole + whole / 10));
    machine.kill();
    machine.start()?;
    is_whole(machine)
}

/// Takes the machine to `version`, wherever it stands, without a cut.
fn round(machine: &mut Machine, version: &str) -> Result<Lasts> {
    // What runs may be a trial.
    promote(machine)?;
    let begun = Instant::now();
    machine.run("flipside update")?;
    let update = begun.elapsed();
    let status = machine.status()?;
    let mut reboot = Duration::from_secs(10);
    if text(&status, "/state") == "armed" {
        let begun = Instant::now();
        machine.send("sync; reboot -f")?;
        machine.wait_boot()?;
        reboot = begun.elapsed();
    }
    is_whole(machine)?;
    let promote = promote(machine)?;
    let status = machine.status()?;
    let running = text(&status, "/running/slot").to_owned();
    let found = (slot(&status, &running, "version"), slot(&status, &running, "state"));
    ensure!(found == (version, "proven"), "expected {version}, proven; found {found:?}");
    Ok(Lasts { update, reboot, promote })
}

fn promote(machine: &mut Machine) -> Result<Duration> {
    let begun = Instant::now();
    machine.run("flipside promote")?;
    Ok(begun.elapsed())
}

/// The kernel that runs was built with the system in its slot, and this is that system.
pub fn is_whole(machine: &mut Machine) -> Result<()> {
    let found = machine.run("cat /run/system")?;
    ensure!(found.trim() == "whole", "the running system is {}", found.trim());
    Ok(())
}
