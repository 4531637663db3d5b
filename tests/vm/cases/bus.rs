// SPDX-License-Identifier: MIT OR Apache-2.0

//! The system bus with the real dbus-daemon, polkit and systemd: who may look, who may act, and
//! what those who look are told.

use anyhow::{Result, bail, ensure};

use super::expect;
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

const UPDATER: &str = "org.flipside.Updater1 /org/flipside/Updater1 org.flipside.Updater1";
/// As `docs/dbus.md` has it.
const RULE: &str = r#"polkit.addRule(function(action, subject) {
    var actions = ["org.flipside.updater1.update", "org.flipside.updater1.reboot"];
    if (actions.indexOf(action.id) >= 0 && subject.isInGroup("operators")) {
        return polkit.Result.YES;
    }
});
"#;

/// `person` reads the status and is refused everything else; `operator`, whom the host's own rule
/// makes an administrator of updates, updates; `person` hears of it as it goes on.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let etc =
        |file: &str| std::fs::read_to_string(bench.lab.debian().tree().join("etc").join(file));
    let v1 = bench.recipe(
        &Recipe::new("1.0")
            .file("etc/polkit-1/rules.d/40-operators.rules", RULE)
            .file("etc/passwd", &(etc("passwd")? + "operator:x:1001:1001::/:/bin/sh\n"))
            .file("etc/group", &(etc("group")? + "operator:x:1001:\noperators:x:1002:operator\n")),
    )?;
    let v2 = bench.debian("2.0")?;
    // A rollback verifies what it goes back to by what the registry has of it.
    bench.publish(&v1)?;
    bench.publish(&v2)?;
    let mut machine = Machine::new(bench, &v1, &bench.settings(""))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    reads(&mut machine)?;
    is_refused(&mut machine)?;
    checks(&mut machine)?;
    hears_of_an_update(&mut machine)?;
    ends_when_idle(&mut machine)?;
    reboots_releases_and_goes_back(&mut machine)?;
    is_quiet_without_a_bus(&mut machine)
}

fn property(machine: &mut Machine, name: &str) -> Result<String> {
    let text =
        machine.run(&format!("runuser -u person -- busctl get-property {UPDATER} {name}"))?;
    Ok(text.trim().to_owned())
}

/// The service is started by the question, as a user of its own.
fn reads(machine: &mut Machine) -> Result<()> {
    machine.run("systemctl stop flipside-dbus.service")?;
    for (name, expected) in [
        ("State", "s \"idle\""),
        ("RunningSlot", "s \"a\""),
        ("RebootRequired", "b false"),
        ("Problem", "(ss) \"\" \"\""),
    ] {
        let found = property(machine, name)?;
        ensure!(found == expected, "{name} is {found}, not {expected}");
    }
    let slots = property(machine, "Slots")?;
    ensure!(slots.contains("\"1.0\"") && slots.contains("\"proven\""), "Slots is {slots}");
    let introspection = format!("runuser -u person -- busctl introspect --xml-interface {UPDATER}");
    let xml = machine.run(introspection.trim_end_matches(" org.flipside.Updater1"))?;
    ensure!(xml.contains("polkit action: org.flipside.updater1.update"), "undocumented: {xml}");
    let user = machine
        .run("stat -c %U /proc/$(systemctl show --value -p MainPID flipside-dbus.service)")?;
    ensure!(user.trim() == "flipside", "the service runs as {user}");
    Ok(())
}

/// `person` may start nothing, and the service's own user no unit but those of its methods.
fn is_refused(machine: &mut Machine) -> Result<()> {
    for method in ["Check", "Update", "Rollback", "Reboot", "Retry"] {
        for (asks, expected) in [("yes", "Access denied"), ("no", "authentication")] {
            let call = format!(
                "runuser -u person -- \
                 busctl --allow-interactive-authorization={asks} call {UPDATER} {method}"
            );
            let answer = machine.ask(&call)?;
            ensure!(
                answer.status != 0 && answer.text.contains(expected),
                "{method} should say {expected:?}: {} [{}]",
                answer.text,
                answer.status
            );
        }
    }
    let systemd =
        "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    for (user, unit) in [
        ("person", "flipside-check.service"),
        ("flipside", "flipside-update.service"),
        ("flipside", "rescue.target"),
    ] {
        let call =
            format!("runuser -u {user} -- busctl call {systemd} StartUnit ss {unit} replace");
        ensure!(machine.ask(&call)?.status != 0, "{user} may start {unit}");
    }
    let call = format!(
        "runuser -u flipside -- busctl call {systemd} StopUnit ss flipside-check.service replace"
    );
    ensure!(machine.ask(&call)?.status != 0, "the service's user may stop units");
    for unit in ["check", "update-now", "rollback", "retry", "reboot"] {
        let said = said_of(machine, unit)?;
        ensure!(said.trim().is_empty(), "flipside-{unit}.service was started: {said}");
    }
    Ok(())
}

/// What systemd has said of a unit of flipside's in this boot. (It forgets units that are done.)
fn said_of(machine: &mut Machine, unit: &str) -> Result<String> {
    machine.run(&format!("journalctl -b --no-pager -o cat UNIT=flipside-{unit}.service"))
}

