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

/// The journal's entry about a fall-back, and how `journalctl -x` explains it.
const FELL_BACK: &str = "5c0bc7fda33641738c217327ae6c3673";
const FELL_BACK_SUBJECT: &str = "Subject: A new OS did not come up, and the old one runs again";

/// An update that does not work out, and what is to become of it.
struct Failure {
    backend: &'static str,
    /// Its version is 2.0.
    bad: Recipe,
    /// `trial.deadline`: short where it is what brings the old system back.
    deadline: &'static str,
    /// A word of the reason for which it is passed over.
    because: &'static str,
    /// What the journal that the trial left has in it; nothing where it had none.
    left: Option<&'static str>,
}

impl Failure {
    fn of(bad: Recipe, because: &'static str) -> Self {
        Self { backend: "uefi", bad, deadline: "10min", because, left: None }
    }

    /// One that does nothing until its time is over.
    fn late(bad: Recipe, left: &'static str) -> Self {
        Self { deadline: "45s", left: Some(left), ..Self::of(bad, "deadline") }
    }
}

/// The kernel's section holds no kernel: systemd's stub gives up, and the firmware goes on.
pub fn broken_kernel(bench: &Bench<'_>) -> Result<()> {
    let bad = Recipe::new("2.0").kernel("This is no kernel.\n");
    comes_back(bench, Failure::of(bad, "trial"))
}

/// A unit that `multi-user.target` waits for never gets done.
pub fn broken_user_space(bench: &Bench<'_>) -> Result<()> {
    comes_back(bench, Failure::late(never_up(), "never.service"))
}

/// The same where systemd-boot counts the tries.
pub fn broken_user_space_by_loader(bench: &Bench<'_>) -> Result<()> {
    let failure = Failure::late(never_up(), "never.service");
    comes_back(bench, Failure { backend: "systemd-boot", ..failure })
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
    comes_back(bench, Failure::late(bad, "/srv"))
}

/// It gets no further than to the rescue shell.
pub fn rescue(bench: &Bench<'_>) -> Result<()> {
    let target = "-> /usr/lib/systemd/system/rescue.target";
    let bad = Recipe::new("2.0").file("etc/systemd/system/default.target", target);
    comes_back(bench, Failure::late(bad, "rescue"))
}

/// A required health check fails: nobody waits for the deadline.
pub fn health_check(bench: &Bench<'_>) -> Result<()> {
    let check = "#!/bin/sh\necho the link is down\nexit 1\n";
    let bad = Recipe::new("2.0").file("etc/flipside/health.d/required/10-link", check);
    let failure = Failure::of(bad, "the link is down");
    comes_back(bench, Failure { left: Some("the link is down"), ..failure })
}

/// Its initrd finds no root file system, and has nobody to ask.
pub fn no_root(bench: &Bench<'_>) -> Result<()> {
    let bad = Recipe::new("2.0").root("/dev/flipside/nothing");
    comes_back(bench, Failure::of(bad, "trial"))
}

/// Its kernel panics.
pub fn panic(bench: &Bench<'_>) -> Result<()> {
    let unit = "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\n\
                [Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo c >/proc/sysrq-trigger'\n";
    let bad = Recipe::new("2.0").unit("panic.service", unit, "sysinit.target");
    comes_back(bench, Failure::of(bad, "trial"))
}

/// Something keeps its only processor for itself, and systemd no longer feeds the watchdog.
pub fn hang(bench: &Bench<'_>) -> Result<()> {
    let unit = "[Service]\nType=oneshot\n\
                ExecStartPre=/bin/sh -c 'echo -1 >/proc/sys/kernel/sched_rt_runtime_us'\n\
                ExecStart=/usr/bin/chrt -f 99 /bin/sh -c 'while :; do :; done'\n";
    let bad = Recipe::new("2.0")
        .file("etc/systemd/system.conf.d/watchdog.conf", "[Manager]\nRuntimeWatchdogSec=20s\n")
        .unit("hang.service", unit, "multi-user.target");
    comes_back(bench, Failure::of(bad, "trial"))
}

