// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a failed trial leaves, from a real journal file, and who is told that it is there.

use std::process::Command;

use flipside::report::journal::Kind;
use flipside::report::trial_log::{self, KeptLogs, Trial};
use flipside_core::host::durable::Durable;
use flipside_core::host::{Files, Root, Slot};
use flipside_image::Digest;
use serde_json::Value;

use crate::support::journald::Journald;
use crate::support::program_host::{ProgramHost, refusal};

const JOURNAL: &[u8] = include_bytes!("../fixtures/journal-three-boots/system.journal.zst");
/// The boot that arms, in the journal above, and those after it.
const ARMS: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
const TRIES: &str = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";
const IS_BACK: &str = "cccccccc-cccc-cccc-cccc-cccccccccccc";

fn has_journalctl() -> bool {
    let found = Command::new("journalctl").arg("--version").output().is_ok();
    if !found {
        println!("skipped: there is no journalctl here");
    }
    found
}

/// Gives the host in `root` a persistent journal, of whatever machine ID.
fn put_journal(root: &Root) {
    let directory = root.path("/var/log/journal/0123456789abcdef0123456789abcdef");
    std::fs::create_dir_all(&directory).unwrap();
    let journal = zstd::decode_all(JOURNAL).unwrap();
    std::fs::write(directory.join("system.journal"), journal).unwrap();
}

/// 2 was armed in B in the first of the journal's boots, did not come up, and A runs.
fn fallen_back() -> ProgramHost {
    let host = ProgramHost::new();
    host.updates();
    let state = host.file("var/lib/flipside/state.json");
    let mut entry: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    entry["boot_id"] = ARMS.into();
    entry["time"] = "2026-11-18T11:06:43Z".into();
    std::fs::write(&state, entry.to_string()).unwrap();
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    assert_eq!(host.0.boot_and_fail(), "A 1 fell back");
    host.write("proc/sys/kernel/random/boot_id", format!("{IS_BACK}\n"));
    host
}

