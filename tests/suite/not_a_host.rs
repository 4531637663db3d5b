// SPDX-License-Identifier: MIT OR Apache-2.0

//! Machines without slots: every command is a harmless no-op there, and an error where anything
//! says that there should be slots.

use std::fs;

use flipside_core::host::efi::GLOBAL_VARIABLE;
use flipside_image::efi::device_path::PartitionNode;
use flipside_image::efi::short_form;
use uuid::Uuid;

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

fn sgdisk(host: &ProgramHost, arguments: &[&str]) {
    let mut command = std::process::Command::new("/usr/sbin/sgdisk");
    let output = command.args(arguments).arg(host.file("disk.img")).output();
    assert!(output.unwrap().status.success());
}

fn rename_slots(host: &ProgramHost) {
    sgdisk(host, &["-c2:root", "-c3:swap"]);
}

fn remove_table(host: &ProgramHost) {
    fs::write(host.file("disk.img"), vec![0; 1 << 20]).unwrap();
}

/// Removes what flipside left when it was installed: nothing says any more that it was.
fn forget(host: &ProgramHost) {
    for directory in ["efi/EFI/flipside", "efi/loader/entries", "var/lib/flipside", "run/flipside"]
    {
        let _ = fs::remove_dir_all(host.file(directory));
    }
    host.write("proc/cmdline", "quiet");
    for entry in fs::read_dir(host.file("sys/firmware/efi/efivars")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().as_encoded_bytes().starts_with(b"Boot") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// As flipside leaves it, of a partition that is gone.
fn boot_entry(host: &ProgramHost) {
    let partition = PartitionNode { number: 1, start_lba: 40, size_lba: 9, uuid: Uuid::max() };
    let entry = short_form::encode("flipside B", &partition, "\\EFI\\flipside\\boot-b.efi");
    let variable = [&7_u32.to_le_bytes()[..], &entry].concat();
    let name = format!("sys/firmware/efi/efivars/Boot0001-{GLOBAL_VARIABLE}");
    fs::write(host.file(&name), variable).unwrap();
}

#[test]
fn machines_without_slots_are_left_alone() {
    let machines = [
        changed(|host| {
            forget(host);
            remove_esp(host);
            remove_disk(host);
        }),
        changed(|host| {
            forget(host);
            remove_disk(host);
        }),
        changed(|host| {
            forget(host);
            rename_slots(host);
        }),
        changed(|host| {
            forget(host);
            rename_slots(host);
            remove_esp(host);
        }),
        changed(|host| {
            forget(host);
            rename_slots(host);
            fs::copy(host.file("disk.img"), host.file("usb.img")).unwrap();
        }),
        changed(|host| {
            forget(host);
            remove_table(host);
        }),
        // A hold can be set anywhere, and what is mounted in the ESP's place may be empty.
        changed(|host| {
            forget(host);
            rename_slots(host);
            host.write("var/lib/flipside/settings.d/10-hold.toml", "");
            fs::create_dir_all(host.file("var/lib/flipside/configs")).unwrap();
            fs::create_dir_all(host.file("efi/EFI/flipside")).unwrap();
        }),
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
        let verified = machine.program(["verify"]);
        let said = String::from_utf8(verified.stdout).unwrap();
        assert_eq!(said, "nothing to verify: no slots are recognised on this host\n");
    }
}

#[test]
fn a_host_that_lost_its_slots_is_no_machine_without_slots() {
    type Loss = fn(&ProgramHost);
    let lost: [(Loss, &str, &str); 6] = [
        (remove_table, "gpt-missing", "disk.img"),
        (remove_disk, "disk-missing", "no disk"),
        (rename_slots, "slot-missing", "has the label system-a or system-b, although there is"),
        (
            |host| sgdisk(host, &["-c2:System-A", "-c3:SYSTEM-B"]),
            "slot-missing",
            "the nearest labels there are System-A (partition 2), SYSTEM-B (partition 3), ",
        ),
        (
            |host| sgdisk(host, &["-c3:System-B"]),
            "slot-missing",
            "the label system-b; the nearest \
            labels there are System-B (partition 3), system-a (partition 2)",
        ),
        (|host| sgdisk(host, &["-d1", "-d2", "-d3"]), "disk-missing", "no disk"),
    ];
    for (lose, code, says) in lost {
        let host = changed(lose);
        let sentence = host.refuses(1, code);
        assert!(sentence.contains(says), "{sentence}");
        for command in ["update --automatic", "check", "verify", "promote", "health", "rollback"] {
            let before = host.snapshot();
            refusal(&host.program(command.split(' ')), 1, code);
            host.assert_unchanged_since(&before, command);
        }
    }
}

#[test]
fn anything_that_says_so_makes_it_a_host() {
    type Trace = fn(&ProgramHost);
    let traces: [(&str, Trace); 12] = [
        ("/efi/EFI/flipside/slot-a.json", |host| host.write("efi/EFI/flipside/slot-a.json", "{}")),
        ("/efi/EFI/flipside/boot-b.efi", |host| host.write("efi/EFI/flipside/boot-b.efi", "")),
        ("/efi/EFI/flipside/failed.json", |host| host.write("efi/EFI/flipside/failed.json", "{}")),
        ("state.json", |host| host.write("var/lib/flipside/state.json", "{}")),
        ("machine-id", |host| host.write("var/lib/flipside/machine-id", "0\n")),
        ("trials", |host| host.write("var/lib/flipside/trials/1.log", "")),
        ("configs", |host| host.write("var/lib/flipside/configs/x.json", "{}")),
        ("/run/flipside/boot/slot", |host| host.write("run/flipside/boot/slot", "a\n")),
        ("flipside.slot=b", |host| host.write("proc/cmdline", "quiet flipside.slot=b")),
        ("Boot0001 of the firmware boots \\EFI\\flipside\\boot-b.efi", boot_entry),
        ("host.disk", |host| host.set("host.disk = \"/disk.img\"\n")),
        ("host.esp", |host| host.set("host.esp = \"/efi\"\n")),
    ];
    for (says, leave) in traces {
        let host = changed(|host| {
            forget(host);
            rename_slots(host);
            leave(host);
        });
        let sentence = host.refuses(1, "slot-missing");
        assert!(sentence.contains(says) && sentence.contains("root (partition 2)"), "{sentence}");
    }
    // Labels in other case say it by themselves.
    let host = changed(|host| {
        forget(host);
        sgdisk(host, &["-c2:SYSTEM-A", "-c3:SYSTEM-B"]);
    });
    let sentence = host.refuses(1, "slot-missing");
    assert!(sentence.contains("although partition 2 is labelled SYSTEM-A"), "{sentence}");
}

#[test]
fn where_slots_are_in_sight_a_missing_esp_is_an_error() {
    changed(remove_esp).refuses(1, "esp-not-mounted");
}

#[test]
fn where_the_settings_say_where_things_are_their_absence_is_an_error() {
    for (setting, code) in
        [("esp = \"/efi\"", "esp-not-mounted"), ("disk = \"/x.img\"", "io-failed")]
    {
        let host = changed(|host| {
            forget(host);
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
    let host = changed(|host| {
        forget(host);
        remove_disk(host);
    });
    refusal(&host.program(["rollback"]), 1, "not-a-host");
    let digest = format!("sha256:{}", "0".repeat(64));
    refusal(&host.program(["retry", &digest]), 1, "not-a-host");
    refusal(&host.program(["retry", "--all"]), 1, "not-a-host");
}
