// SPDX-License-Identifier: MIT OR Apache-2.0

//! Documents with several forms: each form once, from a real host. That they fit their schemas is
//! what `documents::run` looks at.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::bad_input_host::partition;
use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::program_host::ProgramHost;

/// What flipside prints with `--json` that ends with `status`.
fn printed(command: &mut Command, status: i32) -> Value {
    let (output, mut printed) = documents::run(command.arg("--json"));
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    printed.pop().unwrap().1
}

/// What a command on the host prints, at `place`.
fn says(host: &ProgramHost, line: &str, place: &str) -> Value {
    let document = printed(&mut host.command(line.split(' ')), 0);
    document.pointer(place).unwrap_or_else(|| panic!("{line}: {document:#}")).clone()
}

/// Boots, and says how that ended.
fn boots(host: &ProgramHost, options: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    printed(command.args(["sim", "boot"]).arg(host.0.path()).args(options), 0)["ending"].clone()
}

fn publish(host: &ProgramHost, version: &str) {
    host.0.publish(&ImageBuilder::new(version));
}

#[test]
fn a_machine_without_slots() {
    let root = tempfile::tempdir().unwrap();
    for (line, place, expected) in [
        ("check", "/action", "nothing-to-do".into()),
        ("update", "/outcome", "nothing-to-do".into()),
        ("promote", "/promotion", "nothing-to-do".into()),
        ("trial-deadline", "/slot", Value::Null),
        ("health", "/health", Value::Null),
        ("verify", "", Value::Array(Vec::new())),
        ("hooks run --dry-run", "/new", Value::Null),
        ("hooks run", "/decision", "allow".into()),
        ("status", "/state", "unknown".into()),
        ("switch --back", "/follows", Value::Null),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(root.path()).args(line.split(' '));
        assert_eq!(printed(&mut command, 0).pointer(place), Some(&expected), "{line}");
    }
}

#[test]
fn updates() {
    let host = ProgramHost::new();
    host.write("proc/sys/kernel/hostname", "edge-7\n");
    assert_eq!(says(&host, "status", "/host/name"), "edge-7");
    assert_eq!(says(&host, "verify", "/1/verdict"), "empty");
    for (version, action, outcome) in [
        ("1", "up-to-date", "up-to-date"),
        ("2", "install", "armed"),
        ("2", "waiting", "waiting"),
        ("1", "unarm", "unarmed"),
        ("2", "arm", "armed"),
        // The history says that 2 was superseded.
        ("3", "install", "armed"),
    ] {
        publish(&host, version);
        assert_eq!(says(&host, "check", "/action"), action, "{version}");
        assert_eq!(says(&host, "update", "/outcome"), outcome, "{version}");
    }
    host.0.publish(&ImageBuilder::new("1").annotation("com.example.note", "signed again"));
    assert_eq!(says(&host, "check", "/action"), "adopt");
    // What is armed goes in the same run.
    assert_eq!(says(&host, "update", "/outcome"), "unarmed");
    host.0.publish(&ImageBuilder::new("1").annotation("com.example.note", "and again"));
    assert_eq!(says(&host, "check", "/action"), "adopt");
    assert_eq!(says(&host, "update", "/outcome"), "adopted");
    publish(&host, "3");
    assert_eq!(says(&host, "update", "/outcome"), "armed");
    assert_eq!(says(&host, "promote", "/promotion"), "unchanged");
    assert_eq!(says(&host, "hold --reason fair", "/hold/reason"), "fair");
    host.write("etc/flipside/hooks/pre-upgrade.d/README", "");
    assert_eq!(says(&host, "hooks list", "/hooks/0/ignored"), "it is a README");
}

#[test]
fn trials() {
    let host = ProgramHost::new();
    host.updates();
    assert_eq!(boots(&host, &["--fail"]), "trial");
    host.write("etc/flipside/health.d/required/10", "");
    let health = printed(&mut host.command(["health"]), 1);
    assert_eq!((&health["health"], &health["failed_trial"]), (&"failed".into(), &"b".into()));
    assert_eq!(boots(&host, &["--fail"]), "fell-back");
    assert_eq!(says(&host, "promote", "/promotion"), "fell-back");
    let digest = says(&host, "status", "/failed/0/digest");
    assert_eq!(says(&host, "retry --all", "/retry_allowed/0"), digest);

    host.updates();
    assert_eq!(boots(&host, &["--fail"]), "trial");
    let deadline = printed(&mut host.command(["trial-deadline"]), 0);
    let expected = ["rebooting", "b", "a"].map(Value::from);
    assert_eq!(
        [&deadline["outcome"], &deadline["slot"], &deadline["back_to"]],
        expected.each_ref()
    );

    let host = ProgramHost::new();
    host.updates();
    host.write("proc/cmdline", "root=PARTLABEL=system-b ro flipside.slot=b\n");
    assert_eq!(says(&host, "promote", "/promotion"), "by-kexec");
}

#[test]
fn the_way_back_and_damage() {
    let host = ProgramHost::new();
    host.updates();
    assert_eq!(boots(&host, &[]), "promoted");
    // Firmware that puts the other slot's entry first again.
    let variable = "sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let mut order = std::fs::read(host.file(variable)).unwrap();
    let (first, second) = order[4..].split_at_mut(2);
    first.swap_with_slice(&mut second[..2]);
    std::fs::write(host.file(variable), order).unwrap();
    boots(&host, &["--fail"]);
    assert_eq!(says(&host, "promote", "/promotion"), "promotion-lost");
    let history = printed(&mut host.command(["history"]), 0);
    let is_repaired =
        |entry: &Value| entry["event"] == "repaired" && entry["code"] == "promotion-lost";
    assert!(history["entries"].as_array().unwrap().iter().any(is_repaired), "{history}");
    assert_eq!(boots(&host, &[]), "promoted");
    assert_eq!(says(&host, "rollback", "/slot"), "a");
    boots(&host, &["--fail"]);
    assert_eq!(says(&host, "promote", "/promotion"), "rolled-back");

    let disk = std::fs::File::options().write(true).open(host.file("disk.img")).unwrap();
    disk.write_all_at(&[7; 4096], partition(&host, 3).0).unwrap();
    let verdicts = printed(&mut host.command(["verify"]), 1);
    assert_eq!(verdicts[1]["verdict"], "damaged");
    for hashes in [host.file("var/lib/flipside"), host.0.track.clone()] {
        std::fs::remove_dir_all(hashes).unwrap();
    }
    assert_eq!(says(&host, "verify", "/1/verdict"), "unverifiable");
    std::fs::remove_dir_all(host.file("efi/EFI")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let dead = printed(command.args(["sim", "boot"]).arg(host.0.path()), 1);
    assert!(dead["dead"].is_string() && dead["booted"].is_null(), "{dead:#}");
}

#[test]
fn images_of_other_forms() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (fixture, storage) in
        [("reference-image-zstd", "zstd-stream"), ("reference-image-uncompressed", "uncompressed")]
    {
        let image = format!("oci:{}", fixtures.join(fixture).display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        let document = printed(command.args(["image", "inspect", &image]), 0);
        assert_eq!(document["payloads"][0]["storage"], storage);
    }
    let directory = tempfile::tempdir().unwrap();
    ImageBuilder::new("1").payload("verity", [1; 9]).write(directory.path().join("layout"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.current_dir(directory.path());
    let line = "disk build --image oci:layout -o disk.img --esp-size 64MiB --sector-size 4096";
    let document = printed(command.args(line.split(' ')), 0);
    assert_eq!(
        (&document["sector_size"], &document["skipped"][0]),
        (&4096.into(), &"verity".into())
    );
}
