// SPDX-License-Identifier: MIT OR Apache-2.0

//! Holds and update windows: the timer waits, a person does not.

use flipside::config::{Config, Initiative};
use flipside::run;
use flipside_core::host::Root;
use flipside_core::host::durable::Step;
use flipside_image::code::Coded as _;
use jiff::{Timestamp, ToSpan as _};

use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;
use crate::support::program_host::refusal;
use crate::support::registry_host::RegistryHost;
use crate::support::steps::Steps;

const HOLD: &str = "etc/flipside/flipside.toml.d/90-hold.toml";

/// A host with 2 on offer.
fn offered() -> RegistryHost {
    let host = RegistryHost::new();
    host.publish(&ImageBuilder::new("2"));
    host
}

#[test]
fn a_hold_pauses_the_timer_and_a_person_is_only_told() {
    let host = offered();
    let said = host.says(&["hold", "--until", "2999-01-01", "--reason", "a \"trade\" fair"]);
    assert_eq!(said, "automatic updates are held until 2999-01-01: a \"trade\" fair");
    let text = std::fs::read_to_string(host.host.file(HOLD)).unwrap();
    for line in ["[update]", "hold = true", "hold_until = \"2999-01-01\""] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    let sentence = host.waits("updates-held");
    assert_eq!(sentence, said);
    let status = host.status();
    assert_eq!(status["hold"]["until"], "2999-01-01T00:00:00Z");
    assert_eq!(status["hold"]["reason"], "a \"trade\" fair");
    // What is on offer is known all the same.
    assert!(status["available"]["digest"].is_string());
    assert!(host.says(&["status"]).contains("hold      automatic updates are held, over in "));
    assert!(host.says(&["check", "--automatic"]).ends_with("[updates-held]"));
    assert!(host.says(&["check"]).starts_with("2 is available"));

    let mut update = host.host.command(["update"]);
    let arguments: Vec<_> = update.get_args().skip(1).map(ToOwned::to_owned).collect();
    let output = std::process::Command::new(update.get_program()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("this update goes on, because a person asked for it"), "{stderr}");
    drop(update.output());
}

#[test]
fn unhold_lets_the_timer_go_on() {
    let host = offered();
    assert_eq!(host.says(&["unhold"]), "there was no hold");
    host.says(&["hold"]);
    host.waits("updates-held");
    assert_eq!(host.says(&["unhold"]), "automatic updates go on");
    assert!(!host.host.file(HOLD).exists());
    let status = host.status();
    assert!(status["hold"].is_null() && status["blocked"].is_null(), "{status}");
    assert!(host.says(&["update", "--automatic"]).starts_with("2 is installed"));
    let said = host.says(&["hold"]);
    assert!(said.ends_with("boots at the next reboot all the same"), "{said}");
}

#[test]
fn a_hold_that_is_over_holds_nothing() {
    let host = offered();
    host.host.set("[update]\nhold = true\nhold_until = 2020-01-01\n");
    assert!(host.status()["hold"].is_null());
    assert!(host.says(&["update", "--automatic"]).starts_with("2 is installed"));
}

#[test]
fn what_cannot_be_held_is_refused_and_changes_nothing() {
    let host = offered();
    let before = Config::load(&Root::new(host.host.0.path())).unwrap();
    let run = |arguments: &[&str]| host.host.program(arguments);
    refusal(&run(&["hold", "--until", "2020-01-01T00:00Z"]), 1, "hold-over");
    assert_eq!(run(&["hold", "--until", "2999-01-01T00:00"]).status.code(), Some(2));
    assert_eq!(run(&["hold", "--until", "soon"]).status.code(), Some(2));
    assert!(!host.host.file(HOLD).exists());
    assert_eq!(Config::load(&Root::new(host.host.0.path())).unwrap(), before);
    // Another file has the last word: said, with its name.
    let later = "etc/flipside/flipside.toml.d/99-site.toml";
    host.host.write(later, "update.hold = false\n");
    let sentence = refusal(&run(&["hold"]), 1, "setting-overridden");
    assert!(sentence.contains("99-site.toml, line 1"), "{sentence}");
    host.host.write(later, "update.hold = true\n");
    refusal(&run(&["unhold"]), 1, "setting-overridden");
}

