// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cases, in the order in which they are started: long ones first.

mod bus;
mod delta;
mod dracut;
mod expect;
mod failing;
mod hook_container;
mod hooks;
mod kexec;
mod killed;
mod machine_id;
mod package;
mod replayed;
mod returns;
mod roots;
mod secure_boot;
mod update;

use anyhow::Result;

use crate::lab::Bench;

/// One case.
pub struct Case {
    pub name: &'static str,
    /// What it shows, in a line.
    pub shows: &'static str,
    pub run: fn(&Bench<'_>) -> Result<()>,
}

/// All of them.
pub const ALL: &[Case] = &[
    Case {
        name: "update",
        shows: "the timer's service takes 1.0 to 2.0 into B and, after a trial, to 3.0 into A",
        run: update::uefi,
    },
    Case {
        name: "broken-user-space",
        shows: "a system that never gets to boot-complete: the deadline brings the old one back",
        run: failing::broken_user_space,
    },
    Case {
        name: "nvram-wiped",
        shows: "without its variables the machine boots, is repaired, and takes the next update",
        run: returns::nvram_wiped,
    },
    Case {
        name: "by-steps",
        shows: "an image that asks for another one first: both are reached without a further word",
        run: update::by_steps,
    },
    Case {
        name: "delta",
        shows: "1.0 to 2.0 and to 3.0 by deltas from the slot that runs, and not where it was written to",
        run: delta::run,
    },
    Case {
        name: "power-cuts-killed",
        shows: "QEMU killed at 20 moments of update, reboot and promote",
        run: killed::uefi,
    },
    Case {
        name: "power-cuts-few",
        shows: "the same at 5 moments, for the smaller run",
        run: killed::few,
    },
    Case {
        name: "power-cuts-debian",
        shows: "QEMU killed in the timer's run, and in the boot that follows, on a whole system",
        run: killed::debian,
    },
    Case {
        name: "systemd-boot-broken",
        shows: "systemd-boot counts the tries of a system that does not come up",
        run: failing::broken_user_space_by_loader,
    },
    Case {
        name: "systemd-boot-update",
        shows: "an update with systemd-boot, and NVRAM that is never written",
        run: update::by_loader,
    },
    Case {
        name: "systemd-boot-killed",
        shows: "QEMU killed at 6 moments, with systemd-boot",
        run: killed::systemd_boot,
    },
    Case {
        name: "systemd-boot-replayed",
        shows: "recorded writes and flushes replayed, with systemd-boot",
        run: replayed::systemd_boot,
    },
    Case {
        name: "power-cuts-replayed",
        shows: "recorded writes and flushes, replayed to more than 1,000 disks",
        run: replayed::uefi,
    },
    Case {
        name: "a-flush-removed",
        shows: "an update without one of its flushes does not pass that test",
        run: replayed::without_a_flush,
    },
    Case {
        name: "secure-boot",
        shows: "what the firmware would not start is refused; a signed image boots, also from NVRAM that was wiped",
        run: secure_boot::run,
    },
    Case {
        name: "hang",
        shows: "a system that stands still: the watchdog brings the old one back",
        run: failing::hang,
    },
    Case {
        name: "panic",
        shows: "a kernel that panics: panic= brings the old system back",
        run: failing::panic,
    },
    Case {
        name: "emergency",
        shows: "a file system that is missing: the deadline brings the old system back",
        run: failing::emergency,
    },
    Case {
        name: "rescue",
        shows: "a system that ends in the rescue shell: the deadline brings the old one back",
        run: failing::rescue,
    },
    Case {
        name: "health-check",
        shows: "a required health check fails: back at once, without waiting for the deadline",
        run: failing::health_check,
    },
    Case {
        name: "no-root",
        shows: "an initrd that finds no root reboots in place of asking somebody",
        run: failing::no_root,
    },
    Case {
        name: "broken-kernel",
        shows: "a UKI that does not start: the firmware comes back by itself",
        run: failing::broken_kernel,
    },
    Case {
        name: "dracut",
        shows: "the initrd part for dracut, with systemd in the initrd and without",
        run: dracut::run,
    },
    Case {
        name: "kexec",
        shows: "1.0 to 2.0 by kexec with the right root, then a trial by the firmware",
        run: kexec::run,
    },
    Case {
        name: "d-bus",
        shows: "a person reads and is refused an update; an administrator updates, live",
        run: bus::run,
    },
    Case {
        name: "hooks",
        shows: "hooks as units: their sandbox, memory, time, and what they leave behind",
        run: hooks::run,
    },
    Case {
        name: "hook-container",
        shows: "a hook that is a container image: podman's sandbox, limits, and what is left",
        run: hook_container::run,
    },
    Case {
        name: "package",
        shows: "install, remove and purge leave nothing behind and nothing running",
        run: package::run,
    },
    Case {
        name: "roots",
        shows: "the running slot behind a plain, overlaid, volatile, looped and verified root",
        run: roots::run,
    },
    Case {
        name: "machine-id",
        shows: "images without a machine ID: one ID over both slots and a trial that fails",
        run: machine_id::run,
    },
    Case {
        name: "no-health",
        shows: "without checks and their unit: promoted after multi-user.target, not before",
        run: returns::no_health,
    },
];

/// The smaller run, for every change.
pub const SMALL: &[&str] = &["update", "broken-user-space", "nvram-wiped", "power-cuts-few"];
