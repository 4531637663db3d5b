// SPDX-License-Identifier: MIT OR Apache-2.0

//! The policy document names the steps: barriers, dead ends, rollouts, and what is withdrawn, also
//! when it is installed already.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::images::ImageBuilder;
use crate::support::policy_host::{PolicyHost, days, document, release};

fn none() -> Value {
    json!({})
}

fn because(field: &str) -> Value {
    json!({field: {"reason": "eats data"}})
}

#[test]
fn a_barrier_comes_before_what_the_tag_names() {
    let host = PolicyHost::new();
    let two = host.publish_aside("2");
    let three = host.publish("3");
    host.put(&document(
        1,
        &[
            release("3", &three, none()),
            release("1", &host.one, none()),
            release("2", &two, because("barrier")),
        ],
    ));
    let said = host.at.says(&["check"]);
    assert!(said.starts_with("2 is available") && said.contains(", on the way to 3: "), "{said}");
    assert!(host.explains("barrier").0.starts_with("2 comes before 3: eats data"));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");
    assert!(host.at.says(&["update"]).starts_with("3 is installed in slot A"));
    assert!(host.at.says(&["update"]).starts_with("nothing new: 3"));
    assert_eq!(host.host().boot(), "booted slot A: 3 (promoted)");
    assert_eq!(host.at.says(&["update"]), "up to date: 3");
}

#[test]
fn what_is_withdrawn_is_passed_by() {
    let host = PolicyHost::new();
    let between = host.publish_aside("1.5");
    let two = host.publish("2");
    let withdrawn = release("2", &two, because("withdrawn"));
    host.put(&document(2, &[release("1", &host.one, none()), withdrawn.clone()]));
    let sentence = host.refuses(1, "release-withdrawn");
    assert_eq!(sentence, "2 is withdrawn: eats data");
    host.put(&document(1, &[release("1.5", &between, none()), withdrawn]));
    assert!(host.at.says(&["update"]).starts_with("1.5 is installed"));
}

#[test]
fn what_is_withdrawn_after_it_was_armed_does_not_boot() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let with =
        |hours, more| document(hours, &[release("1", &host.one, none()), release("2", &two, more)]);
    host.put(&with(5, none()));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    assert_eq!(host.at.status()["state"], "armed");

    // Also by the timer, and while nothing new would be installed.
    host.host().set("update.hold = true\n");
    host.put(&with(4, because("withdrawn")));
    let output = host.host().program(["update", "--automatic"]);
    assert!(output.status.success(), "{output:?}");
    let status = host.at.status();
    assert_eq!((&status["state"], &status["boot_next"]), (&json!("idle"), &Value::Null));
    assert_eq!(host.host().boot(), "booted slot A: 1 (promoted)");
    host.host().set("");
    host.refuses(1, "release-withdrawn");
    let status = host.at.status();
    assert_eq!(status["failed"], json!([]), "it was never tried");

    // It is whole, and is armed as soon as it may be.
    host.put(&with(3, none()));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");
    // What runs is not taken away.
    host.put(&with(2, because("withdrawn")));
    assert_eq!(host.at.says(&["update"]), "up to date: 2");
}

#[test]
fn what_a_check_finds_withdrawn_is_told_until_the_timers_run_takes_it_back() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let with = |hours, more| document(hours, &[release("2", &two, more)]);
    host.put(&with(5, none()));
    host.at.says(&["update"]);
    let (motd, next_step) = ("run/motd.d/flipside", "run/flipside/next-step");
    let told = |place: &str| std::fs::read_to_string(host.host().file(place)).unwrap_or_default();
    let page = || host.at.says(&["status"]);
    let sentence = "slot B holds a withdrawn release; `flipside update` takes it back";
    assert_eq!(host.at.status()["withdrawn"], json!([]));
    assert!(page().contains("\nnext      reboot into slot B\n"), "{}", page());

    host.put(&with(4, because("withdrawn")));
    let said = host.at.says(&["check"]);
    assert!(said.ends_with(&format!(" [release-withdrawn]\n{sentence}")), "{said}");
    let status = host.at.status();
    let expected = json!([{"slot": "b", "version": "2", "digest": two, "reason": "eats data"}]);
    assert_eq!((&status["state"], &status["withdrawn"]), (&json!("armed"), &expected));
    assert!(page().contains(&format!("\nnext      {sentence}\n")), "{}", page());
    assert_eq!(
        told(motd),
        "flipside: slot B holds a withdrawn release (2: eats data); `flipside update` takes it \
         back.\n"
    );
    // The timer's run follows at once, unless it may install nothing.
    assert!(host.host().file(next_step).exists());
    std::fs::remove_file(host.host().file(next_step)).unwrap();
    host.host().set("update.automatic = \"check\"\n");
    host.at.says(&["check"]);
    assert!(!host.host().file(next_step).exists());
    host.host().set("");
    assert!(host.host().program(["update", "--automatic"]).status.success());
    assert_eq!((host.at.status()["boot_next"].clone(), told(motd)), (Value::Null, String::new()));
    assert_eq!(host.host().boot(), "booted slot A: 1 (promoted)");
}

