// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each state that a host can be in, and what the status, the login message and the history say of
//! it.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::json;

use flipside::config::Initiative;
use flipside::run;
use flipside_core::host::durable::Step;

use crate::support::policy_host::{PolicyHost, document, release};
use crate::support::program_host::ProgramHost;
use crate::support::steps::Steps;

/// What is said of a host, wherever it is.
#[derive(Debug, PartialEq)]
struct Said {
    /// `state`, and the state of the slot that does not run, in the status document.
    states: (String, String),
    /// The line of that slot in `status`, without its version and digest.
    slot: String,
    /// `next` in `status`.
    next: String,
    /// The login message, without its remedy.
    motd: String,
    /// The last entry of the history: event, code, message.
    last: [String; 3],
}

fn said(host: &PolicyHost) -> Said {
    let status = host.at.status();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let other = status["slots"].as_array().unwrap().iter().find(|slot| slot["running"] == false);
    let other = other.unwrap();
    let page = host.at.says(&["status"]);
    let line = |label: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_default().trim().to_owned()
    };
    let slot = line(&format!("slot {}", text(&other["slot"]).to_uppercase()));
    let words = slot.split("   ").nth(1).unwrap_or_default().trim().to_owned();
    let motd = host.host().file("run/motd.d/flipside");
    let motd = std::fs::read_to_string(motd).unwrap_or_default();
    let history = host.at.says(&["history", "--json"]);
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    let last = history["entries"].as_array().unwrap().last().unwrap().clone();
    Said {
        states: (text(&status["state"]), text(&other["state"])),
        slot: words,
        next: line("next"),
        motd: motd.trim().split(['`', ';']).next().unwrap_or_default().trim_end().to_owned(),
        last: ["event", "code", "message"].map(|field| text(&last[field])),
    }
}

fn withdraw(host: &PolicyHost, hours: i64) {
    let two = host.publish("2");
    host.put(&document(hours, &[release("2", &two, json!({"withdrawn": {"reason": "no sound"}}))]));
}

fn arm(host: &PolicyHost) {
    host.publish("2");
    host.at.says(&["update"]);
}

fn promote(host: &PolicyHost) {
    arm(host);
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");
}

fn fall_back(host: &PolicyHost) {
    arm(host);
    host.host().0.boot_and_fail();
    assert_eq!(host.host().boot(), "booted slot A: 1 (fell back)");
}

fn fail(host: &PolicyHost) {
    host.host().set("trial.attempts = 1\n");
    fall_back(host);
}

