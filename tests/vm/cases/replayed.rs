// SPDX-License-Identifier: MIT OR Apache-2.0

//! Power cuts replayed: every write and flush of an update and of a promote is recorded, and the
//! disk is built as a cut at each moment may leave it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::expect::{slot, text};
use super::killed::is_whole;
use crate::lab::Bench;
use crate::machine::Machine;
use crate::programs;
use crate::random::Random;
use crate::replay::esp;
use crate::replay::judge::{Judge, Known, Places, Unsound};
use crate::replay::states::{Cut, Disks, cuts};
use crate::replay::write_log::WriteLog;

/// How much is replayed.
struct Size {
    /// States of each recording that are judged.
    judged: usize,
    /// How many of them are booted.
    booted: usize,
}

pub fn uefi(bench: &Bench<'_>) -> Result<()> {
    replay(bench, "uefi", &Size { judged: 600, booted: 10 })
}

pub fn systemd_boot(bench: &Bench<'_>) -> Result<()> {
    replay(bench, "systemd-boot", &Size { judged: 200, booted: 2 })
}

/// Without one of its flushes an update must not pass: the test would see nothing at all.
pub fn without_a_flush(bench: &Bench<'_>) -> Result<()> {
    let (mut machine, judge) = ready(bench, "uefi")?;
    let file = format!("/efi/EFI/flipside/boot-{}.efi", other(judge.running));
    // The first flush of the boot file, which is to make all but its first sector durable: of its
    // file system, and of itself.
    let update = format!(
        "strace -f -qq -o /run/strace -P {file} -e trace=fsync,syncfs \
         -e inject=fsync,syncfs:retval=0:when=1 \
         flipside update && grep -q INJECTED /run/strace"
    );
    let recording =
        Recording::of(&mut machine, "lost-flush", |machine| machine.run(&update).map(drop))?;
    match recording.judge(bench, &judge, 400, &mut Random::of("without a flush")) {
        Ok(_) => bail!("an update without a flush passes"),
        // It is the disks that are unsound, and not that they could not be judged.
        Err(error) => {
            machine.note(&format!("without a flush: {error:#}"));
            ensure!(error.downcast_ref::<Unsound>().is_some(), "not judged: {error:#}");
            Ok(())
        }
    }
}

fn replay(bench: &Bench<'_>, backend: &str, size: &Size) -> Result<()> {
    let seed = Random::seed();
    replay_by(bench, backend, size, &mut Random::of(&format!("replayed {backend} {seed}")))
        .with_context(|| format!("FLIPSIDE_VM_SEED={seed}"))
}

fn replay_by(bench: &Bench<'_>, backend: &str, size: &Size, random: &mut Random) -> Result<()> {
    let (mut machine, mut judge) = ready(bench, backend)?;
    let update =
        Recording::of(&mut machine, "update", |machine| machine.run("flipside update").map(drop))?;
    let states = update.judge(bench, &judge, size.judged, random)?;
    update.boot(bench, &states, size.booted, random)?;

    // And the trial that follows, from power-on to its proof.
    let promote = Recording::of(&mut machine, "promote", |machine| {
        is_whole(machine)?;
        machine.run("flipside promote").map(drop)
    })?;
    judge.running = other(judge.running);
    judge.runs = "3.0".to_owned();
    judge.loader_keeps = false;
    // The proven slot, which is the other one now, is there until the trial has its proof, and after.
    judge.lasting = lasting(&promote.before, other(judge.running), &judge.places)?;
    let own = lasting(&promote.before, judge.running, &judge.places)?;
    judge.lasting.extend(own);
    let states = promote.judge(bench, &judge, size.judged, random)?;
    promote.boot(bench, &states, size.booted, random)
}

fn other(slot: char) -> char {
    if slot == 'a' { 'b' } else { 'a' }
}

/// A machine that is off: 2.0 runs from B and is proven, A holds 1.0, and 3.0 is on offer.
fn ready(bench: &Bench<'_>, backend: &str) -> Result<(Machine, Judge)> {
    let images = [bench.minimal("1.0")?, bench.minimal("2.0")?, bench.minimal("3.0")?];
    let settings = bench.settings(&format!("[boot]\nbackend = \"{backend}\"\n"));
    let mut machine = Machine::minimal(bench, &images[0], "8MiB", &settings)?;
    bench.publish(&images[1])?;
    machine.start()?;
    machine.run("flipside promote && flipside update")?;
    machine.send("sync; reboot -f")?;
    machine.wait_boot()?;
    machine.run("flipside promote")?;
    let status = machine.status()?;
    ensure!(slot(&status, "b", "state") == "proven", "2.0 is not proven: {status}");
    machine.send("umount /efi; umount /var; sync; poweroff -f")?;
    machine.wait_off()?;
    bench.publish(&images[2])?;
    let mut judge = Judge {
        places: places(&machine.disk)?,
        images: images.iter().map(|image| Known::of(image)).collect::<Result<_>>()?,
        running: 'b',
        runs: "2.0".to_owned(),
        lasting: esp::Files::new(),
        loader_keeps: true,
    };
    judge.lasting = lasting(&fs::read(&machine.disk)?, judge.running, &judge.places)?;
    Ok((machine, judge))
}

