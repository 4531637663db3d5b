// SPDX-License-Identifier: MIT OR Apache-2.0

//! Updates that do not work out: by itself the machine comes back to the old system, which says
//! so, and does not try that image again.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::expect::{self, text};
use crate::debian::Recipe;
use crate::lab::Bench;
use crate::machine::Machine;
use crate::os_image::OsImage;

/// One trial is enough, and short.
const IMPATIENT: &str = "[trial]\nattempts = 1\ndeadline = \"45s\"\n";

/// The kernel's section holds no kernel: systemd's stub gives up, and the firmware goes on.
pub fn broken_kernel(bench: &Bench<'_>) -> Result<()> {
    let bad = Recipe::new("2.0").kernel("This is no kernel.\n");
    comes_back(bench, "uefi", bad, "trial")
}

/// A unit that `multi-user.target` waits for never gets done.
pub fn broken_user_space(bench: &Bench<'_>) -> Result<()> {
    comes_back(bench, "uefi", never_up(), "deadline")
}

/// The same where systemd-boot counts the tries.
pub fn broken_user_space_by_loader(bench: &Bench<'_>) -> Result<()> {
    comes_back(bench, "systemd-boot", never_up(), "deadline")
}

fn never_up() -> Recipe {
    Recipe::new("2.0").unit(
        "never.service",
        "[Unit]\nBefore=multi-user.target\n\
         [Service]\nType=oneshot\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n",
        "multi-user.target",
    )
}

/// A file system of its fstab is not there, and systemd waits for a person.
pub fn emergency(bench: &Bench<'_>) -> Result<()> {
    let fstab = include_str!("../debian/files/etc/fstab");
    let missing = "PARTLABEL=missing /srv ext4 defaults,x-systemd.device-timeout=5s 0 2\n";
    let bad = Recipe::new("2.0").file("etc/fstab", &format!("{fstab}{missing}"));
    comes_back(bench, "uefi", bad, "deadline")
}

/// Its kernel panics.
pub fn panic(bench: &Bench<'_>) -> Result<()> {
    let unit = "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\n\
                [Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo c >/proc/sysrq-trigger'\n";
    comes_back(
        bench,
        "uefi",
        Recipe::new("2.0").unit("panic.service", unit, "sysinit.target"),
        "trial",
    )
}

/// Something keeps its only processor for itself, and systemd no longer feeds the watchdog.
pub fn hang(bench: &Bench<'_>) -> Result<()> {
    let unit = "[Service]\nType=oneshot\n\
                ExecStartPre=/bin/sh -c 'echo -1 >/proc/sys/kernel/sched_rt_runtime_us'\n\
                ExecStart=/usr/bin/chrt -f 99 /bin/sh -c 'while :; do :; done'\n";
    let bad = Recipe::new("2.0")
        .file("etc/systemd/system.conf.d/watchdog.conf", "[Manager]\nRuntimeWatchdogSec=20s\n")
        .unit("hang.service", unit, "multi-user.target");
    comes_back(bench, "uefi", bad, "trial")
}

/// Takes 1.0 to `bad`, which has the version 2.0, and expects 1.0 again, by itself; its reason
/// for passing 2.0 over has to have the word `because` in it.
fn comes_back(bench: &Bench<'_>, backend: &str, bad: Recipe, because: &str) -> Result<()> {
    let v1 = bench.debian("1.0")?;
    let v2 = bench.recipe(&bad)?;
    let boot = format!("[boot]\nbackend = \"{backend}\"\n");
    let mut machine = Machine::new(bench, &v1, &bench.settings(&boot))?;
    bench.publish(&v1)?;
    machine.start()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    machine.settings(&bench.settings(&format!("{boot}{IMPATIENT}")))?;

    bench.publish(&v2)?;
    expect::updates(&mut machine, "b", "2.0")?;
    machine.send("systemctl reboot")?;
    // The trial may come as far as the test's shell, or not.
    wait_for_old(&mut machine)?;
    machine.settle()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    is_passed_over(&mut machine, &v2, because)
}

fn wait_for_old(machine: &mut Machine) -> Result<()> {
    for _ in 0..2 {
        machine.wait_boot()?;
        if machine.ask("grep -c VERSION_ID=1.0 /etc/os-release")?.status == 0 {
            return Ok(());
        }
    }
    anyhow::bail!("the old system does not come back")
}

/// Expects that `image` is known to have failed: in the status, in the journal, in the login
/// message. And that a further run of the timer leaves it alone.
fn is_passed_over(machine: &mut Machine, image: &Arc<OsImage>, because: &str) -> Result<()> {
    machine.run("systemctl start flipside-update.service")?;
    let status = machine.status()?;
    ensure!(
        text(&status, "/failed/0/digest") == image.digest,
        "the status says nothing of the failure: {}",
        status.pointer("/failed").unwrap_or(&status)
    );
    let reason = text(&status, "/failed/0/reason");
    ensure!(reason.contains(because), "the reason says nothing of a {because}: {reason}");
    ensure!(
        status.pointer("/boot_next").is_some_and(serde_json::Value::is_null),
        "it is armed again"
    );
    let short = image.digest.trim_start_matches("sha256:").get(..8).unwrap_or_default();
    let message = machine.run("cat /run/motd.d/flipside")?;
    ensure!(message.contains("2.0") || message.contains(short), "login message: {message}");
    let journal = machine
        .run(&format!("journalctl -b --no-pager -o cat FLIPSIDE_DIGEST={} | cat", image.digest))?;
    ensure!(!journal.trim().is_empty(), "the journal has nothing of {}", image.digest);
    Ok(())
}