#[test]
fn what_boots_although_it_was_withdrawn_is_promoted_with_a_warning() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let with = |hours, more| document(hours, &[release("2", &two, more)]);
    host.put(&with(5, none()));
    host.at.says(&["update"]);
    host.put(&with(4, because("withdrawn")));
    // This run has seen the document, and was stopped before it took back what is armed.
    let armed = host.host().snapshot();
    host.host().program(["update"]);
    for (path, bytes) in armed.iter().filter(|(path, _)| !path.to_string_lossy().contains("policy"))
    {
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(host.host().0.boot_and_fail(), "B 2 trial");
    let mut promote = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = promote.arg("--root").arg(host.host().0.path()).arg("promote").output().unwrap();
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "2 was promoted in slot B although its publisher withdrew it: eats data";
    assert!(output.status.success() && warned.contains(expected), "{output:?}");
    assert_eq!(host.at.status()["withdrawn"][0]["slot"], "b");
    let page = host.at.says(&["status"]);
    assert!(page.contains("running, proven just now, withdrawn"), "{page}");
}

#[test]
fn what_only_a_check_found_withdrawn_is_promoted_with_a_warning_too() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let with = |hours, more| document(hours, &[release("2", &two, more)]);
    host.put(&with(5, none()));
    host.at.says(&["update"]);
    let remembered = || {
        let snapshot = host.host().snapshot().into_iter();
        let file = snapshot.filter(|(path, _)| path.to_string_lossy().contains("/policy/"));
        file.map(|(_, bytes)| bytes).collect::<Vec<_>>()
    };
    let before = remembered();
    // A document that concerns no slot is left to the next update.
    host.put(&with(4, none()));
    host.at.says(&["check"]);
    assert_eq!(remembered(), before);
    host.put(&with(3, because("withdrawn")));
    host.host().program(["hooks", "run"]);
    assert_eq!(remembered(), before);
    host.at.says(&["check"]);
    let after = remembered();
    assert_ne!(after, before);
    // What was seen is not seen anew, and nothing older takes its place.
    host.at.says(&["check"]);
    host.put(&with(6, because("withdrawn")));
    let late = host.host().program(["check"]);
    assert!(String::from_utf8_lossy(&late.stdout).contains("policy-document-replayed"), "{late:?}");
    assert_eq!(remembered(), after);

    std::fs::remove_dir_all(host.host().file("run/flipside")).unwrap();
    assert_eq!(host.host().0.boot_and_fail(), "B 2 trial");
    let mut promote = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let promoted = promote.arg("--root").arg(host.host().0.path()).arg("promote").output().unwrap();
    let warned = String::from_utf8_lossy(&promoted.stderr).into_owned();
    let expected = "2 was promoted in slot B although its publisher withdrew it: eats data";
    assert!(promoted.status.success() && warned.contains(expected), "{promoted:?}");
}

#[test]
fn what_the_tag_went_back_to_does_not_boot_once_it_is_withdrawn_unless_a_person_wants_it() {
    let host = PolicyHost::new();
    host.host().set("update.allow_downgrade = true\n");
    let two = host.publish("2");
    let with =
        |hours, more| document(hours, &[release("1", &host.one, more), release("2", &two, none())]);
    host.put(&with(5, none()));
    host.at.says(&["update"]);
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");
    host.publish("1");
    assert!(host.at.says(&["update"]).starts_with("1 is installed in slot A"));
    host.put(&with(4, because("withdrawn")));
    host.refuses(1, "release-withdrawn");
    let status = host.at.status();
    assert_eq!((&status["state"], &status["boot_next"]), (&json!("idle"), &Value::Null));
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");

    host.at.says(&["rollback", "--unverified"]);
    host.refuses(75, "rollback-pending");
    assert_eq!(host.host().boot(), "booted slot A: 1 (promoted)");
}

