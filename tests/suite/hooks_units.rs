// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hooks as transient units, on a bus with systemd played. What the sandbox keeps from them is
//! seen on a real machine (tests/vm).

use std::collections::BTreeSet;
use std::time::Duration;

use flipside::config;
use flipside::hooks::{RanAs, ask, decide};
use flipside_core::cancel::Cancel;
use flipside_core::refusal::Verdict;
use flipside_core::refusal::{Refusal, Severity};

use crate::support::hooks::{HookHost, block, context, defer, peak_of_asking};
use crate::support::program_host::ProgramHost;
use crate::support::systemd::PlayedSystemd;

fn booted(hooks: &[(&str, &str)]) -> (HookHost, PlayedSystemd) {
    let host = HookHost::new(hooks);
    let systemd = PlayedSystemd::of(host.root.directory());
    (host, systemd)
}

#[test]
fn a_unit_answers_as_a_process_does() {
    for (script, expected) in [
        ("exit 0", Verdict::Allow),
        ("echo thinking; echo busy; exit 75", defer("hook-deferred", "hook h: busy")),
        ("echo oops >&2; exit 3", block("hook-blocked", "hook h: oops")),
        ("echo so; kill -9 $$", block("hook-failed", "hook h was ended by signal 9")),
    ] {
        let (host, systemd) = booted(&[("h", &format!("#!/bin/sh\n{script}\n"))]);
        let answers = host.ask();
        assert_eq!(decide(&answers), expected, "{script}");
        assert_eq!(answers[0].ran_as, Some(RanAs::Unit));
        assert_eq!(systemd.calls(), ["StartTransientUnit fail", "UnrefUnit"], "{script}");
    }
}

#[test]
fn it_gets_the_context_and_no_environment_but_systemds() {
    let script = "#!/bin/sh\ncat > stdin.json\nenv > environment\npwd > directory\n";
    let (host, systemd) = booted(&[("10 odd $HOME name", script)]);
    assert_eq!(decide(&host.ask()), Verdict::Allow);
    assert_eq!(systemd.calls().len(), 2);
    let document: serde_json::Value = serde_json::from_str(&host.read("stdin.json")).unwrap();
    assert_eq!(document["new"]["version"], "2.0");
    let environment = host.read("environment");
    let names: BTreeSet<&str> = environment
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| !name.starts_with("FLIPSIDE_"))
        .filter(|name| !["_", "PWD", "OLDPWD", "SHLVL"].contains(name))
        .collect();
    assert_eq!(names, ["INVOCATION_ID", "LANG", "PATH"].into());
    let directory = std::fs::canonicalize(host.read("directory").trim()).unwrap();
    assert_eq!(directory, host.root.directory().canonicalize().unwrap());
}

#[test]
fn systemds_own_verdicts_are_told() {
    let gave_up = "hook h cannot be run: systemd gave up on it with status 226 \
                   (systemd.exec(5), \"Process Exit Codes\")";
    let memory = "hook h was ended: it used up policy.hooks.memory";
    for (result, expected) in [
        (("oom-kill", 2, 9), block("hook-failed", memory)),
        (("timeout", 2, 15), defer("hook-timeout", "hook h did not answer within 20s")),
        (("exit-code", 1, 226), block("hook-failed", gave_up)),
        (
            ("resources", 0, 0),
            block("hook-failed", "hook h cannot be run: systemd did not start it (resources)"),
        ),
        // As of a unit of which systemd knows nothing any more.
        (
            ("success", 0, 0),
            block("hook-failed", "hook h cannot be run: systemd did not start it (success)"),
        ),
    ] {
        let (host, systemd) = booted(&[("h", "#!/bin/sh\nexit 0\n")]);
        systemd.with(|world| world.result = Some(result));
        assert_eq!(decide(&host.ask()), expected);
    }
}

