// SPDX-License-Identifier: MIT OR Apache-2.0

//! Machines without slots: every command is a harmless no-op there, and stays an error where
//! slots are in sight.

use std::fs;

use crate::support::program_host::{ProgramHost, refusal};

/// What is left of a host after `change`, as `update` and `status` see it.
fn changed(change: impl FnOnce(&ProgramHost)) -> ProgramHost {
    let host = ProgramHost::new();
    change(&host);
    host
}

fn remove_esp(host: &ProgramHost) {
    fs::remove_dir_all(host.file("efi")).unwrap();
}

fn remove_disk(host: &ProgramHost) {
    fs::remove_file(host.file("disk.img")).unwrap();
}

fn rename_slots(host: &ProgramHost) {
    let mut command = std::process::Command::new("/usr/sbin/sgdisk");
    let output = command.args(["-c2:root", "-c3:swap"]).arg(host.file("disk.img")).output();
    assert!(output.unwrap().status.success());
}

#[test]
fn machines_without_slots_are_left_alone() {
    let machines = [
        changed(|host| {
            remove_esp(host);
            remove_disk(host);
        }),
        changed(remove_disk),
        changed(rename_slots),
        changed(|host| {
            rename_slots(host);
            remove_esp(host);
        }),
        changed(|host| {
            rename_slots(host);
            fs::copy(host.file("disk.img"), host.file("usb.img")).unwrap();
        }),
        changed(|host| fs::write(host.file("disk.img"), vec![0; 1 << 20]).unwrap()),
    ];
    for machine in &machines {
        machine.has_nothing_to_do();
        for command in [
            "check",
            "status",
            "promote",
            "verify",
            "update --automatic",
            "health",
            "trial-deadline",
        ] {
            let output = machine.program(command.split(' '));
            assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
        }
    }
}

#[test]
fn where_slots_are_in_sight_a_missing_esp_is_an_error() {
    changed(remove_esp).refuses(1, "esp-not-mounted");
}

#[test]
fn where_the_settings_say_where_things_are_their_absence_is_an_error() {
    for (setting, code) in [("esp = \"/efi\"", "esp-not-mounted"), ("disk = \"/x.img\"", "host-io")]
    {
        let host = changed(|host| {
            rename_slots(host);
            host.set(&format!("[host]\n{setting}\n"));
            if setting.starts_with("esp") {
                remove_esp(host);
            }
        });
        host.refuses(1, code);
    }
}

#[test]
fn a_host_that_follows_nothing_is_left_alone() {
    let host = ProgramHost(crate::support::host::TestHost::unproven(
        &crate::support::images::ImageBuilder::new("1"),
    ));
    host.write("etc/flipside/flipside.toml", "");
    host.has_nothing_to_do();
    let before = host.snapshot();
    for command in ["promote", "health", "trial-deadline", "check", "update --automatic"] {
        let output = host.program(command.split(' '));
        assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
    }
    host.assert_unchanged_since(&before, "nothing tracked");
}

#[test]
fn commands_that_a_person_gives_say_why_they_do_nothing() {
    let host = changed(remove_disk);
    refusal(&host.program(["rollback"]), 1, "not-a-host");
    let digest = format!("sha256:{}", "0".repeat(64));
    refusal(&host.program(["release", &digest]), 1, "not-a-host");
    refusal(&host.program(["release", "--all"]), 1, "not-a-host");
}
