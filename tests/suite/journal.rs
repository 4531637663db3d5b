// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the system's journal is told: real datagrams on a real socket, and the catalog that
//! explains them, read by journalctl.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use flipside::report::journal::Kind;

use crate::support::journald::{Fields, Journald};
use crate::support::program_host::ProgramHost;

fn kind(entry: &Fields) -> &'static str {
    let id = &entry["MESSAGE_ID"];
    Kind::ALL.iter().find(|kind| kind.message_id() == id).unwrap().name()
}

fn field<'a>(entry: &'a Fields, name: &str) -> &'a str {
    entry.get(&format!("FLIPSIDE_{name}")).map_or("-", String::as_str)
}

/// `armed b 2`: kind, slot and version of each entry.
fn told(journald: &Journald) -> Vec<String> {
    let entries = journald.entries();
    for entry in &entries {
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "flipside", "{entry:?}");
        assert!(["3", "4", "5"].contains(&entry["PRIORITY"].as_str()), "{entry:?}");
        assert!(!entry["MESSAGE"].is_empty(), "{entry:?}");
    }
    let line = |e: &Fields| format!("{} {} {}", kind(e), field(e, "SLOT"), field(e, "VERSION"));
    entries.iter().map(line).collect()
}

/// Boots, which empties `/run`, and promotes; the entries since.
fn told_after_boot(host: &ProgramHost, expected: &str) -> Vec<String> {
    assert_eq!(host.0.boot_and_fail(), expected);
    let journald = Journald::of(&host.0.path());
    assert!(host.program(["promote"]).status.success());
    told(&journald)
}

/// The trial does not come up, and the next boot is the old slot's.
fn fall_back(host: &ProgramHost) -> Vec<String> {
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    told_after_boot(host, "A 1 fell back")
}

#[test]
fn each_transition_is_told_once_with_slot_version_and_digest() {
    let host = ProgramHost::new();
    let journald = Journald::of(&host.0.path());
    host.updates();
    let entries = journald.entries();
    assert_eq!(entries.iter().map(kind).collect::<Vec<_>>(), ["update-available", "armed"]);
    for entry in &entries {
        assert_eq!(field(entry, "VERSION"), "2");
        assert!(field(entry, "DIGEST").starts_with("sha256:"), "{entry:?}");
    }
    // Neither the next run nor a look says it again.
    for command in ["update", "check", "status"] {
        assert!(host.program([command]).status.success());
    }
    assert_eq!(told(&journald), [""; 0]);

    assert_eq!(fall_back(&host), ["fell-back b 2"]);
    let journald = Journald::of(&host.0.path());
    host.updates();
    // Nothing is fetched: it only has to be booted.
    assert_eq!(told(&journald), ["armed b 2"]);
    assert_eq!(fall_back(&host), ["fell-back b 2", "digest-failed b 2"]);
    let journald = Journald::of(&host.0.path());
    let digest = host.0.status().failed[0].digest.to_string();
    assert!(host.program(["retry", &digest]).status.success());
    assert_eq!(told(&journald), ["retry-allowed - -"]);

    host.updates();
    assert_eq!(told_after_boot(&host, "B 2 trial"), ["promoted b 2"]);
    let journald = Journald::of(&host.0.path());
    assert!(host.program(["rollback"]).status.success());
    assert_eq!(told(&journald), ["rollback-armed a 1"]);
    assert_eq!(told_after_boot(&host, "A 1 promoted"), ["rolled-back a 1"]);
    let journald = Journald::of(&host.0.path());
    assert!(host.program(["promote"]).status.success());
    assert_eq!(told(&journald), [""; 0]);
}