/// What no cut may take of `slot`: its boot file, its record and its proof; and the loader.
fn lasting(disk: &[u8], slot: char, places: &Places) -> Result<esp::Files> {
    let (start, length) = places.esp;
    let mut files = esp::files(disk.get(start..start + length).context("no ESP")?.to_vec())?;
    let [boot_file, record, proof] =
        [format!("boot-{slot}.efi"), format!("slot-{slot}.json"), format!("slot-{slot}.proven")]
            .map(|name| format!("efi/flipside/{name}"));
    let always = ["efi/boot/bootx64.efi", "loader/loader.conf", &boot_file, &record];
    for path in always {
        ensure!(files.contains_key(path), "the ESP has no {path}");
    }
    files.retain(|path, _| always.contains(&path.as_str()) || *path == proof);
    Ok(files)
}

fn places(disk: &Path) -> Result<Places> {
    let table = programs::output(
        Command::new("partx").args(["-o", "START,SECTORS", "-g", "-n", "1:3"]).arg(disk),
    )?;
    let numbers: Vec<usize> = table.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [esp, sectors, a, _, b, _] = numbers.as_slice() else { bail!("partx says {table:?}") };
    Ok(Places { esp: (esp * 512, sectors * 512), system_a: a * 512, system_b: b * 512 })
}

/// A disk before something was done to it, and what was written meanwhile.
struct Recording {
    name: &'static str,
    before: Vec<u8>,
    /// NVRAM before.
    nvram: PathBuf,
    log: WriteLog,
}

impl Recording {
    /// Switches the machine on, does `what`, and switches it off.
    fn of(
        machine: &mut Machine,
        name: &'static str,
        what: impl FnOnce(&mut Machine) -> Result<()>,
    ) -> Result<Self> {
        let before = fs::read(&machine.disk)?;
        let nvram = machine.nvram.with_extension(name);
        fs::copy(&machine.nvram, &nvram)?;
        let path = machine.disk.with_extension(format!("{name}-writes"));
        fs::write(&path, [])?;
        machine.write_log = Some(path.clone());
        machine.start()?;
        what(machine)?;
        // The log's header counts up to the last flush.
        machine.run("sync")?;
        machine.kill();
        machine.write_log = None;
        let log = WriteLog::read(&path)?;
        fs::remove_file(path)?;
        Ok(Self { name, before, nvram, log })
    }

    /// Judges at least `wanted` states; gives all of them.
    fn judge(
        &self,
        bench: &Bench<'_>,
        judge: &Judge,
        wanted: usize,
        random: &mut Random,
    ) -> Result<Vec<Cut>> {
        let states = cuts(&self.log, wanted, random);
        ensure!(states.len() >= wanted, "{} states only", states.len());
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory } else { &bench.directory };
        let scratch = tempfile::NamedTempFile::new_in(place)?;
        let mut disks = Disks::new(&self.log, self.before.clone());
        let mut disk = Vec::new();
        for cut in &states {
            disks.build(cut, &mut disk);
            judge.judge(&disk, scratch.path()).with_context(|| {
                // What has to be looked at, before fsck and after it.
                let _ = fs::write(bench.directory.join("cut.kept"), &disk);
                let _ = fs::copy(scratch.path(), bench.directory.join("repaired.kept"));
                format!(
                    "{}, {} of {} entries, {:?}",
                    self.name,
                    cut.after,
                    self.log.entries.len(),
                    cut.fate
                )
            })?;
        }
        bench.note(&format!(
            "{}: {} entries, {} states judged",
            self.name,
            self.log.entries.len(),
            states.len()
        ));
        Ok(states)
    }

    /// Boots some of the states, with NVRAM as it was and with none, and lets the next run
    /// complete.
    fn boot(
        &self,
        bench: &Bench<'_>,
        states: &[Cut],
        number: usize,
        random: &mut Random,
    ) -> Result<()> {
        for turn in 0..number {
            let index = random.below(states.len() as u64) as usize;
            let Some(cut) = states.get(index) else { continue };
            let mut disk = Vec::new();
            Disks::new(&self.log, self.before.clone()).build(cut, &mut disk);
            let mut machine = Machine::of_disk(bench, &format!("{}-{turn}", self.name), &disk)?;
            if turn % 2 == 0 {
                fs::copy(&self.nvram, &machine.nvram)?;
            }
            recovers(&mut machine, turn == 0)
                .with_context(|| format!("{}, {cut:?} booted", self.name))?;
            machine.kill();
            machine.remove()?;
        }
        Ok(())
    }
}

/// The next run completes: 3.0 runs, or boots next. `reboots`: and does boot.
fn recovers(machine: &mut Machine, reboots: bool) -> Result<()> {
    machine.start()?;
    is_whole(machine)?;
    machine.run("flipside promote && flipside update")?;
    let status = machine.status()?;
    let running = text(&status, "/running/slot").to_owned();
    let target = if running == "a" { "b" } else { "a" };
    let has = |wanted: &str, state: &str| {
        (slot(&status, wanted, "version"), slot(&status, wanted, "state")) == ("3.0", state)
    };
    let (arrived, armed) = (has(&running, "proven"), has(target, "armed"));
    ensure!(arrived || armed, "the next run does not complete: {status}");
    if reboots && armed {
        machine.send("sync; reboot -f")?;
        machine.wait_boot()?;
        is_whole(machine)?;
        machine.run("flipside promote")?;
        let status = machine.status()?;
        ensure!(slot(&status, target, "state") == "proven", "3.0 is not promoted: {status}");
    }
    Ok(())
}
