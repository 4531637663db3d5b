// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside check --explain`: every rule in order, and the same in the status document.

use std::os::unix::fs::PermissionsExt as _;

use flipside::rules::Rule;
use serde_json::Value;

use crate::support::policy_host::PolicyHost;
use crate::support::program_host::{ProgramHost, refusal};
use crate::support::proxy::Fault;

fn hook(host: &ProgramHost, script: &str) {
    let name = "etc/flipside/hooks/pre-upgrade.d/10-hook";
    host.write(name, format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(host.file(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn explain(host: &ProgramHost, arguments: &[&str]) -> String {
    let output = host.program([&["check", "--explain"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_rule_is_listed_in_order_with_what_it_saw_and_said() {
    let host = ProgramHost::new();
    hook(&host, "echo busy; exit 75");
    let before = host.snapshot();
    let text = explain(&host, &[]);
    let rules: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let all = Rule::ALL.map(Rule::name);
    // Those that were not asked share a line.
    let unasked = text.lines().find_map(|line| line.strip_prefix("not asked: ")).unwrap();
    let is_asked = |name: &&str| !unasked.split(", ").any(|unasked| unasked == *name);
    let asked: Vec<_> = all.into_iter().filter(is_asked).collect();
    assert_eq!(rules[..asked.len()], asked, "{text}");
    assert_eq!(asked.len() + unasked.split(", ").count(), all.len(), "{text}");
    assert_eq!(text.matches("not asked").count(), 1, "{text}");
    let line = |rule: Rule| text.lines().find(|line| line.starts_with(rule.name())).unwrap();
    assert!(line(Rule::Host).contains("  allow  slot A runs 1, the tag names "), "{text}");
    let said = "  defer  as a process group, without the sandbox and limits of a unit: 10-hook: \
                hook 10-hook: busy [hook-deferred]";
    assert!(line(Rule::HostHooks).ends_with(said), "{text}");
    assert_eq!(
        text.lines().last().unwrap(),
        "2 is not installed: hook 10-hook: busy [hook-deferred]"
    );
    host.assert_unchanged_since(&before, "explain");

    let document: Value = serde_json::from_str(&explain(&host, &["--json"])).unwrap();
    let rules = document["rules"].as_array().unwrap();
    assert_eq!(rules.len(), all.len());
    let of = |name: &str| rules.iter().find(|rule| rule["rule"] == name).unwrap();
    assert_eq!(of("host")["decision"], "allow");
    assert_eq!(of("host-hooks")["code"], "hook-deferred");
    assert_eq!(of("host-hooks")["reason"], "hook 10-hook: busy");
    assert_eq!(of("container-hook")["decision"], "not-asked");
    assert_eq!(document["code"], "hook-deferred");
}

#[test]
fn what_rules_said_is_told_also_where_the_next_cannot_be_asked() {
    let host = PolicyHost::new();
    host.publish("2");
    let denied = Fault::Status(403, vec![], String::new());
    host.proxy.fault("stable.policy", usize::MAX, denied);
    let output = host.host().program(["check", "--explain"]);
    refusal(&output, 1, "registry-forbidden");
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("not asked: host, policy-document, "), "{text}");
    let unasked = last.split(", ").count();
    assert_eq!(text.lines().count() - 1 + unasked, Rule::ALL.len(), "{text}");
    let has = |start: &str, end: &str| {
        text.lines().any(|line| line.starts_with(start) && line.ends_with(end))
    };
    assert!(has("hold ", "  allow  no hold"), "{text}");

    let output = host.host().program(["check", "--explain", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["code"], "registry-forbidden");
    assert_eq!(host.at.status()["policy"]["rules"][0]["rule"], "hold");
    assert!(host.host().program(["check"]).stdout.is_empty());
}

#[test]
fn the_status_tells_what_the_rules_said_last() {
    let host = ProgramHost::new();
    hook(&host, "exit 1");
    host.refuses(1, "hook-blocked");
    let status =
        || -> Value { serde_json::from_slice(&host.program(["status", "--json"]).stdout).unwrap() };
    let last =
        |status: &Value| status["policy"]["rules"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last(&status())["rule"], "host-hooks");
    assert_eq!(last(&status())["code"], "hook-blocked");
    let observed = "as a process group, without the sandbox and limits of a unit: 10-hook";
    assert_eq!(last(&status())["observed"], observed);
    // A question is no reason to say something else.
    host.program(["hooks", "run"]);
    assert_eq!(last(&status())["code"], "hook-blocked");
    // A check asks no hook.
    host.program(["check"]);
    assert!(last(&status())["code"].is_null());
}

#[test]
fn a_host_that_has_what_the_tag_names_is_asked_nothing_more() {
    let host = ProgramHost::new();
    hook(&host, "touch \"$FLIPSIDE_ROOT/asked\"");
    host.updates();
    std::fs::remove_file(host.file("asked")).unwrap();
    let text = explain(&host, &[]);
    assert!(text.ends_with("2 is installed and boots at the next reboot\n"), "{text}");
    assert!(!host.file("asked").exists());
}

#[cfg(feature = "dbus")]
#[test]
fn of_hooks_in_their_sandbox_only_the_names_are_told() {
    let host = ProgramHost::new();
    let _systemd = crate::support::systemd::PlayedSystemd::of(&host.0.path());
    hook(&host, "exit 1");
    let document: Value = serde_json::from_str(&explain(&host, &["--json"])).unwrap();
    let rules = document["rules"].as_array().unwrap();
    let result = rules.iter().find(|rule| rule["rule"] == "host-hooks").unwrap();
    assert_eq!((&result["observed"], &result["code"]), (&"10-hook".into(), &"hook-blocked".into()));
}
