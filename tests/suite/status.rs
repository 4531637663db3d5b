// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the program prints, and to whom.

use std::io::Read as _;
use std::process::{Command, Output, Stdio};

use flipside::report::history::{Entry, Happening, HistoryFile, PATH as HISTORY};
use flipside::report::{Status, StatusFile};
use flipside_core::host::durable::Durable;
use flipside_core::host::{Files, Root, Slot};
use jiff::Timestamp;

use crate::support::documents;

struct Host {
    _directory: tempfile::TempDir,
    root: Root,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        Self { _directory: directory, root }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(self.root.directory()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        documents::output(&mut self.command(arguments))
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn happened(&self, event: Happening, version: &str) {
        let entry = Entry {
            time: Timestamp::now(),
            boot_id: None,
            event,
            slot: Some(Slot::B),
            version: Some(version.into()),
            digest: None,
            code: None,
            message: "so\x1b[31m".into(),
        };
        let files = Files::new(&self.root, &Durable::new());
        HistoryFile::of(&self.root).append(&files, &entry).unwrap();
    }
}

#[test]
fn the_history_is_shown_from_its_end() {
    let host = Host::new();
    assert_eq!(host.stdout(&["history"]), "");
    assert_eq!(
        host.stdout(&["history", "--json"]).replace(char::is_whitespace, ""),
        "{\"entries\":[],\"damaged\":0,\"logs\":[]}"
    );
    host.happened(Happening::Armed, "1");
    host.happened(Happening::FellBack, "2");
    let text = host.stdout(&["history", "-n", "1"]);
    assert!(text.ends_with("  fell-back      B  2\n") && text.lines().count() == 1, "{text}");
    // What tells more than its columns is a sentence.
    host.happened(Happening::Failed, "2");
    let text = host.stdout(&["history", "-n", "1"]);
    assert!(text.ends_with("  failed         so[31m\n") && text.lines().count() == 1, "{text}");
    let path = host.root.path(HISTORY);
    let damaged = format!("{{\n{}", std::fs::read_to_string(&path).unwrap());
    std::fs::write(&path, damaged).unwrap();
    let output = host.run(&["history", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["damaged"], 1);
    assert_eq!(document["entries"][1]["event"], "fell-back");
    assert!(String::from_utf8(output.stderr).unwrap().contains("warning: 1 damaged lines"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let host = Host::new();
    for version in 0..2000 {
        let line = format!(
            "{{\"time\":\"2027-01-15T08:00:00Z\",\"event\":\"armed\",\"message\":\"{version:0>100}\"}}\n"
        );
        let path = host.root.path(HISTORY);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }
    for json in [&["history", "-n", "2000"][..], &["history", "-n", "2000", "--json"]] {
        let mut child =
            host.command(json).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 100]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let host = Host::new();
    host.happened(Happening::Armed, "1");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = host.command(&["history"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("[output-failed]"));
}

#[test]
fn there_are_no_colours_without_a_terminal() {
    let host = Host::new();
    let mut status = Status::unknown(Timestamp::now());
    status.reboot_required = true;
    StatusFile::of(&host.root).write(&status).unwrap();
    let text = host.stdout(&["status"]);
    assert!(text.starts_with("follows   ") && !text.contains('\x1b'), "{text}");
}

#[test]
fn a_root_that_is_no_directory_is_a_mistake_of_usage() {
    let host = Host::new();
    let file = host.root.path("file");
    std::fs::write(&file, "").unwrap();
    for root in [file.to_str().unwrap(), "/no/such/directory"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        let output = command.args(["--root", root, "status"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(root));
    }
}
