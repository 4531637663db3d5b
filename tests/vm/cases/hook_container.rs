// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hook that is a container image, with the real podman under the real systemd.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::expect::{self, text};
use crate::container;
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

/// Tries what the container may not do, and says which of it worked.
const CURIOUS: &str = r#"#!/bin/sh
did=
may_not() { what=$1; shift; if "$@" 2>/dev/null; then did="$did $what"; fi; }
must() { what=$1; shift; if ! "$@" >/dev/null 2>&1; then did="$did no-$what"; fi; }
write() { echo x > "$1"; }
may_not root write /mine
may_not fact write /run/host/etc/os-release
may_not tunable write /run/host/sys/class/block/vda/queue/read_ahead_kb
may_not variables ls /run/host/sys/firmware/efi/efivars/*
may_not groups ls /run/host/sys/fs/cgroup/*
may_not variable write /run/host/sys/firmware/efi/efivars/Hook-8be4df61-93ca-11d2-aa0d-00e098032b8c
may_not group test -e /run/host/sys/fs/cgroup/cgroup.procs
may_not disk test -e /dev/vda
may_not interface grep -q eth0 /proc/net/dev
may_not interface grep -q enp /proc/net/dev
must document grep -q '"hook":"pre-upgrade"'
must system grep -q '^VERSION_ID=1.0' "$FLIPSIDE_ROOT/etc/os-release"
must status grep -q '"slots"' "$FLIPSIDE_ROOT/run/flipside/status.json"
must hardware ls "$FLIPSIDE_ROOT/sys/class/power_supply"
must version test "$FLIPSIDE_NEW_VERSION" = 2.0
must user grep -q '^Uid:.65534.65534.65534.65534$' /proc/self/status
must group grep -q '^Gid:.65534.65534.65534.65534$' /proc/self/status
must privileges grep -q '^NoNewPrivs:.1' /proc/self/status
must capabilities grep -q '^CapEff:.0000000000000000' /proc/self/status
must limit grep -q '^67108864$' /sys/fs/cgroup/memory.max
echo "complaint of the container" >&2
echo "did:$did"
exit 75
"#;

const GREEDY: &str = "head -c 300000000 /dev/zero | tail -c 250000000 | wc -c\n";
const ENDLESS: &str = "trap '' TERM\necho waiting\nwhile :; do sleep 1000; done\n";
const ASKS: &str = "wget -q -O /dev/null \"http://REGISTRY/v2/\" && echo fine\n";

/// One image after the other at the same tag.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let v1 = bench.recipe(&Recipe::new("1.0").with_podman())?;
    let v2 = bench.debian("2.0")?;
    bench.publish(&v2)?;
    let settings = |timeout: &str, network: bool| {
        bench.settings(&format!(
            "[policy.hooks]\ntimeout = \"{timeout}\"\nmemory = \"64MiB\"\n\
             [policy.hooks.container]\nimage = \"{}/asks/fleet:1\"\nnetwork = {network}\n",
            bench.registry_in_guest()
        ))
    };
    let publish = |script: &str| {
        let busybox = bench.lab.debian().tree().join("usr/bin/busybox");
        let script = script.replace("REGISTRY", &bench.registry_in_guest());
        container::put(&bench.repository("asks/fleet"), "1", &busybox, &script)
    };
    publish(CURIOUS)?;
    let mut machine = Machine::new(bench, &v1, &settings("200s", false))?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    is_in_its_sandbox(&mut machine)?;
    publish(GREEDY)?;
    is_asked(&mut machine, ("block", "hook-failed", "policy.hooks.memory"))?;
    publish(ASKS)?;
    is_asked(&mut machine, ("block", "hook-blocked", ""))?;
    machine.settings(&settings("200s", true))?;
    is_asked(&mut machine, ("allow", "", ""))?;
    publish(ENDLESS)?;
    machine.settings(&settings("25s", true))?;
    is_asked(&mut machine, ("defer", "hook-timeout", "did not answer within 25s"))?;
    // What that one has left gives way to the next.
    publish(ASKS)?;
    machine.settings(&settings("200s", true))?;
    is_asked(&mut machine, ("allow", "", ""))?;
    let images = machine.run("podman images --quiet")?;
    ensure!(images.lines().count() == 1, "former images of the hook are kept: {images}");
    Ok(())
}

/// By the timer's service, and by digest.
fn is_in_its_sandbox(machine: &mut Machine) -> Result<()> {
    machine.run("systemctl start flipside-update.service")?;
    let status = machine.status()?;
    let reason = text(&status, "/blocked/message");
    ensure!(reason.ends_with("did:"), "the container says {reason}");
    ensure!(text(&status, "/blocked/code") == "hook-deferred", "{status}");
    let said = machine.run("journalctl -b --no-pager -o cat FLIPSIDE_HOOK=podman")?;
    ensure!(said.contains("complaint of the container"), "the journal says {said:?}");
    leaves_nothing(machine)
}

fn is_asked(machine: &mut Machine, (decision, code, part): (&str, &str, &str)) -> Result<()> {
    let answer = machine.ask("flipside --quiet hooks run --automatic --json 2>/dev/null")?;
    let said: Value = serde_json::from_str(&answer.text)?;
    let field = |field: &str| text(&said, field);
    ensure!(field("/decision") == decision, "expected {decision} {code}: {said}");
    ensure!(said.pointer("/answers/0/ran_as").is_some_and(|how| how == "unit"), "{said}");
    if decision != "allow" {
        ensure!(field("/code") == code && field("/reason").contains(part), "{said}");
    }
    leaves_nothing(machine)
}

fn leaves_nothing(machine: &mut Machine) -> Result<()> {
    let units = machine.run("systemctl list-units --all --no-legend --plain 'flipside-hook-*'")?;
    ensure!(units.trim().is_empty(), "units are left: {units}");
    let left = machine.ask("grep -la 'sleep.1000\\|conmon' /proc/[0-9]*/cmdline 2>/dev/null")?;
    ensure!(left.text.trim().is_empty(), "processes are left: {}", left.text);
    Ok(())
}