#[test]
fn p11_a_refusal_is_told_with_its_code_also_where_stderr_is_quiet_or_a_look_found_it() {
    use crate::support::images::ImageBuilder;
    let host = ProgramHost::new();
    let journald = Journald::of(&host.0.path());
    host.write("etc/flipside/hooks/pre-upgrade.d/50-no", "#!/bin/sh\necho not today\nexit 1\n");
    let hook = host.file("etc/flipside/hooks/pre-upgrade.d/50-no");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sentence = host.refuses(1, "hook-blocked");
    let entries = journald.entries();
    assert_eq!(entries.iter().map(kind).collect::<Vec<_>>(), ["update-available", "blocked"]);
    let refusal = &entries[1];
    assert_eq!((field(refusal, "CODE"), field(refusal, "VERSION")), ("hook-blocked", "2"));
    assert_eq!((refusal["MESSAGE"].as_str(), refusal["PRIORITY"].as_str()), (&*sentence, "4"));
    std::fs::remove_file(hook).unwrap();

    host.updates();
    fall_back(&host);
    host.updates();
    fall_back(&host);
    let journald = Journald::of(&host.0.path());
    assert!(host.program(["check"]).status.success());
    assert_eq!(told(&journald), ["blocked - -"]);
    assert_eq!(host.codes_in_status(), ["digest-failed"]);

    // Another tag, which is not there; and settings that cannot be used.
    host.0.publish(&ImageBuilder::new("3"));
    host.follow("oci:/nowhere:stable", "");
    assert_eq!(host.program(["update"]).status.code(), Some(1));
    assert_eq!(told(&journald), ["error - -"]);
    host.set("[track]\nimagine = 1\n");
    assert_eq!(host.program(["update"]).status.code(), Some(1));
    let entries = journald.entries();
    assert_eq!(field(&entries[0], "CODE"), "config-unknown-key");
}

/// Runs `update` with stdout and stderr in `path`, which is said to be the journal's.
fn update_in_a_unit(host: &ProgramHost, path: &Path) -> String {
    let file = File::create(path).unwrap();
    let meta = file.metadata().unwrap();
    let mut command = host.command(["update"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn where_stderr_is_the_journal_nothing_is_said_twice_and_nothing_is_lost() {
    let host = ProgramHost::new();
    let stream = host.0.directory.path().join("stream");
    let journald = Journald::of(&host.0.path());
    assert_eq!(update_in_a_unit(&host, &stream), "");
    assert_eq!(told(&journald), ["update-available - 2", "armed b 2"]);
    host.follow("oci:/nowhere:stable", "");
    assert_eq!(update_in_a_unit(&host, &stream), "");
    assert_eq!(told(&journald), ["error - -"]);
    // Nobody listens any more: the line on stderr says it.
    drop(journald);
    let text = update_in_a_unit(&host, &stream);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 1 && lines[0].ends_with("[source-unreadable]"), "{text}");
}

#[test]
fn journalctl_takes_the_catalog_and_explains_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("usr/lib/systemd/catalog");
    std::fs::create_dir_all(&target).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalog/flipside.catalog");
    std::fs::copy(source, target.join("flipside.catalog")).unwrap();
    let journalctl = |arguments: &[&str]| {
        let mut command = Command::new("journalctl");
        command.arg("--root").arg(directory.path()).args(arguments).env("LC_ALL", "C.UTF-8");
        command.output()
    };
    let Ok(output) = journalctl(&["--update-catalog"]) else {
        println!("skipped: there is no journalctl here");
        return;
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    for kind in Kind::ALL {
        let output = journalctl(&["--dump-catalog", kind.message_id()]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\nDefined-By: flipside\n"), "{}: {text}", kind.name());
    }
}

#[test]
fn a_failure_after_which_the_run_is_made_again_is_a_warning() {
    let host = ProgramHost::new();
    let journald = Journald::of(&host.0.path());
    host.follow("127.0.0.1:9/os:stable", "");
    for (arguments, priority) in [(&["update"][..], "3"), (&["update", "--automatic"], "4")] {
        assert_eq!(host.program(arguments).status.code(), Some(1));
        let entries = journald.entries();
        assert_eq!(entries.iter().map(kind).collect::<Vec<_>>(), ["error"]);
        assert_eq!(field(&entries[0], "CODE"), "registry-unreachable");
        assert_eq!(entries[0]["PRIORITY"], priority, "{arguments:?}");
    }
}
