// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hooks under the real systemd: asked by the timer's service, in their sandbox, within their
//! limits, and gone afterwards.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::expect::{self, text};
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

/// Where the guest's administrator has his hooks; root's file system is read-only.
const PLACE: &str = "/var/lib/vm/hooks";

/// Tries what a hook may not do, and says which of it worked.
const CURIOUS: &str = r#"#!/bin/sh
did=
may_not() { what=$1; shift; if "$@" 2>/dev/null; then did="$did $what"; fi; }
must() { what=$1; shift; if ! "$@" >/dev/null 2>&1; then did="$did no-$what"; fi; }
write() { echo x > "$1"; }
may_not var write /var/lib/flipside-hook
may_not run write /run/flipside-hook
may_not esp write /efi/EFI/flipside/hook
may_not variable write /sys/firmware/efi/efivars/Hook-8be4df61-93ca-11d2-aa0d-00e098032b8c
may_not tunable write /proc/sys/kernel/panic
may_not disk test -e /dev/vda
may_not mount mount -t tmpfs none /tmp
may_not namespace unshare -m true
must tmp write /tmp/mine
must shadow cat /etc/shadow
must systemd systemctl is-active dbus.service
must network busybox wget -q -O /dev/null "http://10.0.2.2:$(cat /var/lib/vm/port)/v2/"
must document grep -q '"hook":"pre-upgrade"'
grep -q '^NoNewPrivs:.1' /proc/self/status || did="$did privileges"
grep -q '^CapBnd:.0000000000000006' /proc/self/status || did="$did capabilities"
grep -q flipside-hook-10-curious /proc/self/cgroup || did="$did elsewhere"
echo "complaint of the hook" >&2
echo "did:$did"
exit 75
"#;

/// What it leaves behind has its own session, and listens to no signal.
const LEAVES: &str = "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &\n\
                      sleep 0.2\necho fine\n";
const ENDLESS: &str = "#!/bin/sh\ntrap '' TERM\necho waiting\nwhile :; do sleep 1000; done\n";
const GREEDY: &str = "#!/bin/sh\nhead -c 300000000 /dev/zero | tail -c 250000000 | wc -c\n";
/// Of the whole questioning.
const ALLOWS: &str = r#"],"decision":"allow""#;
const LOUD: &str = "#!/bin/sh\nhead -c 300000000 /dev/zero\necho\necho enough\nexit 75\n";

/// What the image brings runs from memory, in the same sandbox, also where no file may be executed.
const BROUGHT: &str = r#"#!/bin/sh
did=
if (echo x > /var/lib/flipside-hook) 2>/dev/null; then did="$did var"; fi
if (echo x > "$0") 2>/dev/null; then did="$did itself"; fi
grep -q '"version":"2.0"' || did="$did no-document"
grep -q '^NoNewPrivs:.1' /proc/self/status || did="$did privileges"
grep -q flipside-hook-pre-upgrade /proc/self/cgroup || did="$did elsewhere"
echo "complaint of the image" >&2
echo "did:$did"
exit 75
"#;

/// One after the other, about the same update.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let link = format!("-> {PLACE}");
    let v1 = bench.recipe(&Recipe::new("1.0").file("etc/flipside/hooks/pre-upgrade.d", &link))?;
    let v2 = bench.debian("2.0")?;
    bench.publish(&v2)?;
    let settings = bench.settings("[policy.hooks]\ntimeout = \"90s\"\nmemory = \"64MiB\"\n");
    let mut machine = Machine::new(bench, &v1, &settings)?;
    machine.start()?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    let port = bench.registry_in_guest();
    let port = port.rsplit(':').next().unwrap_or_default();
    machine.run(&format!("mkdir -p {PLACE}; echo {port} >/var/lib/vm/port"))?;

    is_in_its_sandbox(&mut machine)?;
    is_asked(&mut machine, "20-loud", LOUD, ("defer", "hook-deferred", "enough"))?;
    is_asked(&mut machine, "20-greedy", GREEDY, ("block", "hook-failed", "policy.hooks.memory"))?;
    is_asked(&mut machine, "20-leaves", LEAVES, ("allow", "", ""))?;
    is_asked(&mut machine, "20-no-format", "no program\n", ("block", "hook-failed", "203"))?;
    machine.settings(&settings.replace("90s", "8s"))?;
    is_asked(
        &mut machine,
        "20-endless",
        ENDLESS,
        ("defer", "hook-timeout", "did not answer within 8s"),
    )?;
    examples(&mut machine)?;

    let brings_a_hook = bench.recipe(&Recipe::new("2.0").hook(BROUGHT))?;
    bench.publish(&brings_a_hook)?;
    machine.settings(&settings)?;
    machine.run(&format!("rm -f {PLACE}/*"))?;
    is_brought_by_the_image(&mut machine)
}

