// SPDX-License-Identifier: MIT OR Apache-2.0

//! Configuration files of a host, read by the library and by the program.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use flipside::config::form::Address;
use flipside::config::{Config, ConfigError};
use flipside_core::host::Root;
use flipside_image::code::Coded as _;

use crate::support::documents;

fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => std::fs::write(path, text).unwrap(),
        }
    }
    let root = Root::new(directory.path());
    (directory, root)
}

#[test]
fn a_host_without_files_has_the_defaults() {
    let (_directory, root) = host(&[]);
    assert_eq!(Config::load(&root).unwrap(), Config::default());
}

#[test]
fn the_first_file_and_all_drop_ins_are_merged_key_by_key() {
    let (_directory, root) = host(&[
        ("usr/lib/flipside/flipside.toml", "track.image = 'vendor'\ntrial.attempts = 9\n"),
        (
            "etc/flipside/flipside.toml",
            "[track]\nimage = 'own'\nmirrors = ['a', 'b']\nca = ['/x']\n[host.slots]\na = 'one'\n",
        ),
        ("usr/lib/flipside/flipside.toml.d/10-a.toml", "track.mirrors = ['c']\n"),
        ("run/flipside/flipside.toml.d/20-b.toml", "health.timeout = '2s'\n"),
        ("usr/lib/flipside/flipside.toml.d/20-b.toml", "track.image = 'masked-by-run'\n"),
        ("usr/lib/flipside/flipside.toml.d/30-c.toml", "track.image = 'masked by etc'\n"),
        ("etc/flipside/flipside.toml.d/30-c.toml", "-> /dev/null"),
        ("usr/lib/flipside/flipside.toml.d/40-d.toml", "trial.attempts = 5\n"),
        ("etc/flipside/flipside.toml.d/40-d.toml", "# Nothing of the vendor's.\n"),
        ("etc/flipside/flipside.toml.d/50-e.toml", "-> ../elsewhere"),
        ("etc/flipside/elsewhere", "update.read_back = false\n"),
        ("etc/flipside/flipside.toml.d/60-f.toml~", "not = 'read'\n"),
        ("etc/flipside/flipside.toml.d/.60.toml", "not = 'read'\n"),
    ]);
    let config = Config::load(&root).unwrap();
    assert_eq!(config.track.image.as_deref(), Some("own"));
    assert_eq!(config.track.mirrors, [Address("c".into())]);
    assert_eq!(config.track.ca.len(), 1);
    assert_eq!(config.host.slots.a, "one");
    assert_eq!(*config.health.timeout, Duration::from_secs(2));
    assert_eq!(config.trial.attempts, 2);
    assert!(!config.update.read_back);
}

#[test]
fn a_masked_main_file_leaves_the_drop_ins() {
    let (_directory, root) = host(&[
        ("usr/lib/flipside/flipside.toml", "track.image = 'vendor'\n"),
        ("etc/flipside/flipside.toml", "-> /dev/null"),
        ("etc/flipside/flipside.toml.d/1.toml", "trial.attempts = 3\n"),
    ]);
    let config = Config::load(&root).unwrap();
    assert_eq!((config.track.image, config.trial.attempts), (None, 3));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let dangling = [("etc/flipside/flipside.toml.d/1.toml", "-> gone")];
    let directory = [("etc/flipside/flipside.toml/x", "")];
    let drop_in = [("etc/flipside/flipside.toml.d/1.toml/x", "")];
    for files in [dangling, directory, drop_in] {
        let (_directory, root) = host(&files);
        let error = Config::load(&root).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
        assert_eq!(error.code().name(), "file-unreadable");
    }
}

#[test]
fn a_fifo_in_the_place_of_a_file_does_not_hang() {
    let (directory, root) = host(&[("etc/flipside/flipside.toml.d/x", "")]);
    let fifo = directory.path().join("etc/flipside/flipside.toml.d/1.toml");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    assert_eq!(Config::load(&root).unwrap_err().code().name(), "file-unreadable");
}

#[test]
fn a_mistake_in_a_file_that_is_overridden_is_still_found() {
    let (_directory, root) = host(&[
        ("etc/flipside/flipside.toml", "\ntrial.attempts = 0\n"),
        ("etc/flipside/flipside.toml.d/1.toml", "trial.attempts = 3\n"),
    ]);
    let error = Config::load(&root).unwrap_err();
    assert!(error.to_string().contains("flipside.toml, line 2: "), "{error}");
}

#[test]
fn the_program_names_file_line_and_nearest_key() {
    let (_directory, root) = host(&[("etc/flipside/flipside.toml", "[track]\nimgae = 'x'\n")]);
    let flipside = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        documents::output(command.arg("--root").arg(root.directory()).args(arguments))
    };
    let output = flipside(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let file = root.path("etc/flipside/flipside.toml").canonicalize().unwrap();
    let expected = format!(
        "flipside: {}, line 2: unknown key track.imgae; the nearest valid key is track.image \
         [config-unknown-key]\n",
        file.display()
    );
    assert_eq!(stderr, expected);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["code"], "config-unknown-key");
    assert_eq!(document["error"]["severity"], "error");
}

#[test]
fn the_labels_of_every_payload_are_printed_for_an_initrd() {
    let labels = |settings: &str, options: &[&str]| {
        let (directory, _) = host(&[("etc/flipside/flipside.toml", settings)]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(directory.path()).arg("labels").args(options);
        let output = documents::output(&mut command);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (_, text, _) = labels("", &[]);
    assert_eq!(text, "system\tsystem-a\tsystem-b\n");
    let settings = "[host]\nslots = { a = 'one', b = 'the other' }\npayloads.verity = { a = 'v1', b = 'v2' }\n";
    let (_, text, _) = labels(settings, &[]);
    assert_eq!(text, "system\tone\tthe other\nverity\tv1\tv2\n");
    let (_, text, _) = labels(settings, &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["labels"]["verity"]["b"], "v2");
    for label in ["'ä'", "'a\u{a0}b'"] {
        let (is_done, _, said) = labels(&format!("host.slots.a = {label}"), &[]);
        assert!(!is_done && said.contains("[label-unsuitable]"), "{label}: {said}");
    }
    let (is_done, _, said) = labels("nonsense", &[]);
    assert!(!is_done && said.contains("[config-invalid]"), "{said}");
}
