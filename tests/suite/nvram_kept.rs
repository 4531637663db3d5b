// SPDX-License-Identifier: MIT OR Apache-2.0

//! Firmware that keeps no variables: trials that it forgets are none that failed, and where it has
//! its variables kept in a file on the ESP (U-Boot), flipside keeps them there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flipside::run::{self, Outcome};
use flipside_image::code::Coded as _;
use flipside_sim::{Power, Quirk};

use crate::support::firmware::Answering;
use crate::support::host::{TestHost, run_on, update_and_finish};
use crate::support::images::ImageBuilder;
use crate::support::steps::Steps;

const VENDOR: &str = "b2ac5fc9-92b7-4acd-aeac-11e818c3130c";

fn version(version: impl ToString) -> ImageBuilder {
    ImageBuilder::new(&version.to_string()).chunk_size(16 << 10).system_size(64 << 10)
}

fn losing_nvram() -> Power {
    Power { wipe_nvram: true, ..Power::default() }
}

fn failed(host: &TestHost) -> serde_json::Value {
    let bytes = std::fs::read(host.file("efi/EFI/flipside/failed.json")).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn forget_state(host: &TestHost) {
    let _ = std::fs::remove_dir_all(host.file("var/lib/flipside"));
}

#[test]
fn a_trial_that_the_firmware_forgot_is_none_that_failed() {
    for loses_state in [false, true] {
        let host = TestHost::running(&version(1));
        host.publish(&version(2));
        assert_eq!(host.arm(), "B 2");
        if loses_state {
            forget_state(&host);
        }
        assert!(host.boot_with(false, losing_nvram()).starts_with("A 1"));
        assert_eq!(failed(&host)["trials"], serde_json::json!([]), "state lost: {loses_state}");
        assert_eq!(failed(&host)["forgotten"]["count"], 1);
        assert!(host.status().failed.is_empty());
        assert_eq!(host.arm(), "B 2");
        assert_eq!(host.boot(), "B 2 promoted");
        assert!(failed(&host)["forgotten"].is_null(), "this firmware does keep what it is told");
    }
}

#[test]
fn firmware_that_forgets_as_often_as_a_trial_may_fail_is_refused_with_the_backend_to_choose() {
    for (loses_state, promotes) in [(false, true), (true, true), (false, false), (true, false)] {
        let host = TestHost::running(&version(1));
        host.publish(&version(2));
        for _ in 0..2 {
            assert_eq!(host.arm(), "B 2");
            if loses_state {
                forget_state(&host);
            }
            assert!(host.boot_with(!promotes, losing_nvram()).starts_with("A 1"));
        }
        let error = host.update().unwrap_err();
        assert_eq!(error.code().name(), "nvram-not-kept", "{loses_state} {promotes}");
        assert!(error.to_string().contains("boot.backend = \"systemd-boot\""), "{error}");
        // Whatever is to be tried; and nothing more is counted while nothing is armed.
        let new = host.publish(&version(3));
        for _ in 0..3 {
            assert_eq!(host.refusal(), "nvram-not-kept");
            if loses_state {
                forget_state(&host);
            }
            assert!(host.boot_with(!promotes, losing_nvram()).starts_with("A 1"));
        }
        assert_eq!(failed(&host)["forgotten"]["count"], 2, "{loses_state} {promotes}");
        assert_eq!(failed(&host)["trials"], serde_json::json!([]));
        assert!(!host.retry(&new.digest));
        let digest = failed(&host)["forgotten"]["digest"].as_str().unwrap().parse().unwrap();
        assert!(host.retry(&digest));
        assert_eq!(host.arm(), "B 3");
        assert_eq!(host.boot(), "B 3 promoted");
    }
}

#[test]
fn the_other_backend_needs_nothing_that_the_firmware_forgets() {
    let host = TestHost::running(&version(1));
    host.publish(&version(2));
    for _ in 0..2 {
        host.arm();
        host.boot_with(false, losing_nvram());
    }
    assert_eq!(host.refusal(), "nvram-not-kept");
    let config = host.file("etc/flipside/flipside.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str("\n[boot]\nbackend = \"systemd-boot\"\n");
    std::fs::write(config, text).unwrap();
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot_with(false, losing_nvram()), "B 2 promoted");
}

#[test]
fn p7_a_trial_that_failed_stays_failed_whatever_nvram_forgets() {
    let host = TestHost::running(&version(1));
    host.publish(&version(2));
    host.arm();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    run::fail_trial(&host.run(), "the health check failed").unwrap();
    assert!(host.boot_with(false, losing_nvram()).starts_with("A 1"));
    assert_eq!(host.refusal(), "digest-failed");
}