/// A window that is open from `hours` from now on, for two.
fn window(hours: i64) -> String {
    let start = (Timestamp::now() + hours.hours()).strftime("%a %H:00 2h UTC");
    format!("update.windows = [\"{start}\"]\n")
}

#[test]
fn the_timer_installs_inside_a_window_and_a_person_at_any_time() {
    let host = offered();
    host.host.set(&window(5));
    let sentence = host.waits("update-window-closed");
    assert!(sentence.starts_with("no update window is open; the next is "), "{sentence}");
    assert!(host.says(&["check", "--automatic"]).ends_with("[update-window-closed]"));
    host.host.set(&window(0));
    assert!(host.says(&["update", "--automatic"]).starts_with("2 is installed"));

    let host = offered();
    host.host.set(&window(5));
    assert!(host.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn what_goes_by_the_date_waits_for_a_clock_that_was_set() {
    let host = offered();
    std::fs::remove_file(host.host.file("run/systemd/timesync/synchronized")).unwrap();
    host.host.set(&window(0));
    host.waits("clock-unset");
    host.host.set("update.hold = true\nupdate.hold_until = \"2020-01-01\"\n");
    host.waits("clock-unset");
    // Without a date there is nothing to be told.
    host.host.set("update.hold = true\n");
    host.waits("updates-held");
    assert!(host.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn a_host_that_has_nothing_to_install_waits_for_nothing() {
    let host = RegistryHost::new();
    host.host.set(&format!("{}update.hold = true\n", window(5)));
    let before = host.host.snapshot();
    assert_eq!(host.says(&["update", "--automatic"]), "up to date: 1");
    assert_eq!(host.host.codes_in_status(), [""; 0]);
    host.host.assert_unchanged_since(&before, "up to date");
    // What is armed gives way to a tag that goes back, also while nothing new is installed.
    host.publish(&ImageBuilder::new("2"));
    host.says(&["update"]);
    host.publish(&ImageBuilder::new("1"));
    assert!(host.says(&["update", "--automatic"]).starts_with("the tag went back"));
}

/// Gives the host a hook that does this, and allows.
fn hook(host: &RegistryHost, script: &str) {
    let name = "etc/flipside/hooks/pre-upgrade.d/10-hook";
    host.host.write(name, format!("#!/bin/sh\ncd \"$FLIPSIDE_ROOT/etc/flipside\"\n{script}\n"));
    std::fs::create_dir_all(host.host.file("etc/flipside/flipside.toml.d")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(host.host.file(name), executable).unwrap();
}

#[test]
fn what_is_set_while_hooks_think_counts() {
    let file = "flipside.toml.d/90-hold.toml";
    for (setting, code) in [
        ("update.hold = true".to_owned(), "updates-held"),
        (window(5).trim_end().to_owned(), "update-window-closed"),
    ] {
        let host = offered();
        hook(&host, &format!("echo '{setting}' > {file}"));
        host.waits(code);
        // A person has not been asked to wait.
        assert!(host.says(&["update"]).starts_with("2 is installed"));
    }
    // Files that cannot be read any more change nothing.
    let host = offered();
    hook(&host, &format!("echo 'update.hold = maybe' > {file}"));
    let output = host.host.program(["update", "--automatic"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("2 is installed"), "{output:?}");
}

#[test]
fn a_hold_while_an_image_is_written_keeps_it_from_being_armed() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    let file = host.file(HOLD);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let steps = Steps::with(move |step| {
        if matches!(step, Step::Phase("write")) {
            std::fs::write(&file, "update.hold = true\n").unwrap();
        }
        None
    });
    let run = host.run_with(steps.durable(), |_| {});
    let error = run::update(&run, Initiative::Automatic).unwrap_err();
    assert_eq!(error.code().name(), "updates-held");
    assert_eq!(host.boot(), "A 1 promoted");
    assert!(host.status().failed.is_empty(), "it was never tried");
    // A person does not wait, and it is whole.
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
}
