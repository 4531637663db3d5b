// SPDX-License-Identifier: MIT OR Apache-2.0

//! What went wrong with the lock, with keys, hooks, health checks and settings lets nothing through.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::support::keys::new_key;
use crate::support::program_host::{ProgramHost, refusal};

const LOCK: &str = "run/flipside/lock";
const HOOKS: &str = "etc/flipside/hooks/pre-upgrade.d";
const VENDORS_HOOKS: &str = "usr/lib/flipside/hooks/pre-upgrade.d";
const BLOCKING: &str = "#!/bin/sh\necho never\nexit 1\n";

fn set_mode(host: &ProgramHost, name: &str, mode: u32) {
    fs::set_permissions(host.file(name), Permissions::from_mode(mode)).unwrap();
}

fn put(host: &ProgramHost, name: &str, text: &str, mode: u32) {
    host.write(name, text);
    set_mode(host, name, mode);
}

/// `flock` as the user nobody, until its stdin ends; `None` where that takes root.
fn held_by_nobody(host: &ProgramHost) -> Option<Child> {
    if fs::metadata(host.0.path()).unwrap().uid() != 0 {
        println!("skipped: only root can become another user");
        return None;
    }
    // Temporary directories are their owner's.
    fs::set_permissions(host.0.directory.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("flock");
    command.arg("--nonblock").arg(host.file(LOCK)).args(["sh", "-c", "echo held; read x"]);
    command.uid(65534).gid(65534).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    Some(child)
}

#[test]
fn a_lock_that_any_user_holds_stops_neither_an_update_nor_a_promotion() {
    let host = ProgramHost::new();
    put(&host, LOCK, "", 0o644);
    let Some(mut nobody) = held_by_nobody(&host) else { return };
    host.updates();
    assert_eq!(fs::metadata(host.file(LOCK)).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(host.boot(), "booted slot B: 2 (promoted)");
    drop(nobody.stdin.take());
    nobody.wait().unwrap();
}

#[test]
fn nobody_else_can_open_the_lock() {
    let host = ProgramHost::new();
    assert_eq!(fs::metadata(host.file(LOCK)).unwrap().mode() & 0o7777, 0o600);
    fs::set_permissions(host.file(LOCK), Permissions::from_mode(0o666)).unwrap();
    host.updates();
    assert_eq!(fs::metadata(host.file(LOCK)).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn who_holds_the_lock_is_told_with_its_pid() {
    let host = ProgramHost::new();
    for mode in [0o600, 0o644] {
        let lock = fs::File::open(host.file(LOCK)).unwrap();
        set_mode(&host, LOCK, mode);
        lock.lock().unwrap();
        let sentence = host.refuses(75, "locked");
        assert!(sentence.ends_with(&format!(" (PID {})", std::process::id())), "{sentence}");
    }
    host.updates();
}

#[test]
fn a_run_directory_that_others_can_write_is_refused() {
    let host = ProgramHost::new();
    set_mode(&host, "run/flipside", 0o777);
    let sentence = host.refuses(1, "lock-unusable");
    assert!(sentence.contains("run/flipside can be changed by others"), "{sentence}");
    set_mode(&host, "run/flipside", 0o755);
    host.updates();
}

#[test]
fn whatever_is_no_key_among_the_keys_stops_updates() {
    let pem = new_key().public().to_pem();
    type Spoil = fn(&ProgramHost, &str);
    let cases: [(&str, Spoil, &str); 12] = [
        (
            "another case",
            |h, pem| h.write("etc/flipside/keys/x.PUB", pem),
            "signature-key-unusable",
        ),
        (
            "another ending",
            |h, pem| h.write("etc/flipside/keys/x.pem", pem),
            "signature-key-unusable",
        ),
        ("no ending", |h, pem| h.write("usr/lib/flipside/keys/x", pem), "signature-key-unusable"),
        ("hidden", |h, pem| h.write("etc/flipside/keys/.x.pub", pem), "signature-key-unusable"),
        ("a backup", |h, pem| h.write("etc/flipside/keys/x.pub~", pem), "signature-key-unusable"),
        ("empty", |h, _| h.write("etc/flipside/keys/x.pub", ""), "signature-key-unusable"),
        (
            "a directory",
            |h, pem| h.write("etc/flipside/keys/more/x.pub", pem),
            "signature-key-unusable",
        ),
        ("a file named keys", |h, pem| h.write("etc/flipside/keys", pem), "file-unreadable"),
        (
            "a link that leads nowhere",
            |h, _| {
                fs::create_dir_all(h.file("etc/flipside")).unwrap();
                symlink("../gone", h.file("etc/flipside/keys")).unwrap();
            },
            "file-unreadable",
        ),
        (
            "for the group to write",
            |h, pem| put(h, "etc/flipside/keys/x.pub", pem, 0o664),
            "signature-key-unusable",
        ),
        (
            "for all to write",
            |h, pem| put(h, "usr/lib/flipside/keys/x.pub", pem, 0o646),
            "signature-key-unusable",
        ),
        (
            "in a directory for all to write",
            |h, _| {
                fs::create_dir_all(h.file("etc/flipside/keys")).unwrap();
                set_mode(h, "etc/flipside/keys", 0o777);
            },
            "file-untrusted",
        ),
    ];
    for (case, spoil, code) in cases {
        let host = ProgramHost::new();
        spoil(&host, &pem);
        let sentence = host.refuses(1, code);
        assert!(sentence.contains("keys"), "{case}: {sentence}");
        host.boots_as_before();
    }
}

#[test]
fn a_key_that_belongs_to_another_user_stops_updates() {
    let host = ProgramHost::new();
    put(&host, "etc/flipside/keys/x.pub", &new_key().public().to_pem(), 0o644);
    let key = host.file("etc/flipside/keys/x.pub");
    if std::os::unix::fs::chown(key, Some(65534), None).is_err() {
        return println!("skipped: only root can give a file away");
    }
    let sentence = host.refuses(1, "signature-key-unusable");
    assert!(sentence.contains("belongs to user 65534"), "{sentence}");
}

/// A link to a link: who can replace the one in the middle brings a key of his own.
#[test]
fn a_key_that_is_reached_through_a_directory_of_others_stops_updates() {
    let host = ProgramHost::new();
    put(&host, "opt/x.pub", &new_key().public().to_pem(), 0o644);
    for directory in ["srv", "etc/flipside/keys"] {
        fs::create_dir_all(host.file(directory)).unwrap();
    }
    symlink("../opt/x.pub", host.file("srv/x.pub")).unwrap();
    symlink("../../../srv/x.pub", host.file("etc/flipside/keys/x.pub")).unwrap();
    host.refuses(1, "signature-missing");
    set_mode(&host, "srv", 0o777);
    let sentence = refusal(&host.program(["update"]), 1, "signature-key-unusable");
    assert!(sentence.contains("/srv can be changed by others"), "{sentence}");
}

#[test]
fn certificates_and_credentials_that_others_can_write_are_not_used() {
    for (setting, file) in [
        ("ca = [\"/srv/x\"]", "srv/x"),
        ("client_cert = \"/srv/x\"\nclient_key = \"/srv/absent\"", "srv/x"),
        ("client_cert = \"/srv/absent\"\nclient_key = \"/srv/x\"", "srv/x"),
        ("auth_file = \"/srv/x\"", "srv/x"),
        ("", "etc/flipside/auth.json"),
        ("", "run/flipside/auth.json"),
    ] {
        let host = ProgramHost::new();
        let settings = host.file("etc/flipside/flipside.toml.d/50-tls.toml");
        fs::create_dir_all(settings.parent().unwrap()).unwrap();
        fs::write(&settings, format!("[track]\n{setting}\n")).unwrap();
        put(&host, file, "{}", 0o660);
        let sentence = host.refuses(1, "file-untrusted");
        assert!(sentence.contains(file) && sentence.contains("chmod go-w"), "{sentence}");
        host.boots_as_before();
        put(&host, file, "{}", 0o600);
        // What is absent is no matter until it is needed, and this source is a directory.
        host.updates();
    }
}

/// Who can write a directory can take away what stood in it.
#[test]
fn nothing_is_missing_where_others_could_have_taken_it_away() {
    for (directory, code) in [
        ("etc/flipside", "file-untrusted"),
        ("usr/lib/flipside", "file-untrusted"),
        ("etc/flipside/hooks", "hook-failed"),
        ("usr/lib/flipside/hooks", "hook-failed"),
    ] {
        let host = ProgramHost::new();
        // Nothing of flipside's is left in /etc.
        fs::create_dir_all(host.file("usr/lib/flipside")).unwrap();
        let settings = host.file("usr/lib/flipside/flipside.toml");
        fs::rename(host.file("etc/flipside/flipside.toml"), settings).unwrap();
        fs::create_dir_all(host.file(directory)).unwrap();
        set_mode(&host, directory, 0o777);
        let before = host.snapshot();
        let sentence = refusal(&host.program(["update"]), 1, code);
        assert!(sentence.contains(directory) && sentence.contains("chmod go-w"), "{sentence}");
        host.assert_unchanged_since(&before, directory);
        set_mode(&host, directory, 0o755);
        host.updates();
    }
}

#[test]
fn settings_in_a_file_of_another_case_count() {
    let host = ProgramHost::new();
    let name = "etc/flipside/flipside.toml.d/10-sign.TOML";
    host.write(name, "policy.signature.mode = \"require\"\n");
    host.refuses(1, "signature-keys-missing");
}

#[test]
fn a_hook_that_cannot_be_asked_blocks() {
    let cases: [(&str, &str, u32, &str); 6] = [
        ("10-check", BLOCKING, 0o644, "is not executable"),
        ("10-check", "", 0o644, "is empty"),
        ("10-check", "", 0o755, "is empty"),
        ("10-check", "#!/bin/sh\nexit 0\n", 0o775, "its mode is 0775"),
        ("10-check", "#!/bin/sh\nexit 0\n", 0o757, "its mode is 0757"),
        ("10-check/inside", "", 0o755, "not a regular file"),
    ];
    for (name, text, mode, said) in cases {
        let host = ProgramHost::new();
        put(&host, &format!("{HOOKS}/{name}"), text, mode);
        put(&host, &format!("{HOOKS}/README.md"), "words", 0o644);
        let sentence = host.refuses(1, "hook-failed");
        assert!(
            sentence.contains("hook 10-check cannot be asked") && sentence.contains(said),
            "{sentence}"
        );
        fs::remove_dir_all(host.file(HOOKS)).unwrap();
        put(&host, &format!("{HOOKS}/README.md"), "words", 0o644);
        host.updates();
    }
}

#[test]
fn hooks_of_a_directory_that_others_can_write_block() {
    let host = ProgramHost::new();
    put(&host, &format!("{HOOKS}/10-check"), "#!/bin/sh\nexit 0\n", 0o755);
    for directory in [HOOKS, "etc/flipside/hooks"] {
        set_mode(&host, directory, 0o777);
        let sentence = host.refuses(1, "hook-failed");
        assert!(sentence.contains("chmod go-w"), "{sentence}");
        set_mode(&host, directory, 0o755);
    }
    host.updates();
}

#[test]
fn only_a_link_to_null_masks_a_hook_and_the_list_says_so() {
    let host = ProgramHost::new();
    put(&host, &format!("{VENDORS_HOOKS}/10-vendor"), BLOCKING, 0o755);
    host.write(&format!("{HOOKS}/10-vendor"), "");
    host.refuses(1, "hook-failed");
    let list = |host: &ProgramHost| {
        let output = host.program(["hooks", "list"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        list(&host).contains("10-vendor  (blocks every update: it is empty; a link to /dev/null")
    );
    fs::remove_file(host.file(format!("{HOOKS}/10-vendor"))).unwrap();
    symlink("/dev/null", host.file(format!("{HOOKS}/10-vendor"))).unwrap();
    let said = list(&host);
    assert!(said.ends_with("etc/flipside/hooks/pre-upgrade.d/10-vendor  (not asked: a link to /dev/null masks it)\n"), "{said}");
    host.updates();
}

#[test]
fn a_required_health_check_that_cannot_be_asked_has_failed() {
    for (mode, said) in [(0o644, "it is not executable"), (0o757, "its mode is 0757")] {
        let host = ProgramHost::new();
        let check = "usr/lib/flipside/health.d/required/10-web";
        put(&host, check, "#!/bin/sh\nexit 0\n", mode);
        put(&host, "usr/lib/flipside/health.d/required/README", "words", 0o644);
        let sentence = refusal(&host.program(["health"]), 1, "health-failed");
        assert!(sentence.contains("required health check 10-web cannot be run: "), "{sentence}");
        assert!(sentence.contains(said), "{sentence}");
        set_mode(&host, check, 0o755);
        assert!(host.program(["health"]).status.success());
    }
}

#[test]
fn settings_that_others_can_write_are_not_used() {
    let drop_in = "etc/flipside/flipside.toml.d/50-test.toml";
    for (name, mode) in [
        (drop_in, 0o664),
        (drop_in, 0o646),
        ("etc/flipside/flipside.toml.d", 0o777),
        ("etc/flipside/flipside.toml", 0o666),
        ("etc/flipside", 0o775),
        ("etc", 0o757),
    ] {
        let host = ProgramHost::new();
        host.set("update.read_back = true\n");
        host.follow(&format!("oci:{}:stable", host.0.track.display()), "");
        let before = host.snapshot();
        set_mode(&host, name, mode);
        let sentence = refusal(&host.program(["update"]), 1, "file-untrusted");
        assert!(sentence.contains(name) && sentence.contains("chmod go-w"), "{sentence}");
        host.assert_unchanged_since(&before, name);
        set_mode(&host, name, if host.file(name).is_dir() { 0o755 } else { 0o644 });
        host.updates();
    }
}

/// With `/run` a service with a writable directory there, or a mistake in a generator, could let
/// anything be installed.
#[test]
fn files_in_run_decide_nothing_that_protects_the_host() {
    for setting in [
        "policy.signature.mode = \"off\"",
        "policy.document = \"off\"",
        "policy.min_version = \"1\"",
        "policy.hooks.timeout = \"1s\"",
        "host.slots.a = \"x\"",
        "host.esp = \"/x\"",
        "host.compatible = []",
        "boot.backend = \"uefi\"",
        "update.allow_downgrade = true",
        "track.ca = [\"/x\"]",
    ] {
        for file in ["flipside.toml", "flipside.toml.d/10-run.toml"] {
            let host = ProgramHost::new();
            let _ = fs::remove_file(host.file("etc/flipside/flipside.toml"));
            host.write(&format!("run/flipside/{file}"), format!("\n{setting}\n"));
            let sentence = refusal(&host.program(["update"]), 1, "config-invalid");
            let key = setting.split(' ').next().unwrap();
            assert!(sentence.contains(&format!("{file}, line 2: {key} ")), "{sentence}");
        }
    }
}

#[test]
fn files_in_run_hide_nothing_that_protects_the_host() {
    let drop_in = "flipside/flipside.toml.d/10-sign.toml";
    for text in ["trial.attempts = 3\n", "-> /dev/null"] {
        let host = ProgramHost::new();
        host.write(&format!("usr/lib/{drop_in}"), "policy.signature.mode = \"require\"\n");
        host.refuses(1, "signature-keys-missing");
        let path = host.file(format!("run/{drop_in}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
        host.refuses(1, "signature-keys-missing");
        // The administrator may.
        host.write(&format!("etc/{drop_in}"), "policy.signature.mode = \"auto\"\n");
        host.updates();
    }
}

#[test]
fn an_empty_file_does_not_hide_settings_unnoticed() {
    let drop_in = "flipside/flipside.toml.d/10-sign.toml";
    let host = ProgramHost::new();
    host.write(&format!("usr/lib/{drop_in}"), "policy.signature.mode = \"require\"\n");
    host.write(&format!("etc/{drop_in}"), "");
    let sentence = refusal(&host.program(["update"]), 1, "config-invalid");
    assert!(sentence.contains("10-sign.toml") && sentence.contains("/dev/null"), "{sentence}");
    fs::remove_file(host.file(format!("etc/{drop_in}"))).unwrap();
    host.refuses(1, "signature-keys-missing");
    symlink("/dev/null", host.file(format!("etc/{drop_in}"))).unwrap();
    host.updates();
}