fn is_brought_by_the_image(machine: &mut Machine) -> Result<()> {
    for place in ["/run", "/tmp", "/var", "/dev/shm"] {
        machine.run(&format!(
            "mountpoint -q {place} || mount -t tmpfs none {place}; mount -o remount,noexec {place}"
        ))?;
    }
    machine.run("systemctl start flipside-update.service")?;
    let status = machine.status()?;
    let reason = text(&status, "/blocked/message");
    ensure!(reason.contains("the image's hook") && reason.ends_with("did:"), "it says {reason}");
    ensure!(text(&status, "/blocked/code") == "hook-deferred", "{status}");
    let said = machine.run("journalctl -b --no-pager -o cat FLIPSIDE_HOOK=pre-upgrade")?;
    ensure!(said.contains("complaint of the image"), "the journal says {said:?}");
    leaves_nothing(machine)
}

/// By the timer's service, whose own sandbox is another.
fn is_in_its_sandbox(machine: &mut Machine) -> Result<()> {
    put(machine, "10-curious", CURIOUS)?;
    machine.run("systemctl start flipside-update.service")?;
    let status = machine.status()?;
    let reason = text(&status, "/blocked/message");
    ensure!(reason.ends_with("did:"), "the hook says {reason}");
    ensure!(text(&status, "/blocked/code") == "hook-deferred", "{status}");
    let journal = "journalctl -b --no-pager -o cat FLIPSIDE_HOOK=10-curious";
    let said = machine.run(journal)?;
    ensure!(said.contains("complaint of the hook"), "the journal says {said:?}");
    machine.run(&format!("rm {PLACE}/10-curious"))?;
    Ok(())
}

/// By hand, with the answer expected: decision, code, and a part of the reason.
fn is_asked(
    machine: &mut Machine,
    name: &str,
    script: &str,
    (decision, code, part): (&str, &str, &str),
) -> Result<()> {
    put(machine, name, script)?;
    let answer = machine.ask("flipside --quiet hooks run --automatic --json 2>/dev/null")?;
    let said: Value = serde_json::from_str(&answer.text)?;
    let field = |field: &str| text(&said, field).to_owned();
    ensure!(field("/decision") == decision, "{name}: {said}");
    ensure!(said.pointer("/answers/0/ran_as").is_some_and(|how| how == "unit"), "{said}");
    if decision != "allow" {
        ensure!(field("/code") == code && field("/reason").contains(part), "{name}: {said}");
    }
    machine.run(&format!("rm {PLACE}/{name}"))?;
    leaves_nothing(machine)
}

fn leaves_nothing(machine: &mut Machine) -> Result<()> {
    let units = machine.run("systemctl list-units --all --no-legend --plain 'flipside-hook-*'")?;
    ensure!(units.trim().is_empty(), "units are left: {units}");
    let sleepers = machine.ask("grep -la '[s]leep.1000' /proc/[0-9]*/cmdline 2>/dev/null")?;
    ensure!(sleepers.text.trim().is_empty(), "processes are left: {}", sleepers.text);
    Ok(())
}

fn put(machine: &mut Machine, name: &str, script: &str) -> Result<()> {
    machine.run(&format!(
        "cat >{PLACE}/{name} <<'END_OF_HOOK'\n{script}END_OF_HOOK\nchmod 755 {PLACE}/{name}"
    ))?;
    Ok(())
}

/// The examples that ask services, with the real ones: enabled by links.
fn examples(machine: &mut Machine) -> Result<()> {
    let says = |machine: &mut Machine, part: &str| -> Result<()> {
        let answer = machine.ask("flipside --quiet hooks run --json 2>/dev/null")?;
        let said: Value = serde_json::from_str(&answer.text)?;
        ensure!(said.to_string().contains(part), "{part:?} is not in {said}");
        Ok(())
    };
    let enable = |machine: &mut Machine, name: &str| {
        machine.run(&format!("ln -sf /usr/share/flipside/hooks/{name} {PLACE}/30-{name}"))
    };
    enable(machine, "nobody-logged-in")?;
    says(machine, ALLOWS)?;
    // At a terminal: logind takes who has none for a background session, which does not count.
    machine.run(
        "systemd-run --quiet --unit=ada -p PAMName=login -p User=person \
         -p TTYPath=/dev/tty8 -p StandardInput=tty sleep 3000",
    )?;
    machine.run("for i in $(seq 50); do loginctl list-sessions --no-legend | grep -q person && break; sleep 0.2; done")?;
    says(machine, "person is logged in")?;
    machine.run(&format!("systemctl stop ada.service; rm {PLACE}/30-nobody-logged-in"))?;

    for name in ["unit-inactive", "battery", "metered"] {
        enable(machine, name)?;
    }
    says(machine, "it is not known whether the network connection is metered")?;
    says(machine, ALLOWS)
}