/// A host whose firmware says that it keeps its variables in the file `name`.
struct InFile {
    host: TestHost,
}

/// That of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

/// A file of variables, as U-Boot has it.
fn store(variables: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 8].to_vec();
    bytes.extend(0x0161_5669_6645_6255_u64.to_le_bytes());
    bytes.extend(u32::try_from(24 + variables.len()).unwrap().to_le_bytes());
    bytes.extend(crc32(variables).to_le_bytes());
    bytes.extend(variables);
    bytes
}

impl InFile {
    fn new() -> Self {
        let host = TestHost::running(&version(1));
        host.publish(&version(2));
        Self { host }
    }

    fn variable(&self, name: &str) -> PathBuf {
        self.host.file(format!("sys/firmware/efi/efivars/{name}-{VENDOR}"))
    }

    fn set(&self, name: &str, attributes: u8, data: &[u8]) {
        std::fs::write(self.variable(name), [&[attributes, 0, 0, 0], data].concat()).unwrap();
    }

    fn sound(&self) {
        self.set("RTStorageVolatile", 6, b"ubootefi.var\0");
        self.set("VarToFile", 6, &store(b"what the firmware has"));
        self.esp_file("ubootefi.var", &store(b"what it had"));
    }

    fn esp_file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.host.file("efi").join(name), bytes).unwrap();
    }
}

