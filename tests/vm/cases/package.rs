// SPDX-License-Identifier: MIT OR Apache-2.0

//! The Debian package, on a system that runs: installed, removed and purged.

use anyhow::{Result, ensure};

use crate::lab::Bench;
use crate::machine::Machine;

/// The image is read-only; dpkg writes to what lies over it until the next boot.
const WRITABLE: &str = "for d in usr etc; do mkdir -p /run/over/$d /run/work/$d; \
    mount -t overlay overlay -o lowerdir=/$d,upperdir=/run/over/$d,workdir=/run/work/$d /$d; done; \
    systemctl daemon-reload";
/// Of the package, not of the test.
const LEFT: &str = "find /usr /etc /run /var/lib /var/cache -xdev -iname '*flipside*' \
    ! -path '/var/lib/vm/*' ! -path '/etc/flipside*' ! -path '/run/over/*' ! -path '/run/work/*' ! -path '/run/udev/*'; \
    systemctl list-units --all --plain --no-legend 'flipside*' | grep -v not-found; \
    busctl list --no-legend | grep -i flipside; true";

pub fn run(bench: &Bench<'_>) -> Result<()> {
    let v1 = bench.debian("1.0")?;
    // Nothing is tracked.
    let mut machine = Machine::new(bench, &v1, "")?;
    machine.start()?;
    machine.settle()?;
    machine.run(WRITABLE)?;
    let packages = "flipside-initramfs-tools flipside";
    machine.run(&format!("dpkg --purge {packages}"))?;
    nothing_is_left(&mut machine, "the purge of what the image had")?;

    let esp = "cd /efi && find . -type f -exec sha256sum {} + | sort";
    let before = machine.run(esp)?;
    machine.run("dpkg --install /var/lib/vm/packages/*.deb")?;
    let timer = machine.run("systemctl is-enabled flipside-update.timer")?;
    ensure!(timer.trim() == "enabled", "the timer is {timer}");
    machine
        .run("systemctl start flipside-update.service && flipside status && flipside --version")?;
    machine.run("flipside promote")?;
    ensure!(machine.run(esp)? == before, "an installation that follows nothing changed the ESP");

    machine.run(&format!("dpkg --remove {packages}"))?;
    let running = machine.run(
        "systemctl list-units --plain --no-legend --state=active 'flipside*'; pgrep -x flipside; true",
    )?;
    ensure!(running.trim().is_empty(), "after the removal there runs {running}");
    machine.run(&format!("dpkg --purge {packages}"))?;
    nothing_is_left(&mut machine, "the purge")
}

fn nothing_is_left(machine: &mut Machine, after: &str) -> Result<()> {
    let left = machine.run(LEFT)?;
    ensure!(left.trim().is_empty(), "after {after} there is still:\n{left}");
    Ok(())
}
