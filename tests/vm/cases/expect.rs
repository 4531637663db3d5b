// SPDX-License-Identifier: MIT OR Apache-2.0

//! What cases ask of a machine's status.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::machine::Machine;

/// A field of the status document, by its JSON pointer.
pub fn text<'a>(status: &'a Value, pointer: &str) -> &'a str {
    status.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The field `name` of slot `a` or `b`.
pub fn slot<'a>(status: &'a Value, slot: &str, name: &str) -> &'a str {
    let index = if slot == "a" { 0 } else { 1 };
    text(status, &format!("/slots/{index}/{name}"))
}

/// Expects `version` to run in `slot`, and that slot to be in `state`; gives the status.
pub fn runs(machine: &mut Machine, slot: &str, version: &str, state: &str) -> Result<Value> {
    // The first command may come before the mounts.
    machine.run("for i in $(seq 200); do mountpoint -q /var && mountpoint -q /efi && exit 0; sleep 0.5; done; exit 1")?;
    let status = machine.status()?;
    let found = (
        text(&status, "/running/slot"),
        self::slot(&status, slot, "version"),
        self::slot(&status, slot, "state"),
    );
    ensure!(
        found == (slot, version, state),
        "expected {version} in slot {slot}, {state}; found slot {}, {} {}",
        found.0,
        found.1,
        found.2
    );
    let os = machine.run("sed -n s/^VERSION_ID=//p /etc/os-release")?;
    ensure!(os.trim() == version, "{version} should run, and os-release says {}", os.trim());
    Ok(status)
}

/// Waits until the running slot has its proof, for at most `seconds`.
pub fn promoted(machine: &mut Machine, slot: &str, version: &str, seconds: u32) -> Result<()> {
    let proof = format!("/efi/EFI/flipside/slot-{slot}.proven");
    let waited = machine.ask(&format!(
        "for i in $(seq {seconds}); do [ -s {proof} ] && exit 0; sleep 1; done; exit 1"
    ))?;
    if waited.status != 0 {
        machine.ask(
            "systemctl list-jobs; systemctl --failed; journalctl -b -u 'flipside-*' --no-pager",
        )?;
        bail!("slot {slot} was not promoted within {seconds} s");
    }
    runs(machine, slot, version, "proven")?;
    Ok(())
}

/// Installs what the tag names, as the timer does, and expects `version` to be armed in `slot`.
pub fn updates(machine: &mut Machine, slot: &str, version: &str) -> Result<()> {
    let answer = machine.ask("systemctl start flipside-update.service")?;
    if answer.status != 0 {
        let log = machine.ask("journalctl -b -u flipside-update.service --no-pager -n 30")?;
        bail!("the update failed: {}", log.text);
    }
    let status = machine.status()?;
    let (found, state) = (self::slot(&status, slot, "version"), self::slot(&status, slot, "state"));
    ensure!(
        (found, state) == (version, "armed"),
        "expected {version} armed in slot {slot}, found {found:?} {state}"
    );
    Ok(())
}

/// Expects a trial, which succeeds. (The status is asked early in the boot.)
pub fn trial_then_promoted(machine: &mut Machine, slot: &str, version: &str) -> Result<()> {
    runs(machine, slot, version, "trial")?;
    let state = machine.record_trial_outcome()?;
    ensure!(state == "running", "after the boot of {version} the system is {state}");
    promoted(machine, slot, version, 300)
}