/// Waits for the end of a unit that somebody has started.
fn ends(machine: &mut Machine, unit: &str) -> Result<()> {
    let wait = format!(
        "for i in $(seq 120); do\n\
         journalctl -b --no-pager -o cat UNIT=flipside-{unit}.service | grep -q ^Finished && exit 0\n\
         sleep 0.5; done; exit 1"
    );
    let is_over = machine.ask(&wait)?.status == 0;
    if !is_over {
        let log = machine.ask(&format!("journalctl -b --no-pager -u flipside-{unit}.service"))?;
        bail!("flipside-{unit}.service does not end well: {}", log.text);
    }
    Ok(())
}

/// Who sits at the machine may have it look for updates.
fn checks(machine: &mut Machine) -> Result<()> {
    let before = machine.status()?;
    machine.run("busybox chvt 7")?;
    machine.run(&format!(
        "systemd-run --quiet --wait -p PAMName=login -p User=person -p TTYPath=/dev/tty7 \
         -p StandardInput=tty -p StandardOutput=journal busctl call {UPDATER} Check"
    ))?;
    ends(machine, "check")?;
    let after = machine.status()?;
    let looked = |status: &serde_json::Value| expect::text(status, "/last_check/time").to_owned();
    ensure!(looked(&before) != looked(&after), "nothing was looked for: {after}");
    let available = expect::text(&after, "/available/version");
    ensure!(available == "2.0", "available is {available:?}");
    Ok(())
}

/// An administrator's further methods: each by its own unit, in that unit's sandbox.
fn reboots_releases_and_goes_back(machine: &mut Machine) -> Result<()> {
    let call = format!("runuser -u operator -- busctl call {UPDATER} Reboot");
    machine.send(&call)?;
    machine.wait_boot()?;
    expect::trial_then_promoted(machine, "b", "2.0")?;
    for (method, unit) in [("Retry", "retry"), ("Rollback", "rollback")] {
        machine.run(&format!("busctl call {UPDATER} {method}"))?;
        ends(machine, unit)?;
    }
    let status = machine.status()?;
    let state = expect::slot(&status, "a", "state");
    ensure!(state == "armed", "after a rollback slot A is {state}: {status}");
    Ok(())
}

/// An administrator updates, and whoever listens is told.
fn hears_of_an_update(machine: &mut Machine) -> Result<()> {
    machine.run(
        "runuser -u person -- dbus-monitor --system \
         \"type='signal',path='/org/flipside/Updater1'\" >/run/signals 2>&1 &\n\
         for i in $(seq 60); do [ -s /run/signals ] && exit 0; sleep 0.5; done; exit 1",
    )?;
    let job = machine.run(&format!("runuser -u operator -- busctl call {UPDATER} Update"))?;
    ensure!(job.starts_with("o \"/org/freedesktop/systemd1/job/"), "a job is returned: {job}");
    // A job in the same unit is waited for.
    machine.run("systemctl start flipside-update-now.service")?;
    let status = machine.status()?;
    let (version, state) =
        (expect::slot(&status, "b", "version"), expect::slot(&status, "b", "state"));
    ensure!((version, state) == ("2.0", "armed"), "slot B has {version}, {state}");
    machine.run("sleep 1")?;
    for (name, expected) in [
        ("State", "s \"armed\""),
        ("RebootRequired", "b true"),
        ("Progress", "(sstt) \"\" \"\" 0 0"),
    ] {
        let found = property(machine, name)?;
        ensure!(found == expected, "after the update {name} is {found}, not {expected}");
    }
    let signals = machine.run("cat /run/signals")?;
    for told in ["PropertiesChanged", "\"Progress\"", "\"writing\"", "\"armed\"", "RebootRequired"]
    {
        ensure!(signals.contains(told), "nobody is told of {told}: {signals}");
    }
    Ok(())
}

/// What would tell the bus of changes is not even started, and so does not fail.
fn is_quiet_without_a_bus(machine: &mut Machine) -> Result<()> {
    machine.run(
        "systemctl mask --runtime dbus.socket dbus.service\n\
         systemctl stop dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket\n\
         systemctl restart flipside-dbus.path && touch /run/flipside/status.json && sleep 2",
    )?;
    let state = machine.ask("systemctl is-active flipside-dbus.path")?.text;
    ensure!(state.trim() == "inactive", "without a bus flipside-dbus.path is {state}");
    Ok(())
}

/// After 60 s in general: here sooner. The next call starts it again.
fn ends_when_idle(machine: &mut Machine) -> Result<()> {
    machine.run(
        "mkdir -p /run/systemd/system/flipside-dbus.service.d\n\
         printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/flipside dbus-service --idle 3\\n' \
         >/run/systemd/system/flipside-dbus.service.d/idle.conf\n\
         systemctl daemon-reload && systemctl restart flipside-dbus.service",
    )?;
    machine.run(
        "for i in $(seq 60); do \
         [ $(systemctl is-active flipside-dbus.service) = inactive ] && exit 0; sleep 1; done; exit 1",
    )?;
    let result = machine.run("systemctl show --value -p Result flipside-dbus.service")?;
    ensure!(result.trim() == "success", "it ended with {result}");
    let state = property(machine, "State")?;
    ensure!(state == "s \"armed\"", "started again, State is {state}");
    Ok(())
}
