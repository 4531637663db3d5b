// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two slots, two flipsides: what the later one wrote is read, and kept, by the older one after a
//! fall-back. The older one is this program; the later one is played by fields and keys that do not
//! exist.

use std::fs;

use serde_json::json;

use crate::support::documents;
use crate::support::program_host::{ProgramHost, refusal};

/// Settings in `/etc`, which both slots share, of a flipside that knows more.
const LATER_SETTINGS: &str = "[track]\nprefetch = true\n\
     [telemetry]\nurl = \"https://t.example.com\"\nlevels = [1, 2]\n\
     [trial.early]\nafter = \"1min\"\n";

const ESP: &str = "efi/EFI/flipside";

fn document(host: &ProgramHost, file: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(host.file(file)).unwrap()).unwrap()
}

/// Adds fields to a document, as the later flipside would.
fn add(host: &ProgramHost, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let mut now = document(host, file);
    change(&mut now);
    host.write(file, serde_json::to_vec(&now).unwrap());
}

#[test]
fn keys_of_a_later_flipside_stop_no_command_that_judges_a_boot() {
    let host = ProgramHost::new();
    host.updates();
    host.set(LATER_SETTINGS);
    // The firmware started the trial, and the program in the new slot is this one.
    assert_eq!(host.boot(), "booted slot B: 2 (promoted)");
    for command in ["promote", "health", "trial-deadline"] {
        let output = host.program([command]);
        assert!(output.status.success(), "{output:?}");
    }
    assert!(host.program(["rollback"]).status.success());
    assert_eq!(host.boot(), "booted slot A: 1 (promoted)");
}

#[test]
fn keys_of_a_later_flipside_are_told_and_stop_every_update() {
    let host = ProgramHost::new();
    host.set(LATER_SETTINGS);
    let before = host.snapshot();
    for command in ["update", "update --automatic", "check"] {
        let sentence = refusal(&host.program(command.split(' ')), 1, "config-unknown-key");
        assert!(sentence.contains("unknown key telemetry"), "{command}: {sentence}");
    }
    // Without --quiet, which leaves out warnings.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(command.arg("--root").arg(host.0.path()).arg("promote"));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    for key in ["line 2: unknown key track.prefetch", "unknown key telemetry", "trial.early"] {
        assert!(told.contains(key), "{told}");
    }
    host.assert_unchanged_since(&before, "unknown keys");
}

/// A known key with a value that means nothing is a mistake, and no newer version.
#[test]
fn a_known_key_with_an_impossible_value_stops_every_command() {
    let host = ProgramHost::new();
    host.set("boot.backend = \"later\"\n");
    for command in ["promote", "rollback", "health", "update"] {
        refusal(&host.program([command]), 1, "config-invalid");
    }
}

#[test]
fn what_a_later_flipside_wrote_survives_a_fall_back_a_promote_and_a_rollback() {
    let host = ProgramHost::new();
    host.updates();
    let extra = json!({"seen": [1, {"a": null}], "by": "later"});
    add(&host, &format!("{ESP}/slot-a.json"), |record| record["later"] = extra.clone());
    add(&host, "var/lib/flipside/state.json", |entry| entry["later"] = extra.clone());
    host.write(
        &format!("{ESP}/failed.json"),
        json!({"trials": [], "later": extra, "left_by_rollback": null}).to_string(),
    );
    // The trial of slot B fails, and the older flipside in slot A counts it.
    let boot = |fail: bool| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.args(["sim", "boot"]).args(fail.then_some("--fail")).arg(host.0.path());
        assert!(documents::output(&mut command).status.success());
    };
    boot(true);
    boot(false);
    let failed = document(&host, &format!("{ESP}/failed.json"));
    assert_eq!(failed["trials"][0]["attempts"], 1, "{failed}");
    assert_eq!(failed["later"], extra);
    add(&host, &format!("{ESP}/failed.json"), |failed| {
        failed["trials"][0]["later"] = extra.clone()
    });
    // It is tried again, promoted, and left by a rollback.
    host.updates();
    boot(false);
    assert!(host.program(["rollback"]).status.success());
    boot(false);
    let failed = document(&host, &format!("{ESP}/failed.json"));
    assert_eq!(failed["later"], extra, "{failed}");
    assert!(failed["left_by_rollback"].is_string(), "{failed}");
    assert_eq!(document(&host, &format!("{ESP}/slot-a.json"))["later"], extra);
    assert_eq!(document(&host, "var/lib/flipside/state.json")["later"], extra);
    assert!(host.program(["promote"]).status.success());
}

#[test]
fn what_a_later_flipside_added_to_a_failed_digest_stays_with_it() {
    let host = ProgramHost::new();
    host.updates();
    let fall_back = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.args(["sim", "boot", "--fail"]).arg(host.0.path());
        assert!(documents::output(&mut command).status.success());
        assert_eq!(host.boot(), "booted slot A: 1 (fell back)");
    };
    fall_back();
    let file = format!("{ESP}/failed.json");
    add(&host, &file, |failed| failed["trials"][0]["unarmed"] = json!(7));
    host.updates();
    fall_back();
    let trial = &document(&host, &file)["trials"][0];
    assert_eq!((&trial["attempts"], &trial["unarmed"]), (&json!(2), &json!(7)), "{trial}");
}