/// A hold, set while 2 was written.
fn hold(host: &PolicyHost) {
    host.publish("2");
    let file = host.host().file("etc/flipside/flipside.toml.d/50-hold.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let held = file.clone();
    let steps = Steps::with(move |step| {
        if matches!(step, Step::Phase("write")) {
            std::fs::write(&held, "update.hold = true\n").unwrap();
        }
        None
    });
    let run = host.host().0.run_with(steps.durable(), |_| {});
    let result = run::update(&run, Initiative::Automatic);
    run::finish_update(&run, Initiative::Automatic, result.as_ref().err());
    std::fs::remove_file(file).unwrap();
}

type Row<'a> = (&'a str, &'a dyn Fn(&PolicyHost), [&'a str; 5], [&'a str; 3]);

#[test]
fn each_state_is_told_in_words_of_its_own() {
    let once = "2 in slot B boots once at the next boot";
    let armed = "flipside: 2 is installed and waits for a reboot:";
    let rows: [Row<'_>; 12] = [
        (
            "armed",
            &arm,
            ["armed", "armed", "armed just now, boots once", "reboot into slot B", armed],
            ["armed", "", once],
        ),
        (
            "written, and held before it was armed",
            &hold,
            [
                "installed",
                "installed",
                "installed just now",
                "the update is installed and waits to be armed",
                "",
            ],
            ["writing", "", "2 is written to slot B"],
        ),
        (
            "armed, and found to be withdrawn",
            &|host| {
                arm(host);
                withdraw(host, 1);
                host.at.says(&["check"]);
            },
            [
                "armed",
                "armed",
                "armed just now, boots once, withdrawn",
                "slot B holds a withdrawn release; `flipside update` takes it back",
                "flipside: slot B holds a withdrawn release (2: no sound)",
            ],
            ["armed", "", once],
        ),
        (
            "taken back, because it was withdrawn",
            &|host| {
                arm(host);
                withdraw(host, 1);
                host.host().program(["update"]);
            },
            [
                "idle",
                "superseded",
                "superseded just now, withdrawn",
                "nothing: 2 in slot B is withdrawn",
                "",
            ],
            [
                "superseded",
                "release-withdrawn",
                "2 in slot B was withdrawn and does not boot any more: no sound",
            ],
        ),
        (
            "taken back, because the tag went back",
            &|host| {
                arm(host);
                host.publish("1");
                host.at.says(&["update"]);
            },
            [
                "idle",
                "superseded",
                "superseded just now",
                "nothing: 2 in slot B does not boot any more",
                "",
            ],
            ["superseded", "", "the tag has moved: 2 in slot B does not boot any more"],
        ),
        (
            "the tag went back to what the other slot holds",
            &|host| {
                host.host().set("update.allow_downgrade = true\n");
                promote(host);
                host.publish("1");
                host.at.says(&["update"]);
            },
            [
                "armed",
                "armed",
                "armed just now, boots once",
                "reboot into slot A",
                "flipside: 1 is installed and waits for a reboot:",
            ],
            ["armed", "", "1 in slot A boots once at the next boot"],
        ),
        (
            "a person goes back",
            &|host| {
                promote(host);
                host.at.says(&["rollback"]);
            },
            [
                "rolling-back",
                "armed",
                "proven, boots at the next reboot",
                "a rollback to 1 in slot A",
                "flipside: a rollback to 1 waits for a reboot:",
            ],
            ["rolled-back", "", "back to 1 in slot A at the next boot"],
        ),
        (
            "on trial",
            &|host| {
                arm(host);
                host.host().0.boot_and_fail();
            },
            ["trial", "proven", "proven", "promote, or fall back at the next boot", ""],
            ["armed", "", once],
        ),
        (
            "fell back, and is tried once more",
            &fall_back,
            [
                "fell-back",
                "installed",
                "installed just now",
                "the last trial fell back; the next run tries 2 once more",
                "",
            ],
            ["fell-back", "", "2 in slot B was started and never promoted"],
        ),
        (
            "failed",
            &fail,
            [
                "fell-back",
                "failed",
                "failed just now",
                "nothing: the last trial fell back",
                "flipside: 2 failed on this host (1 trial was started and never promoted) and is not \
                 tried again by itself",
            ],
            ["fell-back", "", "2 in slot B was started and never promoted"],
        ),
        (
            "failed, and may be tried again",
            &|host| {
                fail(host);
                host.at.says(&["retry", "--all"]);
            },
            [
                "fell-back",
                "failed",
                "failed just now",
                "the last trial fell back; the next run tries 2 once more",
                "",
            ],
            ["retry-allowed", "", "sha256: may be installed again"],
        ),
        (
            "promoted",
            &promote,
            ["idle", "proven", "proven", "", ""],
            ["promoted", "", "2 in slot B is proven"],
        ),
    ];
    for (name, happens, [state, other, slot, next, motd], last) in rows {
        let host = PolicyHost::new();
        happens(&host);
        let mut found = said(&host);
        if let Some((begin, end)) =
            found.last[2].split_once(' ').filter(|_| name.ends_with("may be tried again"))
        {
            found.last[2] = format!("{} {end}", begin.get(..7).unwrap());
        }
        let expected = Said {
            states: (state.to_owned(), other.to_owned()),
            slot: slot.to_owned(),
            next: next.to_owned(),
            motd: motd.to_owned(),
            last: last.map(str::to_owned),
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_a_command_met_does_not_hide_what_blocks_updates() {
    let host = ProgramHost::new();
    host.set("update.hold = true\n");
    let status = || -> serde_json::Value {
        let output = host.program(["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert!(host.program(["update", "--automatic"]).status.success());
    let blocked = status()["blocked"].clone();
    assert_eq!(blocked["code"], "updates-held");
    let is = |command: &str, code: &str| {
        let status = status();
        assert_eq!(status["blocked"], blocked, "{command}");
        assert_eq!(
            (&status["last_command"]["code"], &status["last_error"]),
            (&json!(code), &json!(null))
        );
        assert_eq!(status["last_command"]["command"], command);
    };
    for _ in 0..2 {
        assert_eq!(host.program(["rollback"]).status.code(), Some(1));
        is("rollback", "slot-not-proven");
        // What succeeds beside it says nothing about either.
        for command in [&["retry", "--all"][..], &["promote"], &["reboot"], &["hold"]] {
            assert!(host.program(command).status.success(), "{command:?}");
            is("rollback", "slot-not-proven");
        }
    }
    let page = String::from_utf8(host.program(["status"]).stdout).unwrap();
    let line = "\nrollback  slot B holds nothing that has booted to success [slot-not-proven] (just now)\n";
    assert!(page.contains(line) && page.contains("\ndeferred  "), "{page}");
    // A person's update goes on all the same, and ends what blocked it.
    host.updates();
    assert_eq!(status()["blocked"], json!(null));
    assert_eq!(host.boot(), "booted slot B: 2 (promoted)");
    assert!(host.program(["rollback"]).status.success());
    assert_eq!(status()["last_command"], json!(null));
}

/// Windows or PXE may stand before both slots.
#[test]
fn a_promotion_says_before_what_the_slot_boots() {
    let host = ProgramHost::new();
    host.updates();
    host.0.boot_and_fail();
    let said = host.program(["promote"]).stdout;
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said, "slot B has proved itself and boots before slot A\n");
}

/// What the program writes to a terminal, by script(1) of util-linux.
fn on_terminal(host: &PolicyHost, line: &str) -> Option<String> {
    let root = host.host().0.path();
    let command = format!("{} --root {} {line}", env!("CARGO_BIN_EXE_flipside"), root.display());
    let mut script = std::process::Command::new("script");
    script.args(["--quiet", "--command", &command, "/dev/null"]);
    script.env("TERM", "xterm").env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    let Ok(output) = script.output() else {
        println!("skipped: no script(1) to make a terminal with");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
}

#[test]
fn what_people_read_fits_a_terminal_of_80_columns() {
    let host = PolicyHost::new();
    fail(&host);
    host.host().program(["update"]);
    host.host().program(["rollback"]);
    host.host()
        .set("trial.attempts = 1\nupdate.hold = true\nupdate.hold_reason = \"a trade fair\"\n");
    withdraw(&host, 1);
    for line in ["status", "history", "-q check --explain"] {
        let Some(shown) = on_terminal(&host, line) else { return };
        let length = |line: &&str| line.chars().count();
        assert!(shown.lines().count() > 3, "{line}: {shown}");
        let long: Vec<_> = shown.lines().filter(|line| length(line) > 80).collect();
        // The last line of a check is its sentence, for people and their scripts.
        let sentence = shown.lines().last().unwrap();
        assert!(long.iter().all(|line| *line == sentence), "{line}: {shown}");
        assert!(!shown.lines().any(|line| line.contains(&host.one.to_string())), "{shown}");
    }
    let explained = on_terminal(&host, "-q check --explain").unwrap();
    assert!(!explained.contains("2 is withdrawn: 2 is withdrawn"), "{explained}");
    assert_eq!(explained.matches("not asked").count(), 1, "{explained}");
}

#[test]
fn a_run_that_finds_nothing_writes_the_status_at_its_beginning_and_at_its_end() {
    let host = PolicyHost::new();
    let one = host.publish("1");
    host.put(&document(1, &[release("1", &one, json!({}))]));
    let path = host.host().0.path().join("run/flipside");
    for command in ["update", "check", "update"] {
        assert!(host.host().command([command]).output().unwrap().status.success());
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        // The kernel merges events of one kind that follow each other.
        let both = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(&path, both).unwrap();
        assert!(host.host().command([command]).output().unwrap().status.success());
        let seen = inotify.read_events().unwrap();
        let is_status = |name: &std::ffi::OsString| name == "status.json";
        let written = seen.iter().filter(|event| event.name.as_ref().is_some_and(is_status));
        assert_eq!(written.count(), 2, "{command}: {seen:?}");
    }
}
