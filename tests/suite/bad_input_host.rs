// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hosts whose disk, ESP or firmware is not right: refused before anything is touched.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::process::Command;
use std::sync::Arc;

use flipside_core::host::durable::{Durable, Step, StepObserver};
use flipside_image::code::Coded as _;

use crate::support::host::update_and_finish;
use crate::support::program_host::{ProgramHost, refusal};

const EFIVARS: &str = "sys/firmware/efi/efivars";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

fn write_at(host: &ProgramHost, at: u64, bytes: &[u8]) {
    let disk = fs::File::options().write(true).open(host.file("disk.img")).unwrap();
    disk.write_all_at(bytes, at).unwrap();
}

/// Where the partition with this number begins, and its size, in bytes.
pub fn partition(host: &ProgramHost, number: u32) -> (u64, u64) {
    let disk = gpt::GptConfig::new().open(host.file("disk.img")).unwrap();
    let found = &disk.partitions()[&number];
    let sectors = found.last_lba - found.first_lba + 1;
    (found.first_lba * 512, sectors * 512)
}

fn sgdisk(host: &ProgramHost, argument: &str) {
    let mut command = Command::new("/usr/sbin/sgdisk");
    let output = command.arg(argument).arg(host.file("disk.img")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Sets the mark that a FAT was not cleanly unmounted (FAT specification, `BS_Reserved1`).
fn mark_esp_dirty(host: &ProgramHost) {
    let (start, _) = partition(host, 1);
    let disk = fs::File::open(host.file("disk.img")).unwrap();
    let mut sectors_per_fat16 = [0; 2];
    disk.read_exact_at(&mut sectors_per_fat16, start + 0x16).unwrap();
    let at = if sectors_per_fat16 == [0, 0] { 0x41 } else { 0x25 };
    write_at(host, start + at, &[1]);
}

/// Damages the headers of both copies of the partition table; twice is never.
fn damage_both_tables(host: &ProgramHost) {
    let size = fs::metadata(host.file("disk.img")).unwrap().len();
    for at in [512 + 16, size - 512 + 16] {
        let mut checksum = [0; 4];
        fs::File::open(host.file("disk.img")).unwrap().read_exact_at(&mut checksum, at).unwrap();
        write_at(host, at, &checksum.map(|byte: u8| !byte));
    }
}

fn set_variable(host: &ProgramHost, name: &str, data: &[u8]) {
    let bytes = [&[7, 0, 0, 0], data].concat();
    fs::write(host.file(EFIVARS).join(format!("{name}-{GLOBAL}")), bytes).unwrap();
}

fn forget_what_booted(host: &ProgramHost) {
    for entry in fs::read_dir(host.file(EFIVARS)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["Loader", "Stub", "BootCurrent"].iter().any(|start| name.starts_with(start)) {
            fs::remove_file(path).unwrap();
        }
    }
    host.write("proc/cmdline", "quiet");
}

struct Case {
    name: &'static str,
    damage: fn(&ProgramHost),
    status: i32,
    code: &'static str,
    said: &'static str,
    /// For what the firmware played could not boot from either.
    repair: Option<fn(&ProgramHost)>,
}

const CASES: &[Case] = &[
    Case {
        name: "a damaged primary header",
        damage: |host| write_at(host, 512 + 16, &[0xff; 8]),
        status: 1,
        code: "gpt-damaged",
        said: "to restore it from the backup copy, run: sgdisk -e ",
        repair: None,
    },
    Case {
        name: "a damaged backup header",
        damage: |host| {
            let size = fs::metadata(host.file("disk.img")).unwrap().len();
            write_at(host, size - 512 + 16, &[0xff; 8]);
        },
        status: 1,
        code: "gpt-damaged",
        said: "to restore it from the primary copy, run: sgdisk -e ",
        repair: None,
    },
    Case {
        name: "no sound copy of the partition table",
        damage: damage_both_tables,
        status: 1,
        code: "gpt-damaged",
        said: "; to see what is left, run: sgdisk --verify /",
        repair: Some(damage_both_tables),
    },
    Case {
        name: "a slot that is missing",
        damage: |host| sgdisk(host, "--change-name=3:other"),
        status: 1,
        code: "slot-missing",
        said: "system-b",
        repair: Some(|host| sgdisk(host, "--change-name=3:system-b")),
    },
    Case {
        name: "a label that two partitions have",
        damage: |host| sgdisk(host, "--change-name=1:system-b"),
        status: 1,
        code: "label-ambiguous",
        said: "partitions 1 and 3",
        repair: Some(|host| sgdisk(host, "--change-name=1:esp")),
    },
    Case {
        name: "a command line that names the other slot",
        damage: |host| host.write("proc/cmdline", "root=PARTLABEL=system-b"),
        status: 1,
        code: "running-slot-unclear",
        said: "slot A",
        repair: None,
    },
    Case {
        name: "nothing that tells what runs",
        damage: forget_what_booted,
        status: 1,
        code: "running-slot-unknown",
        said: "cannot tell which slot is running",
        repair: None,
    },
    Case {
        name: "an ESP that is not mounted",
        damage: |host| {
            fs::rename(host.file("efi"), host.file("unmounted")).unwrap();
            fs::create_dir(host.file("efi")).unwrap();
        },
        status: 1,
        code: "esp-not-mounted",
        said: "not mounted",
        repair: Some(|host| {
            fs::remove_dir(host.file("efi")).unwrap();
            fs::rename(host.file("unmounted"), host.file("efi")).unwrap();
        }),
    },
    Case {
        name: "an ESP that was not cleanly unmounted",
        damage: mark_esp_dirty,
        status: 1,
        code: "esp-damaged",
        said: "not cleanly unmounted",
        repair: None,
    },
    Case {
        name: "an ESP whose FAT is damaged",
        damage: |host| write_at(host, partition(host, 1).0 + 0x0b, &[0xff; 16]),
        status: 1,
        code: "esp-damaged",
        said: "cannot be trusted",
        repair: None,
    },
    Case {
        name: "a second disk with the same ESP",
        damage: |host| {
            fs::copy(host.file("disk.img"), host.file("usb.img")).unwrap();
        },
        status: 1,
        code: "esp-ambiguous",
        said: "usb.img",
        repair: None,
    },
    Case {
        name: "an ESP that is not the one booted from",
        damage: |host| sgdisk(host, "--partition-guid=1:R"),
        status: 1,
        code: "esp-mismatch",
        said: "booted from",
        repair: None,
    },
    Case {
        name: "no variables",
        damage: |host| fs::rename(host.file(EFIVARS), host.file("hidden")).unwrap(),
        status: 1,
        code: "efi-variables-missing",
        said: "no EFI variables",
        repair: Some(|host| fs::rename(host.file("hidden"), host.file(EFIVARS)).unwrap()),
    },
    Case {
        name: "read-only variables",
        damage: |host| {
            fs::set_permissions(host.file(EFIVARS), fs::Permissions::from_mode(0o555)).unwrap();
        },
        status: 1,
        code: "efi-variables-read-only",
        said: "read-only",
        repair: Some(|host| {
            fs::set_permissions(host.file(EFIVARS), fs::Permissions::from_mode(0o755)).unwrap();
        }),
    },
    Case {
        name: "a next boot that is somebody else's",
        damage: |host| set_variable(host, "BootNext", &[1, 0]),
        status: 75,
        code: "bootnext-taken",
        said: "not flipside's",
        repair: Some(|host| {
            fs::remove_file(host.file(EFIVARS).join(format!("BootNext-{GLOBAL}"))).unwrap();
        }),
    },
];

#[test]
fn a_host_that_is_not_right_is_left_alone() {
    // Each in a thread: a FAT that seems damaged is looked at several times.
    std::thread::scope(|scope| {
        for case in CASES {
            scope.spawn(|| {
                let host = ProgramHost::new();
                (case.damage)(&host);
                let sentence = host.refuses(case.status, case.code);
                assert!(sentence.contains(case.said), "{}: {sentence}", case.name);
                if let Some(repair) = case.repair {
                    repair(&host);
                }
                host.boots_as_before();
            });
        }
    });
}

#[test]
fn a_machine_without_variables_is_blocked_and_no_failure_of_the_timer() {
    let host = ProgramHost::new();
    fs::remove_dir_all(host.file(EFIVARS)).unwrap();
    let output = host.program(["update", "--automatic"]);
    assert!(output.status.success(), "{output:?}");
    let status = host.program(["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["blocked"]["code"], "efi-variables-missing");
    assert_eq!(status["blocked"]["severity"], "block");
}

#[test]
fn an_esp_with_too_little_room_is_left_alone() {
    let host = ProgramHost::new();
    let script =
        "cp -a efi copy; mount -t tmpfs -o size=64k tmpfs efi; cp -a copy/. efi; rm -r copy";
    let Some(mut command) = host.update_with_mounts(script) else { return };
    let sentence = host.refuses_in(&mut command, 1, "esp-full");
    assert!(sentence.contains("KiB free"), "{sentence}");
    host.boots_as_before();
}

/// An ESP without one free block, and what fsck made of a boot file that was being written. Both
/// slots' boot files fit.
const FULL_OF_REMNANTS: &str = "cp -a efi copy; mount -t tmpfs -o size=2M tmpfs efi; \
     cp -a copy/. efi; rm -r copy; \
     if cat /dev/zero > efi/FSCK0000.REC; then exit 3; fi 2> /dev/null";

#[test]
fn remnants_of_fsck_give_way_before_the_first_file_is_written() {
    let host = ProgramHost::new();
    let script = format!(
        "{FULL_OF_REMNANTS}; \"$2\" -q --root \"$1\" update; ls efi efi/EFI/flipside; \
         cat efi/EFI/flipside/slot-b.json"
    );
    let Some(mut command) = host.with_mounts(&script) else { return };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.starts_with("2 is installed in slot B"), "{said}");
    assert!(!said.contains("FSCK0000.REC") && said.contains("\"version\": \"2\""), "{said}");
}

#[test]
fn a_full_esp_without_remnants_is_told_in_kibibytes_and_gets_no_empty_file() {
    let host = ProgramHost::new();
    let full = FULL_OF_REMNANTS.replace("FSCK0000.REC", "other.bin");
    let script = format!(
        "{full}; \"$2\" -q --root \"$1\" update || status=$?; \
         find efi -size 0 -type f; exit $status"
    );
    let Some(mut command) = host.with_mounts(&script) else { return };
    let output = command.output().unwrap();
    let sentence = refusal(&output, 1, "esp-full");
    assert!(sentence.contains("has 0 KiB free"), "{sentence}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "empty files");
}

/// A promote writes too: the proof is the first file on this ESP that needs room.
#[test]
fn remnants_of_fsck_give_way_to_a_proof() {
    let host = ProgramHost::new();
    fs::remove_file(host.file("efi/EFI/flipside/slot-a.proven")).unwrap();
    let script = format!(
        "{FULL_OF_REMNANTS}; \"$2\" -q --root \"$1\" promote; cat efi/EFI/flipside/*.proven"
    );
    let Some(mut command) = host.with_mounts(&script) else { return };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("sha256:"), "{output:?}");
}

#[test]
fn an_esp_that_is_mounted_read_only_is_left_alone() {
    let host = ProgramHost::new();
    let Some(mut command) = host.update_with_mounts("mount --bind -o ro efi efi") else { return };
    host.refuses_in(&mut command, 1, "esp-read-only");
    host.boots_as_before();
}

/// NVRAM that is full for everything.
struct FullNvram;

impl StepObserver for FullNvram {
    fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
        match step {
            Step::SetVariable(..) => Err(nix::errno::Errno::ENOSPC.into()),
            _ => Ok(()),
        }
    }
}

/// The kernel tells the room in NVRAM only since Linux 6.6; before, the first write shows it.
#[test]
fn nvram_that_is_full_leaves_a_host_that_boots_as_before() {
    let host = ProgramHost::new();
    let run = host.0.run_with(Durable::observed(Arc::new(FullNvram)), |_| {});
    let error = update_and_finish(&run).unwrap_err();
    assert_eq!(error.code().name(), "nvram-full");
    assert!(error.to_string().contains("NVRAM is full"), "{error}");
    assert_eq!(host.codes_in_status(), ["nvram-full"]);
    host.boots_as_before();
    host.updates();
}
