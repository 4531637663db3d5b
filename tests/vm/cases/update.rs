// SPDX-License-Identifier: MIT OR Apache-2.0

//! An update that goes well, and the next one.

use anyhow::Result;

use super::expect;
use crate::lab::Bench;
use crate::machine::Machine;

pub fn uefi(bench: &Bench<'_>) -> Result<()> {
    run(bench, "uefi")
}

pub fn by_loader(bench: &Bench<'_>) -> Result<()> {
    run(bench, "systemd-boot")
}

fn run(bench: &Bench<'_>, backend: &str) -> Result<()> {
    let (v1, v2, v3) = (bench.debian("1.0")?, bench.debian("2.0")?, bench.debian("3.0")?);
    bench.publish(&v1)?;
    let settings = bench.settings(&format!("[boot]\nbackend = \"{backend}\"\n"));
    let mut machine = Machine::new(bench, &v1, &settings)?;
    machine.start()?;
    machine.settle()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    bench.publish(&v2)?;
    expect::updates(&mut machine, "b", "2.0")?;
    machine.reboot()?;
    expect::trial_then_promoted(&mut machine, "b", "2.0")?;

    bench.publish(&v3)?;
    expect::updates(&mut machine, "a", "3.0")?;
    machine.reboot()?;
    expect::trial_then_promoted(&mut machine, "a", "3.0")
}