/// Takes 1.0 to the bad 2.0, and expects 1.0 again, by itself.
fn comes_back(bench: &Bench<'_>, failure: Failure) -> Result<()> {
    let v1 = bench.recipe(&Recipe::new("1.0").root("flipside:system"))?;
    let v2 = bench.recipe(&failure.bad)?;
    let settings = format!(
        "[boot]\nbackend = \"{}\"\n[trial]\nattempts = 1\ndeadline = \"{}\"\n",
        failure.backend, failure.deadline
    );
    let mut machine = Machine::new(bench, &v1, &bench.settings(&settings))?;
    bench.publish(&v1)?;
    machine.start()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;

    bench.publish(&v2)?;
    expect::updates(&mut machine, "b", "2.0")?;
    machine.send("systemctl reboot")?;
    // The trial may come as far as the test's shell, or not.
    wait_for_old(&mut machine, "1.0")?;
    machine.record_trial_outcome()?;
    expect::promoted(&mut machine, "a", "1.0", 300)?;
    is_told(&mut machine, &v2, &failure)?;
    is_passed_over(&mut machine, &v2)
}

/// Expects that who comes to this machine learns of it without asking for an update: by the status,
/// the journal and what it explains, the login message, and what the trial left.
fn is_told(machine: &mut Machine, image: &Arc<OsImage>, failure: &Failure) -> Result<()> {
    let status = machine.status()?;
    ensure!(
        text(&status, "/failed/0/digest") == image.digest,
        "the status says nothing of the failure: {}",
        status.pointer("/failed").unwrap_or(&status)
    );
    let (reason, because) = (text(&status, "/failed/0/reason"), failure.because);
    ensure!(reason.contains(because), "the reason says nothing of {because:?}: {reason}");
    let journal = machine.run(&format!(
        "journalctl -b -x --no-pager MESSAGE_ID={FELL_BACK} FLIPSIDE_SLOT=b FLIPSIDE_DIGEST={}",
        image.digest
    ))?;
    ensure!(
        journal.contains("2.0 in slot B was started and never promoted")
            && journal.contains(FELL_BACK_SUBJECT),
        "the journal says of the fall-back: {journal}"
    );
    let message = machine.run("cat /run/motd.d/flipside")?;
    ensure!(message.contains("2.0"), "login message: {message}");
    if let Some(left) = failure.left {
        let log = machine.run("flipside history --log 2.0")?;
        ensure!(log.contains(left), "of its trial is kept, without {left:?}: {log}");
    }
    Ok(())
}

/// Waits for a boot of `version`, the first or the second one.
pub(super) fn wait_for_old(machine: &mut Machine, version: &str) -> Result<()> {
    for _ in 0..2 {
        machine.wait_boot()?;
        if machine.ask(&format!("grep -c VERSION_ID={version} /etc/os-release"))?.status == 0 {
            return Ok(());
        }
    }
    anyhow::bail!("the old system does not come back")
}

/// Expects that a further run of the timer leaves `image` alone.
fn is_passed_over(machine: &mut Machine, image: &Arc<OsImage>) -> Result<()> {
    machine.run("systemctl start flipside-update.service")?;
    let status = machine.status()?;
    ensure!(text(&status, "/blocked/code") == "digest-failed", "it is not refused: {status}");
    ensure!(
        status.pointer("/boot_next").is_some_and(serde_json::Value::is_null),
        "it is armed again"
    );
    let journal = machine.run(&format!(
        "journalctl -b --no-pager -o cat FLIPSIDE_CODE=digest-failed FLIPSIDE_DIGEST={}",
        image.digest
    ))?;
    ensure!(!journal.trim().is_empty(), "the journal has nothing of {}", image.digest);
    Ok(())
}