#[test]
fn what_is_withdrawn_gives_way_to_what_comes_after_it_in_the_same_run() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    host.put(&document(2, &[release("2", &two, none())]));
    host.at.says(&["update"]);
    let three = host.publish("3");
    host.put(&document(
        1,
        &[release("2", &two, because("withdrawn")), release("3", &three, none())],
    ));
    assert!(host.at.says(&["update"]).starts_with("3 is installed in slot B"));
    assert_eq!(host.host().boot(), "booted slot B: 3 (promoted)");
}

#[test]
fn what_is_withdrawn_while_it_is_installed_is_not_armed() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    host.put(&document(2, &[release("2", &two, none())]));
    // The publisher changes his mind while a hook of this host thinks.
    let file = host.host().file("later.json");
    let later = document(1, &[release("2", &two, because("withdrawn"))]);
    std::fs::write(&file, later.to_string()).unwrap();
    let hook = format!(
        "#!/bin/sh\nunset FLIPSIDE_HOOK\nexec {} policy push {} {} >/dev/null 2>&1\n",
        env!("CARGO_BIN_EXE_flipside"),
        file.display(),
        host.at.registry.image("os:stable"),
    );
    host.host().write("etc/flipside/hooks/pre-upgrade.d/10-slow", hook);
    let path = host.host().file("etc/flipside/hooks/pre-upgrade.d/10-slow");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = host.host().program(["update"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("2 is withdrawn: eats data [release-withdrawn]"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    let status = host.at.status();
    assert_eq!((&status["state"], &status["boot_next"]), (&json!("installed"), &Value::Null));
    assert_eq!(host.host().boot(), "booted slot A: 1 (promoted)");
}

#[test]
fn an_image_to_pass_through_may_not_be_withdrawn() {
    let host = PolicyHost::new();
    let two = host.publish_aside("2");
    let image = ImageBuilder::new("3")
        .annotation("org.flipside.requires", "2")
        .annotation("org.flipside.via", "2");
    let three = host.at.publish(&image).digest;
    let with =
        |hours, more| document(hours, &[release("2", &two, more), release("3", &three, none())]);
    host.put(&with(2, because("withdrawn")));
    host.refuses(1, "release-withdrawn");
    host.put(&with(1, none()));
    assert!(host.at.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn from_a_dead_end_nothing_goes_on_and_who_logs_in_learns_it_at_once() {
    let host = PolicyHost::new();
    let dead = release("1", &host.one, json!({"dead_end": {"reason": "move to v3"}}));
    host.put(&document(2, std::slice::from_ref(&dead)));
    // Also where the tag names what runs.
    let sentence = host.refuses(1, "dead-end");
    assert_eq!(sentence, "1 is a dead end: move to v3");
    let message = std::fs::read_to_string(host.host().file("run/motd.d/flipside")).unwrap();
    assert_eq!(
        message,
        "flipside: this host takes no more updates by itself: 1 is a dead end: move to v3.\n"
    );
    assert_eq!(host.at.status()["blocked"]["severity"], "block");
    assert_eq!(host.at.status()["last_check"]["result"], "up-to-date");
    let two = host.publish("2");
    host.put(&document(1, &[dead, release("2", &two, none())]));
    host.refuses(1, "dead-end");
    host.host().set("policy.document = \"off\"\n");
    assert!(host.at.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn a_rollout_reaches_hosts_by_their_wariness() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let rolled = |start: i64, share: f64| {
        let rollout = json!({"start": days(start), "start_percentage": share, "duration": "10d"});
        release("2", &two, json!({"rollout": rollout}))
    };
    // To begin tomorrow: nobody yet, whatever the share.
    host.put(&document(9, &[rolled(1, 1.0)]));
    host.host().set("policy.wariness = 0\n");
    let sentence = host.refuses(75, "rollout-not-reached");
    assert!(sentence.contains("has not reached this host; it does at 2"), "{sentence}");
    // Five of ten days are over: three quarters.
    host.put(&document(8, &[rolled(-5, 0.5)]));
    host.host().set("policy.wariness = 0.8\n");
    host.refuses(75, "rollout-not-reached");
    let (observed, said) = host.explains("rollout");
    assert_eq!(
        observed,
        "2: its rollout is at 0.750, this host's wariness is 0.800 as policy.wariness says"
    );
    assert_eq!(said, "rollout-not-reached");
    // Without an identity it comes last.
    host.host().set("");
    std::fs::remove_file(host.host().file("etc/machine-id")).unwrap();
    host.refuses(75, "rollout-not-reached");
    assert!(host.explains("rollout").0.ends_with("wariness is 1.000 for want of a machine ID"));
    host.host().write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let (observed, _) = host.explains("rollout");
    assert!(observed.ends_with("by its machine ID"), "{observed}");
    assert_eq!(host.explains("rollout").0, observed, "the same each time");
    host.host().set("policy.wariness = 0.7\n");
    assert!(host.at.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn a_host_whose_machine_id_does_not_last_comes_last_in_a_rollout_and_says_so() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let rollout = json!({"start": days(-5), "start_percentage": 0.5, "duration": "10d"});
    host.put(&document(8, &[release("2", &two, json!({"rollout": rollout}))]));
    // A read-only root without an ID, before systemd has made one; and what it mounts there.
    host.host().write("etc/machine-id", "uninitialized\n");
    host.refuses(75, "machine-id-unstable");
    host.host().write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    host.host().write(
        "proc/self/mountinfo",
        "25 1 254:9 / / ro - erofs /dev/vda9 ro\n\
         26 25 254:8 / /var rw - ext4 /dev/vda8 rw\n\
         30 25 0:22 /machine-id /etc/machine-id ro - tmpfs tmpfs rw\n",
    );
    let sentence = host.refuses(75, "machine-id-unstable");
    assert!(sentence.contains("reaches this host last, at 2"), "{sentence}");
    let (observed, said) = host.explains("rollout");
    assert!(observed.ends_with("wariness is 1.000 as its machine ID does not last"), "{observed}");
    assert_eq!(said, "machine-id-unstable");
    // The initrd part took it from the data partition: it lasts.
    host.host().write("var/lib/flipside/machine-id", "0123456789abcdef0123456789abcdef\n");
    let (observed, _) = host.explains("rollout");
    assert!(observed.ends_with("by its machine ID"), "{observed}");
    // A place of its own needs no ID, and a release without a rollout no place.
    std::fs::remove_file(host.host().file("var/lib/flipside/machine-id")).unwrap();
    host.host().set("policy.wariness = 0.7\n");
    assert!(host.at.says(&["check"]).starts_with("2 is available"));
    host.host().set("");
    host.put(&document(7, &[release("2", &two, none())]));
    assert!(host.at.says(&["check"]).starts_with("2 is available"));
}

#[test]
fn a_goal_that_is_not_listed_waits_for_its_document() {
    let host = PolicyHost::new();
    host.put(&document(2, &[release("1", &host.one, none())]));
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    let two = host.publish("2");
    let sentence = host.refuses(75, "release-not-listed");
    assert!(sentence.contains(&two.short()), "{sentence}");
    host.put(&document(1, &[release("2", &two, none())]));
    assert!(host.at.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn a_withdrawn_manifest_says_nothing_of_the_one_that_was_adopted_since() {
    let host = PolicyHost::new();
    let mut again = ImageBuilder::new("1");
    again.version = "1.1".to_owned();
    let again = host.at.publish(&again).digest;
    let put = |hours, one, other| {
        let releases = [release("1", &host.one, one), release("1.1", &again, other)];
        host.put(&document(hours, &releases));
    };
    put(4, none(), none());
    assert!(host.at.says(&["update"]).starts_with("up to date: 1.1, whose new manifest"));
    put(3, because("withdrawn"), none());
    assert_eq!(host.at.says(&["update"]), "up to date: 1.1");
    assert_eq!(host.at.status()["withdrawn"], json!([]));
    // So it raises the floor.
    let old = host.publish("1.0.5");
    let releases = [
        release("1", &host.one, because("withdrawn")),
        release("1.0.5", &old, none()),
        release("1.1", &again, none()),
    ];
    host.put(&document(2, &releases));
    host.refuses(1, "version-too-old");
    let releases = [release("1.0.5", &old, none()), release("1.1", &again, because("withdrawn"))];
    host.put(&document(1, &releases));
    // It is told, and raises no floor any more.
    assert!(host.at.says(&["check"]).starts_with("1.0.5 is available"));
    assert_eq!(host.at.status()["withdrawn"][0]["version"], "1.1");
}
