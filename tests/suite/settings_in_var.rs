// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside hold`, `unhold` and `switch` where `/etc` cannot be written.

use std::process::Command;

use crate::support::program_host::{ProgramHost, refusal};

const STATE: &str = "var/lib/flipside/settings.d";

/// What flipside prints in a mount namespace in which `script` was run; `None` where there is none.
fn says(host: &ProgramHost, script: &str, command: &str) -> Option<String> {
    let script = format!("{script}; exec \"$2\" -q --root \"$1\" {command}");
    let output = Command::output(&mut host.with_mounts(&script)?).unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

const READ_ONLY: &str = "mount --bind -o ro etc etc";

#[test]
fn where_etc_cannot_be_written_a_hold_outlives_the_boot_in_var() {
    for has_drop_ins in [false, true] {
        let host = ProgramHost::new();
        if has_drop_ins {
            host.set("update.read_back = true\n");
        }
        let Some(said) = says(&host, READ_ONLY, "hold --reason fair") else { return };
        assert_eq!(said, "automatic updates are held: fair\n");
        assert!(host.file(STATE).join("90-hold.toml").exists());
        let output = host.program(["update", "--automatic"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(host.codes_in_status(), ["updates-held"]);
        assert_eq!(says(&host, READ_ONLY, "unhold").unwrap(), "automatic updates go on\n");
        assert!(!host.file(STATE).join("90-hold.toml").exists());
        assert_eq!(says(&host, READ_ONLY, "unhold").unwrap(), "there was no hold\n");
        host.updates();
    }
}

#[test]
fn where_etc_cannot_be_written_another_tag_is_followed_by_a_file_in_var() {
    let host = ProgramHost::new();
    let before = format!("follows oci:{}:stable\n", host.0.track.display());
    let Some(said) = says(&host, READ_ONLY, "switch --offline r.example/a:b") else { return };
    assert_eq!(said, "follows r.example/a:b\n");
    assert!(host.file(STATE).join("90-switch.toml").exists());
    let status = host.program(["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["follows"], "r.example/a:b");
    assert_eq!(says(&host, READ_ONLY, "switch --back").unwrap(), before);
    assert!(!host.file(STATE).join("90-switch.toml").exists());
}

#[test]
fn unhold_and_switch_back_remove_both_files() {
    let host = ProgramHost::new();
    for place in ["etc/flipside/flipside.toml.d", STATE] {
        host.write(&format!("{place}/90-hold.toml"), "update.hold = true\n");
        host.write(&format!("{place}/90-switch.toml"), "track.image = \"r.example/a:b\"\n");
    }
    assert!(host.program(["unhold"]).status.success());
    assert!(host.program(["switch", "--back"]).status.success());
    for place in ["etc/flipside/flipside.toml.d", STATE] {
        for name in ["90-hold.toml", "90-switch.toml"] {
            assert!(!host.file(place).join(name).exists(), "{place}/{name}");
        }
    }
    host.updates();
}

#[test]
fn on_a_var_in_memory_a_hold_says_that_it_ends_with_the_boot() {
    let script = format!("{READ_ONLY}; mount -t tmpfs -o mode=755 tmpfs var");
    let host = ProgramHost::new();
    for (command, first) in [
        ("hold", "automatic updates are held\n"),
        ("switch --offline r.example/a:b", "follows r.example/a:b\n"),
    ] {
        let Some(said) = says(&host, &script, command) else { return };
        let rest = said.strip_prefix(first).unwrap_or_else(|| panic!("{said}"));
        assert!(rest.starts_with("this holds until the next boot: /var/lib/flipside/"), "{said}");
    }
    let json = says(&host, &script, "--json hold").unwrap();
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["hold"]["until_next_boot"], true);
}

#[test]
fn settings_in_var_decide_about_holds_and_the_tag_alone() {
    for setting in [
        "policy.signature.mode = \"off\"",
        "update.allow_downgrade = true",
        "update.automatic = \"off\"",
        "track.mirrors = []",
        "host.slots.a = \"x\"",
    ] {
        let host = ProgramHost::new();
        host.write(&format!("{STATE}/10-x.toml"), format!("\n{setting}\n"));
        let sentence = refusal(&host.program(["update"]), 1, "config-invalid");
        let key = setting.split(' ').next().unwrap();
        assert!(sentence.contains("10-x.toml, line 2: ") && sentence.contains(key), "{sentence}");
    }
}