fn text(host: &ProgramHost, arguments: &[&str]) -> String {
    let output = host.program(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_old_slot_keeps_the_journal_and_the_last_words_of_a_trial_that_fell_back() {
    if !has_journalctl() {
        return;
    }
    let host = fallen_back();
    refusal(&host.program(["history", "--log"]), 1, "trial-log-absent");
    put_journal(&Root::new(host.0.path()));
    host.write("sys/fs/pstore/dmesg-efi_pstore-1", "Kernel panic\x1b - not syncing");
    text(&host, &["promote"]);

    let digest = host.0.status().slot(Slot::B).unwrap().digest.unwrap();
    for which in [&["history", "--log"][..], &["history", "--log", "2"]] {
        let shown = text(&host, which);
        let head = format!("-- 2 ({}) in slot B: 1 trial was started and", digest.short());
        assert!(shown.starts_with(&head), "{shown}");
        let begin = shown.find("kernel[1]: Linux version 6.12.48 (trial)").unwrap();
        let cause = shown.find("mount[1]: mount: /data: can't find LABEL=data.").unwrap();
        let panic = shown.find("Kernel panic - not syncing").unwrap();
        assert!(begin < cause && cause < panic, "{shown}");
        assert!(!shown.contains("multi-user.target") && !shown.contains("(old)"), "{shown}");
    }
    let log: Value =
        serde_json::from_str(&text(&host, &["history", "--log", &digest.short(), "--json"]))
            .unwrap();
    assert_eq!((&log["digest"], &log["slot"]), (&digest.to_string().into(), &"b".into()));
    assert_eq!(log["boot_id"], TRIES.replace('-', ""));
    let history: Value = serde_json::from_str(&text(&host, &["history", "--json"])).unwrap();
    assert_eq!(history["logs"][0]["version"], "2");
    let hint = format!("  flipside history --log {}", digest.short());
    assert!(text(&host, &["history"]).contains(&hint));
    refusal(&host.program(["history", "--log", "3"]), 1, "trial-log-absent");

    // P10: it is found once.
    let before = host.snapshot();
    text(&host, &["promote"]);
    host.assert_unchanged_since(&before, "promote");
}

#[test]
fn a_trial_that_left_nothing_leaves_no_log() {
    let host = fallen_back();
    text(&host, &["promote"]);
    assert!(!host.file("var/lib/flipside/trials").exists());
    assert!(!text(&host, &["history"]).contains("--log"));
}

#[test]
fn a_trial_keeps_its_own_journal_and_the_old_slot_does_not_lose_it() {
    if !has_journalctl() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = Root::new(directory.path());
    put_journal(&root);
    let trial = Trial {
        digest: Digest::of(b"2"),
        version: "2",
        slot: Slot::B,
        reason: "health check 10-web failed",
    };
    let files = Files::new(&root, &Durable::new());
    assert!(trial_log::keep_own(&root, &files, &trial, TRIES));
    let find = || KeptLogs::of(&root).find("2").unwrap().unwrap();
    let own = find();
    assert!(own.text.contains("/data: can't find") && !own.text.contains("(old)"), "{own:?}");
    assert_eq!((own.reason.as_str(), own.boot_id.as_deref()), (trial.reason, Some(TRIES)));
    // The journal was in memory only: what the trial kept is all there is.
    std::fs::remove_dir_all(root.path("/var/log")).unwrap();
    let time = "2026-11-18T11:06:43Z".parse().unwrap();
    let arming = trial_log::Arming { boot_id: ARMS.to_owned(), time };
    assert!(trial_log::keep(&root, &files, &trial, Some(&arming), IS_BACK));
    assert_eq!(find().text, own.text);
}

#[test]
fn a_trial_that_ends_itself_keeps_its_journal_and_says_why_in_it() {
    let host = ProgramHost::new();
    host.updates();
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    put_journal(&Root::new(host.0.path()));
    host.write("proc/sys/kernel/random/boot_id", format!("{TRIES}\n"));
    let journald = Journald::of(&host.0.path());
    text(&host, &["trial-deadline"]);
    let entries = journald.entries();
    let told: Vec<_> = entries.iter().map(|entry| entry["MESSAGE_ID"].as_str()).collect();
    let kinds = [Kind::TrialStarted, Kind::DeadlineReached, Kind::DigestFailed];
    assert_eq!(told, kinds.map(Kind::message_id), "{entries:?}");
    assert!(entries.iter().all(|entry| entry["FLIPSIDE_SLOT"] == "b"), "{entries:?}");
    if has_journalctl() {
        let shown = text(&host, &["history", "--log"]);
        assert!(shown.contains("it was not promoted before its deadline"), "{shown}");
        assert!(shown.contains("/data: can't find LABEL=data."), "{shown}");
    }
}

#[test]
fn who_logs_in_is_told_what_needs_a_person_until_it_does_not() {
    let host = ProgramHost::new();
    let motd = host.file("run/motd.d/flipside");
    let shown = || std::fs::read_to_string(&motd).unwrap_or_default();
    host.updates();
    assert_eq!(shown(), "flipside: 2 is installed and waits for a reboot: `systemctl reboot`.\n");
    host.set("[reboot]\nstrategy = \"immediate\"\n");
    text(&host, &["update"]);
    assert_eq!(shown(), "");
    host.set("[trial]\nattempts = 1\n");
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    assert_eq!(host.0.boot_and_fail(), "A 1 fell back");
    let journald = Journald::of(&host.0.path());
    text(&host, &["promote"]);
    assert!(shown().starts_with("flipside: 2 failed on this host"), "{}", shown());
    assert_eq!(journald.entries().len(), 2);
    let digest = host.0.status().failed[0].digest.to_string();
    assert!(shown().contains(&format!("`flipside retry {digest}`")), "{}", shown());
    text(&host, &["retry", &digest]);
    assert_eq!(shown(), "");
}
