// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside health`: what checks decide over a trial (P7), and over a boot that is none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use crate::support::images::ImageBuilder;
use crate::support::program_host::{ProgramHost, refusal};

/// Puts a check where the vendor's are, or where the administrator's are.
fn put(host: &ProgramHost, level: &str, name: &str, script: &str) {
    let name = format!("{level}/flipside/health.d/{name}");
    host.write(&name, script);
    fs::set_permissions(host.file(&name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn failing(reason: &str) -> String {
    format!("#!/bin/sh\necho {reason}\nexit 1\n")
}

const GOOD: &str = "#!/bin/sh\necho fine\n";

/// Slot B runs 2 on trial.
fn on_trial() -> ProgramHost {
    let host = ProgramHost::new();
    host.updates();
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    host
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn p7_a_required_check_that_fails_ends_a_trial_at_once() {
    let host = on_trial();
    put(&host, "etc", "required/20-net", &failing("no route to the world"));
    put(&host, "etc", "required/30-later", "#!/bin/sh\ntouch \"$FLIPSIDE_ROOT/asked\"\n");
    let sentence = refusal(&host.program(["health"]), 1, "health-failed");
    assert_eq!(
        sentence,
        "required health check 20-net failed: no route to the world: 2 in slot B has failed its \
         trial, slot A boots next"
    );
    assert!(!host.file("asked").exists(), "nothing is asked any more");
    // One trial, and never again: the old slot makes the boot file unbootable, and says why.
    assert_eq!(host.0.boot(), "A 1 fell back");
    let boot_file = fs::read(host.file("efi/EFI/flipside/boot-b.efi")).unwrap_or_default();
    assert!(boot_file.iter().take(512).all(|byte| *byte == 0));
    let status = json(&host.program(["status", "--json"]));
    let reason = "required health check 20-net failed: no route to the world";
    assert_eq!(status.pointer("/failed/0/reason").unwrap(), reason);
    assert_eq!(status.pointer("/failed/0/attempts").unwrap(), 1);
    refusal(&host.program(["update"]), 1, "digest-failed");
    // What is on offer and was refused is no "up to date"; whoever logs in is told.
    let status = json(&host.program(["status", "--json"]));
    assert_eq!(status.pointer("/last_check/result").unwrap(), "available");
    let motd = fs::read_to_string(host.file("run/motd.d/flipside")).unwrap();
    assert!(motd.starts_with("flipside: 2 failed on this host"), "{motd}");
    let history = String::from_utf8(host.program(["history", "--json"]).stdout).unwrap();
    assert!(history.contains(reason) && history.contains("fell-back"), "{history}");
    // An operator may have it tried again.
    assert!(host.program(["retry", "--all"]).status.success());
    host.updates();
    assert_eq!(host.0.boot(), "B 2 promoted");
}

#[test]
fn the_old_slot_boots_next_whatever_the_firmware_did_to_the_order() {
    let host = on_trial();
    put(&host, "etc", "required/10", &failing("broken"));
    // Firmware that puts first what it booted, and keeps BootNext.
    let variable = |name: &str| {
        host.file(format!("sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
    };
    let order = fs::read(variable("BootOrder")).unwrap();
    let current = fs::read(variable("BootCurrent")).unwrap()[4..].to_vec();
    let others = order[4..].chunks(2).filter(|number| *number != current).flatten();
    let moved: Vec<u8> = order[..4].iter().chain(&current).chain(others).copied().collect();
    fs::write(variable("BootOrder"), moved).unwrap();
    fs::write(variable("BootNext"), [&[7, 0, 0, 0], &current[..]].concat()).unwrap();
    refusal(&host.program(["health"]), 1, "health-failed");
    assert_eq!(host.0.boot(), "A 1 fell back");
}

/// The old slot's boot file may be revoked by Secure Boot, or the firmware may not keep an order.
#[test]
fn a_failed_trial_that_boots_again_is_not_rebooted_for_ever() {
    let host = on_trial();
    put(&host, "etc", "required/10", &failing("broken"));
    let variable = |name: &str| {
        host.file(format!("sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
    };
    let next = [&[7, 0, 0, 0], &fs::read(variable("BootCurrent")).unwrap()[4..]].concat();
    for expected in ["slot A boots next", "slot A boots next", "broken", "broken"] {
        if expected == "broken" {
            fs::write(variable("BootNext"), &next).unwrap();
            assert_eq!(host.0.boot_and_fail(), "B 2 trial");
        }
        // Within one boot it may be asked again.
        let sentence = refusal(&host.program(["health"]), 1, "health-failed");
        assert!(sentence.ends_with(expected), "{sentence}");
    }
    let deadline = host.program(["trial-deadline"]).stdout;
    assert_eq!(String::from_utf8(deadline).unwrap(), "nothing to do: this boot is no trial\n");
    assert_eq!(host.0.boot(), "A 1 fell back");
    refusal(&host.program(["update"]), 1, "digest-failed");
}

#[test]
fn outside_of_a_trial_a_failure_is_only_told() {
    let host = ProgramHost::new();
    put(&host, "etc", "required/10-first", &failing("one"));
    put(&host, "usr/lib", "required/20-second", &failing("two"));
    put(&host, "usr/lib", "required/30-slow", "#!/bin/sh\nsleep 60\n");
    put(&host, "usr/lib", "required/40-killed", "#!/bin/sh\nkill -9 $$\n");
    put(&host, "etc", "wanted/10", GOOD);
    host.set("health.timeout = \"200ms\"\n");
    let before = host.snapshot();
    let output = host.program(["health", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    host.assert_unchanged_since(&before, "no trial");
    let document = json(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("check 10-first failed: one [health-failed]\n"), "{said}");
    let failures: Vec<_> = document["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["check"].as_str().unwrap(), a["failure"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        failures,
        [
            ("10-first", "failed: one"),
            ("20-second", "failed: two"),
            ("30-slow", "did not end within 200ms"),
            ("40-killed", "was ended by signal 9"),
            ("10", ""),
        ]
    );
    assert_eq!(document["health"], "failed");
    host.boots_as_before();
}

#[test]
fn wanted_checks_and_masked_ones_decide_nothing() {
    let host = on_trial();
    put(&host, "usr/lib", "required/10-masked", &failing("never asked"));
    put(&host, "usr/lib", "required/20-replaced", &failing("never asked"));
    put(&host, "etc", "required/20-replaced", GOOD);
    put(&host, "etc", "wanted/10", &failing("a pity"));
    std::os::unix::fs::symlink("/dev/null", host.file("etc/flipside/health.d/required/10-masked"))
        .unwrap();
    let output = host.program(["health"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "required  20-replaced  good: fine\nwanted  10  failed: failed: a pity\n");
    assert_eq!(host.0.promote(), flipside::run::Promotion::Promoted(flipside_core::host::Slot::B));
}

#[test]
fn a_check_knows_what_it_judges() {
    let host = on_trial();
    put(&host, "etc", "required/10", "#!/bin/sh\nenv | grep ^FLIPSIDE_ | sort\nexit 0\n");
    put(&host, "etc", "required/20", "#!/bin/sh\nenv >\"$FLIPSIDE_ROOT/environment\"\n");
    assert!(host.program(["health"]).status.success());
    let text = fs::read_to_string(host.file("environment")).unwrap();
    for line in ["FLIPSIDE_HEALTH=required", "FLIPSIDE_TRIAL=1", "FLIPSIDE_RUNNING_SLOT=b"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(text.contains("FLIPSIDE_RUNNING_VERSION=2\n"));
    assert!(text.contains("FLIPSIDE_RUNNING_DIGEST=sha256:"));
}

#[test]
fn the_first_system_of_a_disk_has_nothing_to_go_back_to() {
    let host = ProgramHost(crate::support::host::TestHost::unproven(&ImageBuilder::new("1")));
    put(&host, "etc", "required/10", &failing("broken"));
    let before = host.snapshot();
    let sentence = refusal(&host.program(["health"]), 1, "health-failed");
    assert_eq!(sentence, "required health check 10 failed: broken");
    host.assert_unchanged_since(&before, "nothing is recorded");
}
