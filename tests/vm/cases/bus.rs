// SPDX-License-Identifier: MIT OR Apache-2.0

//! D-Bus, with the system's own bus, polkit and systemd.

use anyhow::{Result, ensure};

use super::expect;
use crate::lab::Bench;
use crate::machine::Machine;

const OBJECT: &str = "org.flipside.Updater1 /org/flipside/Updater1 org.flipside.Updater1";
/// A user like any other.
const PERSON: &str = "runuser -u person --";

pub fn run(bench: &Bench<'_>) -> Result<()> {
    let (v1, v2) = (bench.debian("1.0")?, bench.debian("2.0")?);
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    machine.settle()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    let state = machine.run(&format!("{PERSON} busctl get-property {OBJECT} State"))?;
    ensure!(state.trim() == "s \"idle\"", "a person reads the state {state}");
    let refused = machine.ask(&format!("{PERSON} busctl call {OBJECT} Update"))?;
    ensure!(refused.status != 0, "a person may start an update: {}", refused.text);
    let why = refused.text.to_lowercase();
    ensure!(why.contains("denied") || why.contains("authori"), "refused for {why}");
    let state = machine.run("systemctl show --value -p ActiveState flipside-update-now.service")?;
    ensure!(state.trim() == "inactive", "the update that was refused is {state}");

    machine.run("busctl monitor --json=short org.flipside.Updater1 >/run/seen 2>&1 & sleep 3")?;
    machine.run(&format!("busctl call {OBJECT} Update"))?;
    machine.run(&format!(
        "for i in $(seq 200); do \
           busctl get-property {OBJECT} State | grep -q armed && exit 0; sleep 1; \
         done; journalctl -b -u 'flipside-*' --no-pager -n 20; exit 1"
    ))?;
    let seen = machine.run("sleep 1; grep PropertiesChanged /run/seen | tail -n 400")?;
    for word in ["\"writing\"", "\"armed\"", "Progress"] {
        ensure!(seen.contains(word), "no PropertiesChanged told of {word}");
    }
    let status = machine.status()?;
    ensure!(expect::slot(&status, "b", "state") == "armed", "slot B is not armed: {status}");
    Ok(())
}
