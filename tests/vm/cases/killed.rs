// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU killed at random moments of update, reboot and promote: whatever the moment, the machine
//! boots a whole system, and the next run completes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::expect::{self, slot, text};
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

/// The same on a whole system, where systemd's units do it: the timer's run, and what follows a boot.
pub fn debian(bench: &Bench<'_>) -> Result<()> {
    let seed = Random::seed();
    let mut random = Random::of(&format!("killed debian {seed}"));
    debian_by(bench, &mut random).with_context(|| format!("FLIPSIDE_VM_SEED={seed}"))
}

fn debian_by(bench: &Bench<'_>, random: &mut Random) -> Result<()> {
    let (v1, v2) = (bench.debian("1.0")?, bench.debian("2.0")?);
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings("[trial]\nattempts = 9\n"))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    machine.send("systemctl start flipside-update.service")?;
    std::thread::sleep(random.part_of(Duration::from_secs(25)));
    machine.kill();
    machine.start()?;
    // It may have been armed already, and then this is its trial.
    let is_trial = machine.ask("grep -c VERSION_ID=2.0 /etc/os-release")?.status == 0;
    if !is_trial {
        machine.record_trial_outcome()?;
        expect::promoted(&mut machine, "a", "1.0", 300)?;
        expect::updates(&mut machine, "b", "2.0")?;
        machine.send("systemctl reboot")?;
        machine.wait_boot()?;
    }
    // While the units of the boot run, promote among them.
    std::thread::sleep(random.part_of(Duration::from_secs(40)));
    machine.kill();
    machine.start()?;
    machine.record_trial_outcome()?;
    if machine.ask("grep -c VERSION_ID=1.0 /etc/os-release")?.status == 0 {
        expect::promoted(&mut machine, "a", "1.0", 300)?;
        expect::updates(&mut machine, "b", "2.0")?;
        machine.reboot()?;
        machine.record_trial_outcome()?;
    }
    expect::promoted(&mut machine, "b", "2.0", 300)
}

pub fn systemd_boot(bench: &Bench<'_>) -> Result<()> {
    cuts(bench, "systemd-boot", 6)
}

fn cuts(bench: &Bench<'_>, backend: &str, number: u32) -> Result<()> {
    let seed = Random::seed();
    let mut random = Random::of(&format!("killed {backend} {seed}"));
    cuts_by(bench, backend, number, &mut random).with_context(|| format!("FLIPSIDE_VM_SEED={seed}"))
}

fn cuts_by(bench: &Bench<'_>, backend: &str, number: u32, random: &mut Random) -> Result<()> {
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
        one_cut(&mut machine, random, moment, &mut lasts)
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
