// SPDX-License-Identifier: MIT OR Apache-2.0

//! Updates by delta, from the slot that runs.

use anyhow::{Context as _, Result, ensure};

use super::expect;
use crate::lab::Bench;
use crate::machine::Machine;

pub fn run(bench: &Bench<'_>) -> Result<()> {
    let (v1, v2, v3) = (bench.debian("1.0")?, bench.debian("2.0")?, bench.debian("3.0")?);
    bench.publish(&v1)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    bench.publish(&v2)?;
    bench.publish_delta(&v1)?;
    let download = download(&mut machine)?;
    ensure!(
        download.delta_from.as_deref() == Some("1.0") && download.bytes * 10 < download.full,
        "2.0 should cost a delta from 1.0: {download:?}"
    );
    expect::updates(&mut machine, "b", "2.0")?;
    is_whole(&mut machine, "b")?;
    machine.reboot()?;
    expect::trial_then_promoted(&mut machine, "b", "2.0")?;

    // Writing to the partition of the slot that runs, even what stands there, is what a server must
    // not learn of: then the system is fetched in full, and the boot file alone by its delta.
    bench.publish(&v3)?;
    bench.publish_delta(&v2)?;
    let by_delta = self::download(&mut machine)?;
    ensure!(by_delta.bytes * 10 < by_delta.full, "3.0 should cost a delta: {by_delta:?}");
    machine.run(
        "part=$(readlink -f /dev/disk/by-partlabel/system-b)\n\
         dd if=$part of=/tmp/sector bs=4096 count=1 status=none\n\
         dd if=/tmp/sector of=$part bs=4096 conv=fsync status=none",
    )?;
    let written = self::download(&mut machine)?;
    ensure!(
        written.bytes > by_delta.full / 2 && written.bytes < written.full,
        "3.0 should cost all of the system: {written:?}"
    );
    machine.settings(&bench.settings("[update]\ndeltas = \"writable\"\n"))?;
    let writable = self::download(&mut machine)?;
    ensure!(writable.bytes == by_delta.bytes, "{writable:?} is not {by_delta:?}");
    expect::updates(&mut machine, "a", "3.0")?;
    is_whole(&mut machine, "a")?;
    machine.reboot()?;
    expect::trial_then_promoted(&mut machine, "a", "3.0")
}

#[derive(Debug)]
struct Download {
    bytes: u64,
    full: u64,
    delta_from: Option<String>,
}

/// What the update on offer costs.
fn download(machine: &mut Machine) -> Result<Download> {
    machine.run("flipside check")?;
    let status = machine.status()?;
    let number = |name: &str| {
        let found = status.pointer(&format!("/available/download/{name}"));
        found.and_then(serde_json::Value::as_u64).context("the status says no cost")
    };
    let from = expect::text(&status, "/available/download/delta_from");
    let delta_from = Some(from.to_owned()).filter(|from| !from.is_empty());
    Ok(Download { bytes: number("bytes")?, full: number("full")?, delta_from })
}

fn is_whole(machine: &mut Machine, slot: &str) -> Result<()> {
    let found = machine.run(&format!("flipside verify --slot {slot}"))?;
    ensure!(found.contains("whole"), "slot {slot}: {found}");
    Ok(())
}