#[test]
fn what_takes_too_long_is_stopped_and_then_killed() {
    for (script, calls) in [
        ("exec sleep 600", &["StartTransientUnit fail", "StopUnit replace"][..]),
        (
            "trap '' TERM; echo waiting; while :; do sleep 1; done",
            &["StartTransientUnit fail", "StopUnit replace", "KillUnit all 9"],
        ),
    ] {
        let (host, systemd) = booted(&[("h", &format!("#!/bin/sh\n{script}\n"))]);
        let answers = host.ask_within(Duration::from_millis(400));
        let expected = defer("hook-timeout", "hook h did not answer within 400ms");
        assert_eq!(decide(&answers), expected);
        let asked = systemd.calls();
        assert_eq!(asked.iter().take(calls.len()).collect::<Vec<_>>(), calls);
        assert_eq!(asked.last().unwrap(), "UnrefUnit");
        let limit = systemd.with(|world| world.properties["RuntimeMaxUSec"].clone());
        assert_eq!(limit, "uint64 2400000");
    }
}

#[test]
fn a_wish_to_stop_stops_the_unit() {
    let (host, systemd) = booted(&[("h", "#!/bin/sh\nexec sleep 600\n")]);
    let stop = Cancel::new();
    let wish = stop.clone();
    let waiter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        wish.request();
    });
    let answers = ask(&host.root, &config::Hooks::default(), &context(), &stop);
    assert!(
        matches!(
            decide(&answers),
            Verdict::No(Refusal { severity: Severity::Defer, code, .. }) if code.name() == "stopped"
        ),
        "{answers:?}"
    );
    assert!(systemd.calls().contains(&"StopUnit replace".to_owned()));
    waiter.join().unwrap();
}

#[test]
fn where_systemd_refuses_a_unit_a_process_is_asked_once_and_that_is_said() {
    let (host, systemd) = booted(&[("h", "#!/bin/sh\necho >> asked\necho busy\nexit 75\n")]);
    systemd.with(|world| world.refuses = true);
    let answers = host.ask();
    assert_eq!(decide(&answers), defer("hook-deferred", "hook h: busy"));
    assert_eq!(answers[0].ran_as, Some(RanAs::ProcessGroup));
    assert_eq!(host.read("asked"), "\n");
}

#[test]
fn without_systemd_nobody_is_asked_for_a_unit() {
    let (host, systemd) = booted(&[("h", "#!/bin/sh\nexit 0\n")]);
    std::fs::remove_dir(host.root.path("run/systemd/system")).unwrap();
    assert_eq!(host.ask()[0].ran_as, Some(RanAs::ProcessGroup));
    assert_eq!(systemd.calls(), [""; 0]);
}

#[test]
fn a_unit_that_prints_without_end_is_heard_to_its_end() {
    let host = ProgramHost::new();
    let _systemd = PlayedSystemd::of(&host.0.path());
    let (said, peak) = peak_of_asking(&host, "head -c 1000000000 /dev/zero");
    assert_eq!(said["answers"][0]["ran_as"], "unit");
    assert_eq!(said["reason"], "hook h: done");
    assert!(peak < 200 << 10, "{peak} KiB");
}

/// The documentation lists the sandbox, and the sandbox is what it lists.
#[test]
fn the_sandbox_is_the_one_that_is_documented() {
    let (host, systemd) = booted(&[("h", "#!/bin/sh\nexit 0\n")]);
    host.ask();
    let properties = systemd.with(|world| std::mem::take(&mut world.properties));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hooks.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("\n## As a unit of systemd\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let documented: BTreeSet<&str> = section
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|word| Some(word.split_once('=')?.0))
        .collect();
    // Not limits, but how flipside and systemd work together.
    let own = ["Type", "AddRef", "CollectMode", "Description", "SystemCallErrorNumber"];
    let sent: BTreeSet<&str> = properties
        .keys()
        .map(|name| name.strip_suffix("USec").map_or(name.as_str(), |_| name))
        .filter(|name| !own.contains(name))
        .collect();
    let as_units_have_them = |name: &str| match name {
        "RuntimeMaxUSec" => "RuntimeMaxSec".to_owned(),
        "TimeoutStopUSec" => "TimeoutStopSec".to_owned(),
        other => other.to_owned(),
    };
    let sent: BTreeSet<String> = sent.into_iter().map(as_units_have_them).collect();
    assert_eq!(sent, documented.into_iter().map(str::to_owned).collect());
    assert_eq!(properties["MemoryMax"], format!("uint64 {}", 256 << 20));
    assert_eq!(properties["ProtectSystem"], "\"strict\"");
}
