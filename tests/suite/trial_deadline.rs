// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside trial-deadline`: which boots are late trials, by firmware variables alone (P8).

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use flipside::report::journal::Kind;
use flipside::run;
use flipside::run::deadline::{Deadline, Ended};
use flipside_core::Lock;
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::host::durable::Step;
use flipside_core::progress::Silent;
use nix::errno::Errno;

use crate::support::journald::Journald;
use crate::support::program_host::ProgramHost;
use crate::support::steps::Steps;

const NONE: &str = "nothing to do: this boot is no trial\n";
const LATE: &str = "slot B was not promoted in time: back to slot A\n";

fn deadline(host: &ProgramHost) -> String {
    let output = host.program(["trial-deadline"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn on_trial() -> ProgramHost {
    let host = ProgramHost::new();
    host.updates();
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    host
}

#[test]
fn p7_a_trial_that_is_late_fails_at_once() {
    let host = on_trial();
    assert_eq!(deadline(&host), LATE);
    let failed = fs::read_to_string(host.file("efi/EFI/flipside/failed.json")).unwrap();
    assert!(failed.contains("it was not promoted before its deadline"), "{failed}");
    assert_eq!(host.0.boot(), "A 1 fell back");
    assert_eq!(host.0.refusal(), "digest-failed");
}

/// SIGTERM, while another run holds the lock.
#[test]
fn p7_what_ends_the_wait_does_not_stop_the_record() {
    let host = on_trial();
    let root = Root::new(host.0.path());
    let stop = Cancel::new();
    stop.request();
    let lock = Lock::take(&root).unwrap();
    let deadline = Deadline { root, progress: Arc::new(Silent), stop };
    let watching = std::thread::spawn(move || deadline.watch());
    // What comes for the lock only after that is no worse off.
    std::thread::sleep(Duration::from_millis(500));
    drop(lock);
    assert!(matches!(watching.join().unwrap(), Ok(Ended::Late(_))));
    let failed = fs::read_to_string(host.file("efi/EFI/flipside/failed.json")).unwrap();
    assert!(failed.contains("it was not promoted before its deadline"), "{failed}");
}

#[test]
fn p8_neither_esp_nor_disk_nor_settings_are_needed() {
    for broken in ["efi", "disk.img", "etc", "proc", "var"] {
        let host = on_trial();
        let away = host.file("away");
        fs::rename(host.file(broken), &away).unwrap();
        assert_eq!(deadline(&host), LATE, "without {broken}");
        // What was recorded there meanwhile is lost with it.
        let _ = fs::remove_dir_all(host.file(broken));
        fs::rename(away, host.file(broken)).unwrap();
        // Where it could not be recorded, it counts as a trial that was started.
        assert_eq!(host.0.boot(), "A 1 fell back", "without {broken}");
    }
    let host = on_trial();
    host.write("etc/flipside/flipside.toml", "[nonsense");
    assert_eq!(deadline(&host), LATE);
}

#[test]
fn what_is_promoted_has_no_deadline() {
    let host = ProgramHost::new();
    assert_eq!(deadline(&host), NONE);
    host.updates();
    // Armed, but this boot is the old slot's.
    assert_eq!(deadline(&host), NONE);
    assert_eq!(host.0.boot(), "B 2 promoted");
    assert_eq!(deadline(&host), NONE);
    // After an update into the other slot as well.
    host.0.publish(&crate::support::images::ImageBuilder::new("3"));
    host.0.arm();
    assert_eq!(deadline(&host), NONE);
}

fn variable(host: &ProgramHost, name: &str) -> std::path::PathBuf {
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    host.file(format!("sys/firmware/efi/efivars/{name}-{global}"))
}

/// On trial, by firmware that moves what it boots to the front.
fn turned() -> ProgramHost {
    let host = on_trial();
    let booted = fs::read(variable(&host, "BootCurrent")).unwrap()[4..].to_vec();
    let mut order = fs::read(variable(&host, "BootOrder")).unwrap();
    let others: Vec<u8> =
        order.split_off(4).chunks(2).filter(|n| **n != booted).flatten().copied().collect();
    fs::write(variable(&host, "BootOrder"), [order, booted, others].concat()).unwrap();
    host
}

#[test]
fn a_trial_that_comes_first_is_told_by_the_esp() {
    let host = turned();
    assert_eq!(deadline(&host), LATE);
    assert_eq!(host.0.boot(), "A 1 fell back");
    assert_eq!(deadline(&host), NONE);
    let host = turned();
    host.0.promote();
    assert_eq!(deadline(&host), NONE);
    // Without it nothing tells.
    let host = turned();
    fs::rename(host.file("efi"), host.file("away")).unwrap();
    assert_eq!(deadline(&host), NONE);
}

/// Where the other slot comes first for another reason than a trial, boot success is enough.
#[test]
fn a_boot_that_got_to_its_success_has_no_deadline() {
    let host = on_trial();
    // As systemd's kexec leaves it: the loader's variables name the slot before.
    let journald = Journald::of(&host.0.path());
    let path = host.file("proc/cmdline");
    let line = fs::read_to_string(&path).unwrap();
    for (slot, before) in [("a", NONE), ("b", LATE)] {
        fs::write(&path, format!("{} flipside.slot={slot}\n", line.trim())).unwrap();
        assert_eq!(deadline(&host), before, "{slot}");
    }
    let failed = host.file("efi/EFI/flipside/failed.json");
    assert!(!failed.exists(), "a kexec proves nothing, and fails nothing");
    let told = journald.entries();
    let started = told.iter().find(|e| e["MESSAGE_ID"] == Kind::TrialStarted.message_id());
    assert_eq!(started, None, "a kexec begins no trial");
    assert_eq!(host.0.promote(), flipside::run::Promotion::ByKexec);
    assert_eq!(deadline(&host), NONE);
    // The mark is this boot's.
    assert!(host.file("run/flipside/boot-success").exists());
    assert_eq!(host.0.boot_and_fail(), "A 1 fell back");
    assert!(!host.file("run/flipside/boot-success").exists());
}

/// A record of a trial that boots first would say to its next boot that there is no way back.
#[test]
fn the_way_back_comes_before_the_record_and_needs_none() {
    let is_record = |step: &Step<'_>| match step {
        Step::Create(path) | Step::Write(path, ..) => path.to_string_lossy().contains("failed."),
        _ => false,
    };
    for takes_records in [true, false] {
        let host = turned();
        let steps = Steps::with(move |step| {
            (is_record(step) && !takes_records).then(|| Errno::EROFS.into())
        });
        let failed = run::fail_trial(&host.0.run_with(steps.durable(), |_| {}), "late");
        assert_eq!(failed.is_ok(), takes_records, "{failed:?}");
        let steps = steps.take();
        let place = |start: &str| steps.iter().position(|step| step.starts_with(start)).unwrap();
        assert!(place("set BootOrder") < place("create failed."), "{steps:?}");
        assert_eq!(host.0.boot(), "A 1 fell back");
    }
}

fn stays(slot: &str) -> String {
    format!("slot {slot} stays: a reboot leads back to it\n")
}

/// Firmware that does not boot the other slot, or goes on following `BootNext`.
#[test]
fn a_failed_trial_that_boots_again_is_not_ended_for_ever() {
    let host = on_trial();
    let next = [&[7, 0, 0, 0], &fs::read(variable(&host, "BootCurrent")).unwrap()[4..]].concat();
    assert_eq!(deadline(&host), LATE);
    fs::write(variable(&host, "BootNext"), next).unwrap();
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    assert_eq!(deadline(&host), stays("B"));
    assert_eq!(deadline(&host), NONE);
    assert_eq!(host.0.boot(), "A 1 fell back");
}

/// The machine would be back each time, and down every ten minutes.
#[test]
fn a_slot_that_a_reboot_leads_back_to_stays() {
    // Proven, and not healthy enough for a promote; the other one, promoted last, does not start.
    let host = ProgramHost::new();
    host.updates();
    assert_eq!(host.0.boot(), "B 2 promoted");
    let boot_file = host.file("efi/EFI/flipside/boot-b.efi");
    let whole = fs::read(&boot_file).unwrap();
    fs::write(&boot_file, vec![0; whole.len()]).unwrap();
    assert!(host.0.boot_and_fail().starts_with("A 1"));
    fs::write(&boot_file, whole).unwrap();
    let before = host.snapshot();
    assert_eq!(deadline(&host), stays("A"));
    host.write("etc/flipside/flipside.toml", "[nonsense");
    assert_eq!(deadline(&host), stays("A"));
    host.assert_unchanged_since(&before, "no trial");

    // On trial, but the slot that comes first cannot boot.
    let host = on_trial();
    let boot_file = host.file("efi/EFI/flipside/boot-a.efi");
    fs::write(&boot_file, vec![0; 4096]).unwrap();
    assert_eq!(deadline(&host), stays("B"));
    fs::remove_file(boot_file).unwrap();
    assert_eq!(deadline(&host), stays("B"));
}

#[test]
fn where_the_variables_do_not_tell_nothing_is_rebooted() {
    let variables = "sys/firmware/efi/efivars";
    let remove = |host: &ProgramHost, names: &[&str]| {
        for entry in fs::read_dir(host.file(variables)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if names.iter().any(|n| name.starts_with(n)) {
                fs::remove_file(path).unwrap();
            }
        }
    };
    for (names, expected) in [
        (&["BootOrder"][..], NONE),
        (&["BootCurrent", "Loader", "Stub"], NONE),
        // Any of those that name the slot is enough.
        (&["BootCurrent"], LATE),
        (&["Loader", "Stub"], LATE),
    ] {
        let host = on_trial();
        remove(&host, names);
        assert_eq!(deadline(&host), expected, "without {names:?}");
    }
    let host = on_trial();
    fs::remove_dir_all(host.file("sys")).unwrap();
    assert_eq!(deadline(&host), NONE);
}

#[test]
fn by_systemd_boot_a_counted_entry_is_a_trial() {
    use crate::support::host::TestHost;
    use crate::support::images::ImageBuilder;
    let backend = flipside_sim::Backend::SystemdBoot;
    let host = ProgramHost(TestHost::running_by(backend, &ImageBuilder::new("1")));
    assert_eq!(deadline(&host), NONE);
    host.0.publish(&ImageBuilder::new("2"));
    host.0.arm();
    assert_eq!(deadline(&host), NONE);
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    // The settings are not needed to tell.
    let settings = host.file("etc/flipside");
    fs::rename(&settings, host.file("away")).unwrap();
    assert_eq!(deadline(&host), LATE);
    fs::rename(host.file("away"), settings).unwrap();
    assert_eq!(deadline(&host), LATE);
    assert_eq!(host.0.boot(), "A 1 fell back");
    assert_eq!(deadline(&host), NONE);
    assert_eq!(host.0.refusal(), "digest-failed");
}

#[test]
fn by_systemd_boot_the_esp_tells_where_the_firmware_gives_no_variables() {
    use crate::support::host::TestHost;
    use crate::support::images::ImageBuilder;
    let backend = flipside_sim::Backend::SystemdBoot;
    let host = ProgramHost(TestHost::running_by(backend, &ImageBuilder::new("1")));
    host.0.publish(&ImageBuilder::new("2"));
    host.0.arm();
    let power = flipside_sim::Power {
        wipe_nvram: false,
        quirks: vec![flipside_sim::Quirk::NoRuntimeVariables],
    };
    assert_eq!(host.0.boot_with(true, power.clone()), "B 2 trial");
    let esp = host.file("efi");
    fs::rename(&esp, host.file("away")).unwrap();
    assert_eq!(deadline(&host), NONE);
    fs::rename(host.file("away"), esp).unwrap();
    assert_eq!(deadline(&host), LATE);
    // Settings that say nothing do not say either that variables are needed.
    let settings = host.file("etc/flipside");
    let kept = host.file("away");
    fs::rename(&settings, &kept).unwrap();
    host.write("etc/flipside/flipside.toml", "[nonsense");
    fs::remove_file(host.file("efi/EFI/flipside/failed.json")).unwrap();
    assert_eq!(deadline(&host), LATE);
    fs::remove_dir_all(&settings).unwrap();
    fs::rename(kept, settings).unwrap();
    assert_eq!(host.0.boot_with(false, power), "A 1 fell back");
    assert_eq!(deadline(&host), NONE);
}
