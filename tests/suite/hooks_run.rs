// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside hooks run`: the answers to the update on offer, and nothing done about it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use flipside::hooks::DIRECTORY;
use flipside_core::host::Root;
use serde_json::Value;

use crate::support::documents;
use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;

fn put(host: &TestHost, name: &str, script: &str) {
    let directory = Root::new(host.path()).path("etc").join(DIRECTORY);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(host: &TestHost, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.args(["--quiet", "--root"]).arg(host.path()).args(["hooks", "run"]).args(arguments);
    documents::output(&mut command)
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn the_answers_are_printed_and_the_exit_status_says_what_they_come_to() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    let output = run(&host, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output).contains("no hooks"), "{output:?}");

    put(&host, "10-version", r#"echo "$FLIPSIDE_RUNNING_VERSION to $FLIPSIDE_NEW_VERSION""#);
    put(&host, "20-timer", r#"test "$FLIPSIDE_INITIATIVE" = manual || { echo busy; exit 75; }"#);
    let output = run(&host, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output), "10-version  allow  1 to 2\n20-timer    allow\n");

    let output = run(&host, &["--automatic"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let last = "20-timer    defer  hook 20-timer: busy [hook-deferred]\n";
    assert!(text(&output).ends_with(last), "{output:?}");

    put(&host, "20-timer", "echo never; exit 1");
    let output = run(&host, &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&document["decision"], &document["code"]),
        (&"block".into(), &"hook-blocked".into())
    );
    assert_eq!(document["new"]["version"], "2");
    assert_eq!(document["answers"][0]["decision"], "allow");
    assert_eq!(document["answers"][1]["said"], "never");
}

#[test]
fn a_refusal_without_an_answer_of_a_hook_is_one_all_the_same() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    put(&host, "10-fine", "exit 0");
    let setting = host.file("etc/flipside/flipside.toml.d/50-test.toml");
    std::fs::create_dir_all(setting.parent().unwrap()).unwrap();
    let container = "policy.hooks.container.image = \"127.0.0.1:9/a/b:1\"\n";
    std::fs::write(&setting, container).unwrap();
    let refused = |status: i32, code: &str| {
        let output = run(&host, &[]);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.ends_with(&format!(" [{code}]\n")), "{stderr}");
    };
    refused(75, "container-hook-unavailable");
    std::fs::remove_file(&setting).unwrap();
    host.publish(&ImageBuilder::new("2").payload("pre-upgrade", vec![0; (16 << 20) + 1]));
    refused(1, "image-hook-too-large");
}

#[test]
fn a_dry_run_lists_what_would_be_asked_and_runs_nothing() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    let output = run(&host, &["--dry-run"]);
    assert_eq!(text(&output), "no update is on offer: no hook would be asked\n");
    host.publish(&ImageBuilder::new("2"));
    let output = run(&host, &["--dry-run"]);
    assert_eq!(text(&output), "this host has no hooks: none would be asked\n");
    put(&host, "10-check", "> \"$FLIPSIDE_ROOT/asked\"; exit 1");
    put(&host, "20-other", "exit 0");
    let plain = Root::new(host.path()).path("etc").join(DIRECTORY).join("15-plain");
    std::fs::write(&plain, "x").unwrap();

    let output = run(&host, &["--dry-run"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<&str> = text(&output).lines().collect();
    let how = "as a process group, without a sandbox";
    for (line, (name, how)) in lines.iter().zip([
        ("10-check  ", how),
        ("15-plain  ", "blocks the update: it is not executable (`chmod +x`)"),
        ("20-other  ", how),
    ]) {
        assert!(line.starts_with(name) && line.ends_with(how), "{line}");
    }
    assert_eq!(lines.len(), 3);
    let output = run(&host, &["--dry-run", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["new"]["version"], "2");
    assert_eq!(document["hooks"][0]["runs_as"], "process-group");
    assert_eq!(document["hooks"][0]["kind"], "host");
    assert!(!host.path().join("asked").exists());
}

#[test]
fn p10_asking_changes_nothing_on_the_host() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    put(&host, "10-check", "exit 0");
    let before = host.status();
    let files = contents(&host);
    assert!(run(&host, &[]).status.success());
    assert_eq!(contents(&host), files);
    assert_eq!(host.status().state, before.state);
    // What was allowed is not installed.
    assert_eq!(host.arm(), "B 2");
}

#[test]
fn nothing_is_asked_where_nothing_is_on_offer() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    put(&host, "10-check", "exit 1");
    let output = run(&host, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output), "no update is on offer: the hooks were not asked\n");
    let output = run(&host, &["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["new"].is_null());
}

/// Every file of the host, with its bytes.
fn contents(host: &TestHost) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![host.path()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}
