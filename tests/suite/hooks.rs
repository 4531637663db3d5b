// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hooks as real programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flipside::config;
use flipside::config::form::{Size, TimeLimit};
use flipside::hooks::{DIRECTORY, RanAs, ask, decide};
use flipside_core::cancel::Cancel;
use flipside_core::refusal::Verdict;
use flipside_core::refusal::{Refusal, Severity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::documents;
use crate::support::hooks::{HookHost as Host, block, context, defer, peak_of_asking, put_hook};
use crate::support::program_host::ProgramHost;

#[test]
fn the_exit_status_and_the_last_line_are_the_answer() {
    for (script, expected) in [
        ("exit 0", Verdict::Allow),
        ("echo thinking; echo busy; exit 75", defer("hook-deferred", "hook h: busy")),
        ("printf 'until \\033[31mnoon'; exit 75", defer("hook-deferred", "hook h: until [31mnoon")),
        ("echo no; exit 1", block("hook-blocked", "hook h: no")),
        ("echo oops >&2; exit 3", block("hook-blocked", "hook h: oops")),
        ("exit 3", block("hook-blocked", "hook h blocks the update with exit status 3")),
        ("echo so; kill -9 $$", block("hook-failed", "hook h was ended by signal 9")),
    ] {
        let host = Host::new(&[("h", &format!("#!/bin/sh\n{script}\n"))]);
        assert_eq!(decide(&host.ask()), expected, "{script}");
    }
}

#[test]
fn the_first_that_does_not_allow_ends_the_questioning() {
    let host = Host::new(&[
        ("10-allow", "#!/bin/sh\necho fine\n"),
        ("20-defer", "#!/bin/sh\necho later\nexit 75\n"),
        ("30-block", "#!/bin/sh\n> \"$FLIPSIDE_ROOT/asked\"\nexit 1\n"),
    ]);
    let answers = host.ask();
    let said: Vec<_> = answers.iter().map(|a| (a.hook.as_str(), a.said.as_str())).collect();
    assert_eq!(said, [("10-allow", "fine"), ("20-defer", "later")]);
    assert_eq!(decide(&answers), defer("hook-deferred", "hook 20-defer: later"));
    assert!(!host.directory.path().join("asked").exists());
    assert_eq!(decide(&[]), Verdict::Allow);
}

#[test]
fn a_hook_gets_the_context_and_nothing_else() {
    let host =
        Host::new(&[("h", "#!/bin/sh\ncat > stdin.json\nenv > environment\npwd > directory\n")]);
    assert_eq!(decide(&host.ask()), Verdict::Allow);
    let document: serde_json::Value = serde_json::from_str(&host.read("stdin.json")).unwrap();
    documents::check("hook", &document);
    assert_eq!(document["version"], 1);
    assert_eq!(document["new"]["version"], "2.0");
    assert_eq!(document["initiative"], "manual");
    let environment = host.read("environment");
    let mut names: Vec<_> = environment
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        // The shell's own.
        .filter(|name| !["_", "PWD", "OLDPWD", "SHLVL"].contains(name))
        .filter(|name| !name.starts_with("FLIPSIDE_"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH"]);
    assert!(environment.contains("FLIPSIDE_NEW_SLOT=b\n"));
    let directory = host.directory.path().canonicalize().unwrap();
    assert_eq!(Path::new(host.read("directory").trim()).canonicalize().unwrap(), directory);
}

#[test]
fn a_hook_that_does_not_listen_is_no_error() {
    let host = Host::new(&[("h", "#!/bin/sh\nexec 0<&-\nsleep 0.1\nexit 0\n")]);
    assert_eq!(decide(&host.ask()), Verdict::Allow);
}

#[test]
fn a_hook_that_prints_a_gigabyte_is_heard_to_its_end() {
    let script = "head -c 1000000000 /dev/zero\nhead -c 5000000 /dev/zero >&2";
    let (said, peak) = peak_of_asking(&ProgramHost::new(), script);
    assert_eq!(said["reason"], "hook h: done");
    assert!(peak < 200 << 10, "{peak} KiB");
}

#[test]
fn what_a_hook_prints_is_logged_up_to_fifty_lines() {
    const FIELD: &str = " flipside_hook=h";
    let host = ProgramHost::new();
    for (script, last) in [
        ("echo thinking; echo hard >&2; echo fine", "fine"),
        ("seq 60; seq 60 >&2", "(more lines, not shown)"),
        ("seq 30; sleep 0.3; seq 30 >&2", "(more lines, not shown)"),
    ] {
        put_hook(&host, script);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        let command = command.arg("--root").arg(host.0.path()).args(["hooks", "run"]);
        let stderr = String::from_utf8(documents::output(command).stderr).unwrap();
        let logged =
            stderr.lines().filter_map(|line| line.split_once("hook h: ")?.1.strip_suffix(FIELD));
        let lines: Vec<&str> = logged.collect();
        match last {
            "fine" => assert_eq!(BTreeSet::from_iter(lines), ["thinking", "hard", "fine"].into()),
            _ => assert_eq!((lines.len(), lines.last().copied()), (51, Some(last)), "{stderr}"),
        }
    }
}

#[test]
fn what_takes_too_long_is_ended_with_its_children() {
    let host = Host::new(&[(
        "h",
        "#!/bin/sh\nsh -c 'echo $$ > child; trap \"\" TERM; sleep 600' &\n\
         trap '' TERM\necho waiting\nwhile :; do sleep 1; done\n",
    )]);
    let answers = host.ask_within(Duration::from_millis(500));
    let expected = defer("hook-timeout", "hook h did not answer within 500ms");
    assert_eq!(decide(&answers), expected);
    assert_eq!(answers[0].said, "waiting");
    let child = host.read("child");
    let is_gone = || {
        !Path::new(&format!("/proc/{}/cmdline", child.trim())).exists()
            || std::fs::read(format!("/proc/{}/cmdline", child.trim()))
                .unwrap_or_default()
                .is_empty()
    };
    while !is_gone() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_hook_leaves_behind_holds_nothing_up() {
    // Who waits for it does so until the hook's time is over.
    let host = Host::new(&[("h", "#!/bin/sh\nsleep 600 & echo $! > child\necho fine\n")]);
    let answers = host.ask();
    let child = host.read("child").trim().parse().unwrap();
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    assert_eq!((decide(&answers), answers[0].said.as_str()), (Verdict::Allow, "fine"));
}

#[test]
fn what_cannot_be_run_blocks() {
    let host = Host::new(&[]);
    for (bytes, part) in [
        (&b"no program\n"[..], "Exec format error"),
        (b"#!/no/such/interpreter -x\n", "its interpreter \"/no/such/interpreter\" does not exist"),
        (
            b"#!/bin/sh\r\nexit 0\r\n",
            "its interpreter \"/bin/sh\\r\" does not exist, because its lines end as on Windows; \
             `sed -i 's/\\r$//'` mends that",
        ),
        (
            b"#!/usr/bin/env sh\r\nexit 0\r\n",
            "its interpreter \"/usr/bin/env sh\\r\" does not exist",
        ),
        (b"#! /bin/sh -e\r\n", "its interpreter \"/bin/sh -e\\r\" does not exist"),
        (b"\x7fELF\x02\x01\x01", "Exec format error"),
    ] {
        host.put("h", bytes);
        match decide(&host.ask()) {
            Verdict::No(Refusal { severity: Severity::Block, code, message: reason, .. }) => {
                assert_eq!(code.name(), "hook-failed");
                assert!(reason.starts_with("hook h cannot be run: "), "{reason}");
                assert!(reason.contains(part), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_link_that_leads_nowhere_blocks() {
    let host = Host::new(&[]);
    let directory = host.root.path("etc").join(DIRECTORY);
    std::os::unix::fs::symlink("gone", directory.join("10-check")).unwrap();
    assert!(matches!(
        decide(&host.ask()),
        Verdict::No(Refusal { severity: Severity::Block, code, .. }) if code.name() == "hook-failed"
    ));
}

#[test]
fn a_wish_to_stop_ends_the_hook_and_never_allows() {
    let host = Host::new(&[("h", "#!/bin/sh\nexec sleep 600\n")]);
    let stop = Cancel::new();
    let wish = stop.clone();
    let waiter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        wish.request();
    });
    let hooks = config::Hooks::default();
    let answers = ask(&host.root, &hooks, &context(), &stop);
    assert!(
        matches!(
            decide(&answers),
            Verdict::No(Refusal { severity: Severity::Defer, code, .. }) if code.name() == "stopped"
        ),
        "{answers:?}"
    );
    waiter.join().unwrap();
}

/// Without systemd's control groups: of each process of its own.
#[test]
fn a_process_has_limits_that_it_cannot_raise() {
    let script = "#!/bin/sh\ncat /proc/self/limits > limits\n";
    let host = Host::new(&[("h", script)]);
    let hooks = config::Hooks {
        timeout: TimeLimit(Duration::from_secs(20)),
        memory: Size(64 << 20),
        ..config::Hooks::default()
    };
    let answers = ask(&host.root, &hooks, &context(), &Cancel::new());
    assert_eq!(decide(&answers), Verdict::Allow);
    assert_eq!(answers[0].ran_as, Some(RanAs::ProcessGroup));
    let limits = host.read("limits");
    for (name, limit) in [
        ("Max data size", "67108864"),
        ("Max core file size", "0"),
        ("Max file size", "67108864"),
        ("Max cpu time", "23"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<&str> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [limit, limit], "{line}");
    }
}

#[test]
fn hooks_are_listed_with_what_is_wrong_with_them() {
    let host = Host::new(&[("10-check", "#!/bin/sh\n")]);
    let plain = host.root.path("etc").join(DIRECTORY).join("20-plain");
    std::fs::write(&plain, "x").unwrap();
    let flipside = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(host.root.directory()).args(["hooks", "list"]).args(arguments);
        let output = documents::output(&mut command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = flipside(&[]);
    assert!(text.contains("10-check\n"), "{text}");
    let remark = "20-plain  (blocks every update: it is not executable (`chmod +x`))\n";
    assert!(text.ends_with(remark), "{text}");
    let json: serde_json::Value = serde_json::from_str(&flipside(&["--json"])).unwrap();
    assert_eq!(json["hooks"][0]["name"], "10-check");
    assert!(json["hooks"][0]["ignored"].is_null() && json["hooks"][0]["fault"].is_null());
    assert_eq!(json["hooks"][1]["fault"], "it is not executable (`chmod +x`)");
}
