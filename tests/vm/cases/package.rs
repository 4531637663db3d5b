// SPDX-License-Identifier: MIT OR Apache-2.0

//! The Debian package on a running system: what it brings, and that all of it goes again.

use anyhow::{Result, ensure};

use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;

/// What the package enables.
const ENABLED: &str = "flipside-update.timer flipside-update-boot.timer flipside-update.path flipside-health.service \
                       flipside-promote.service flipside-trial-deadline.timer flipside-dbus.path flipside-catalog.service";

/// What a host consists of, as far as a package may change it: files (not what other programs
/// write by and by), users, units, processes.
const INVENTORY: &str = r"
find /usr /etc /var /run \( -path /run/udev -o -path /run/blkid -o -path /run/systemd -o -path /var/log \
    -o -path /var/lib/dpkg -o -path /var/lib/systemd/timers -o -path /run/user -o -path '/run/vm-*' -o -path '/var/cache/ldconfig' \
    -o -name '*-' -path '/etc/*' \) -prune -o -printf '%p %y %U %G %m %l\n'
find /var/lib/systemd -path '*/timers/*flipside*'
find /var/lib/dpkg/info /var/lib/dpkg/triggers /run/systemd/system /run/systemd/transient
find /run/systemd/units -name '*flipside*'
cat /etc/passwd /etc/shadow /etc/group /etc/gshadow
grep -A1 '^Package: flipside' /var/lib/dpkg/status
systemctl list-unit-files --no-legend --no-pager --full
systemctl list-units --all --no-legend --no-pager --plain --full 'flipside*' | sed 's/^/unit: /'
for p in /proc/[0-9]*; do [ ! -e $p/exe ] || echo process: $(readlink $p/exe); done | grep flipside
busctl list --no-legend | grep -o 'org\.flipside[^ ]*'
true";

/// A system without flipside, whose `/usr` and `/etc` can be written to until it is switched off.
pub fn run(bench: &Bench<'_>) -> Result<()> {
    let debian = bench.lab.debian();
    let system = bench.recipe(&Recipe::new("1.0").without_flipside())?;
    let var = debian.base().join("var");
    let mut machine = Machine::with_var(bench, &system, &var, "")?;
    machine.start()?;
    machine.record_trial_outcome()?;
    machine.run(
        "for d in usr etc; do\n\
         mkdir -p /tmp/over/$d /tmp/over/$d.work\n\
         mount -t overlay -o lowerdir=/$d,upperdir=/tmp/over/$d,workdir=/tmp/over/$d.work overlay /$d\n\
         done\n\
         mkdir -p /run/motd.d && systemctl daemon-reload",
    )?;
    let before = inventory(&mut machine)?;

    machine.run("dpkg --install /var/lib/vm/packages/flipside_*.deb")?;
    is_harmless(&mut machine)?;
    is_in_use(&mut machine, bench)?;

    machine.run("dpkg --remove flipside")?;
    is_gone(&mut machine)?;
    // As if it had been there before: what a removal masked works again.
    machine.run("dpkg --install /var/lib/vm/packages/flipside_*.deb")?;
    machine.run(&format!(
        "systemctl is-enabled {ENABLED} && systemctl is-active flipside-dbus.path"
    ))?;
    machine.run("dpkg --purge flipside")?;
    is_gone(&mut machine)?;

    let after = inventory(&mut machine)?;
    let only = |these: &str, those: &str| {
        let those: std::collections::HashSet<&str> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).collect::<Vec<_>>().join("\n")
    };
    let (left, lost) = (only(&after, &before), only(&before, &after));
    // What the initrd noted there goes with the package.
    let is_lost = lost.lines().any(|line| !line.starts_with("/run/flipside"));
    ensure!(left.is_empty() && !is_lost, "left behind:\n{left}\nmissing:\n{lost}");
    Ok(())
}

fn inventory(machine: &mut Machine) -> Result<String> {
    let text = machine.run(INVENTORY)?;
    ensure!(text.lines().count() > 1000, "this is no inventory: {text}");
    Ok(text)
}

/// Nothing is followed yet: everything that is enabled runs, and the disk and the firmware's
/// variables stay as they are.
fn is_harmless(machine: &mut Machine) -> Result<()> {
    machine.run(&format!("systemctl is-enabled {ENABLED}"))?;
    machine.run("systemctl is-active flipside-update.timer flipside-dbus.path")?;
    let sum = "sync; cd /efi && find . -type f | sort | xargs -r sha256sum\n\
               sha256sum /dev/disk/by-partlabel/system-b; efibootmgr -v";
    let before = machine.run(&format!("{sum}; true"))?;
    for unit in ["update", "health", "promote", "trial-deadline", "reboot-window"] {
        machine.run(&format!("systemctl start flipside-{unit}.service"))?;
    }
    let after = machine.run(&format!("{sum}; true"))?;
    ensure!(before == after, "unasked, it changed\n{before}\nto\n{after}");
    ensure!(machine.ask("flipside update --automatic; flipside status")?.text.len() > 20, "mute");
    Ok(())
}

/// It follows something, and has written what it writes when it runs.
fn is_in_use(machine: &mut Machine, bench: &Bench<'_>) -> Result<()> {
    machine.settings(&bench.settings(""))?;
    machine.run("flipside promote && [ -s /efi/EFI/flipside/slot-a.proven ]")?;
    machine.run("[ -e /run/flipside/status.json ] && [ -d /var/lib/flipside ]")?;
    let state = machine.run(
        "busctl get-property org.flipside.Updater1 /org/flipside/Updater1 \
         org.flipside.Updater1 State",
    )?;
    ensure!(state.trim() == "s \"idle\"", "State is {state}");
    machine.run("systemctl is-active flipside-dbus.service").map(drop)
}

/// Nothing of it runs, or is about to. (A removal masks what was enabled, until the purge, as all of
/// Debian's packages do.)
fn is_gone(machine: &mut Machine) -> Result<()> {
    let left = machine.run(
        "systemctl list-units --all --no-legend --plain 'flipside*' | grep -v ' masked *inactive dead '\n\
         for p in /proc/[0-9]*; do readlink $p/exe; done | grep flipside\n\
         find /usr /run -xdev -name '*flipside*'; true",
    )?;
    ensure!(left.is_empty(), "still there: {left}");
    Ok(())
}