/// All files of a directory with their bytes.
fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(tree(&path)),
            false => files.push((path.clone(), std::fs::read(path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn variables_that_nobody_keeps_are_refused_before_anything_is_written() {
    type Spoil = fn(&InFile);
    let cases: [(&str, Spoil); 17] = [
        ("the variables of a real board", |of| {
            let fixtures =
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/uboot-volatile-variables");
            for name in ["RTStorageVolatile", "VarToFile"] {
                let fixture = Path::new(fixtures).join(format!("{name}-{VENDOR}"));
                std::fs::copy(fixture, of.variable(name)).unwrap();
            }
        }),
        ("no file", |of| std::fs::remove_file(of.host.file("efi/ubootefi.var")).unwrap()),
        ("an empty file", |of| of.esp_file("ubootefi.var", b"")),
        ("zeroes", |of| of.esp_file("ubootefi.var", &[0; 4096])),
        ("another file", |of| of.esp_file("ubootefi.var", b"MZ, and whatever follows it here")),
        ("a file that is cut short", |of| of.esp_file("ubootefi.var", &store(b"x")[..23])),
        ("a file without its end", |of| of.esp_file("ubootefi.var", &store(b"abc")[..26])),
        ("a directory", |of| {
            std::fs::remove_file(of.host.file("efi/ubootefi.var")).unwrap();
            std::fs::create_dir(of.host.file("efi/ubootefi.var")).unwrap();
        }),
        ("a link", |of| {
            let file = of.host.file("efi/ubootefi.var");
            std::fs::rename(&file, of.host.file("efi/other.var")).unwrap();
            std::os::unix::fs::symlink("other.var", file).unwrap();
        }),
        ("a name that leads away", |of| of.set("RTStorageVolatile", 6, b"../ubootefi.var\0")),
        ("a path", |of| of.set("RTStorageVolatile", 6, b"EFI\\flipside\\boot-a.efi\0")),
        ("no name", |of| of.set("RTStorageVolatile", 6, b"\0")),
        ("a variable that is not the firmware's", |of| {
            of.set("RTStorageVolatile", 7, b"ubootefi.var\0");
        }),
        ("contents that are not the firmware's", |of| of.set("VarToFile", 7, &store(b"x"))),
        ("contents that are damaged", |of| {
            let mut damaged = store(b"what the firmware has");
            damaged[30] ^= 1;
            of.set("VarToFile", 6, &damaged);
        }),
        ("no contents", |of| std::fs::remove_file(of.variable("VarToFile")).unwrap()),
        ("no name at all", |of| std::fs::remove_file(of.variable("RTStorageVolatile")).unwrap()),
    ];
    for (name, spoil) in cases {
        let of = InFile::new();
        of.sound();
        spoil(&of);
        let parts = ["efi", "sys/firmware/efi/efivars", "var/lib/flipside"];
        let all = || parts.map(|part| tree(&of.host.file(part)));
        let before = all();
        let steps = Steps::new();
        let update = update_and_finish(&of.host.run_with(steps.durable(), |_| {}));
        let error = update.unwrap_err();
        assert_eq!(error.code().name(), "nvram-not-kept", "{name}");
        assert!(error.to_string().contains("boot.backend = \"systemd-boot\""), "{name}: {error}");
        let written: Vec<_> =
            steps.take().into_iter().filter(|step| !step.starts_with("phase")).collect();
        assert!(written.is_empty(), "{name}: {written:?}");
        assert_eq!(all(), before, "{name}");
        let check = run::check(
            &of.host.run(),
            flipside::config::Initiative::Manual,
            flipside::rules::Depth::Check,
        );
        match check.unwrap().unwrap().action {
            run::Action::Refuse(refusal) => {
                assert_eq!(refusal.code.name(), "nvram-not-kept", "{name}")
            }
            action => panic!("{name}: {action:?}"),
        }
    }
}

#[test]
fn the_file_holds_what_the_firmware_gives_after_each_change() {
    let of = InFile::new();
    of.sound();
    let steps = Steps::new();
    update_and_finish(&of.host.run_with(steps.durable(), |_| {})).unwrap();
    let file = std::fs::read(of.host.file("efi/ubootefi.var")).unwrap();
    assert_eq!(file, store(b"what the firmware has"));
    // As boot files are written: its first sector is zeroed first, and comes last.
    let of_file: Vec<_> =
        steps.take().into_iter().filter(|step| step.contains("ubootefi.var")).collect();
    let length = file.len();
    let written = [
        "zero ubootefi.var 0+512".to_owned(),
        "sync ubootefi.var".to_owned(),
        format!("length ubootefi.var {length}"),
        "sync ubootefi.var".to_owned(),
        format!("write ubootefi.var 0+{length}"),
        "sync ubootefi.var".to_owned(),
    ];
    assert_eq!(of_file, written);
}

#[test]
fn an_update_is_tried_and_kept_by_firmware_that_reads_the_file() {
    let host = TestHost::running_on(&[Quirk::VariablesInFile], &version(1));
    for (next, slot) in [(2, "B"), (3, "A"), (4, "B")] {
        host.publish(&version(next));
        let run = run_on(&host.path(), Answering::durable(&host.path()), |_| {});
        assert!(matches!(update_and_finish(&run), Ok(Outcome::Armed { before: false, .. })));
        assert_eq!(host.boot(), format!("{slot} {next} promoted"));
        assert_eq!(host.boot(), format!("{slot} {next} promoted"));
    }
    assert!(failed(&host)["forgotten"].is_null());
}

/// The firmware finds a file without its first sector: it has no variables, and writes none.
#[test]
fn a_write_that_was_cut_off_is_finished_and_what_is_not_flipsides_is_left() {
    let host = TestHost::running_on(&[Quirk::VariablesInFile], &version(1));
    let file = host.file("efi/ubootefi.var");
    let damage = || {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.iter_mut().take(512).for_each(|byte| *byte = 0);
        std::fs::write(&file, bytes).unwrap();
    };
    host.publish(&version(2));
    let run = run_on(&host.path(), Answering::durable(&host.path()), |_| {});
    update_and_finish(&run).unwrap();
    assert_eq!(host.boot(), "B 2 promoted");
    damage();
    assert!(host.boot().starts_with("B 2"));
    assert!(std::fs::read(&file).unwrap().starts_with(b"\0\0\0\0\0\0\0\0UbEfiVa"));
    host.publish(&version(3));
    assert_eq!(host.arm(), "A 3");
    assert_eq!(host.boot(), "A 3 promoted");
    // Nothing says any more that flipside wrote it.
    std::fs::remove_file(host.file("efi/EFI/flipside/variables")).unwrap();
    host.publish(&version(4));
    damage();
    assert!(host.boot().starts_with("A 3"));
    assert!(std::fs::read(&file).unwrap().starts_with(&[0; 24]));
    assert_eq!(host.refusal(), "nvram-not-kept");
}

#[test]
fn a_file_that_cannot_grow_is_not_touched() {
    let of = InFile::new();
    of.sound();
    let before = std::fs::read(of.host.file("efi/ubootefi.var")).unwrap();
    // No host has so much room.
    let steps = Steps::with(|step| {
        let text = format!("{step:?}");
        (text.starts_with("Create") && text.contains("EFI/flipside/variables"))
            .then(|| nix::errno::Errno::ENOSPC.into())
    });
    let update = update_and_finish(&of.host.run_with(steps.durable(), |_| {}));
    assert_eq!(update.unwrap_err().code().name(), "esp-full");
    assert_eq!(std::fs::read(of.host.file("efi/ubootefi.var")).unwrap(), before);
}

#[test]
fn variables_that_cannot_be_written_are_told_before_who_keeps_them() {
    let of = InFile::new();
    of.set("VarToFile", 6, b"x");
    let efivars = of.host.file("sys/firmware/efi/efivars");
    let mode = |mode| {
        std::fs::set_permissions(&efivars, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o555);
    let code = of.host.refusal();
    mode(0o755);
    assert_eq!(code, "efi-variables-read-only");
}
