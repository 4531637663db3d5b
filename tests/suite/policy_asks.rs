// SPDX-License-Identifier: MIT OR Apache-2.0

//! What images ask of a host: `org.flipside.*` annotations, from a real registry.

use jiff::{Timestamp, ToSpan as _};

use crate::support::images::ImageBuilder;
use crate::support::program_host::refusal;
use crate::support::registry_host::RegistryHost;

const REQUIRES: &str = "org.flipside.requires";
const VIA: &str = "org.flipside.via";

fn image(version: &str, annotations: &[(&str, &str)]) -> ImageBuilder {
    annotations.iter().fold(ImageBuilder::new(version), |image, (k, v)| image.annotation(k, v))
}

#[test]
fn an_image_for_other_hosts_is_refused() {
    let host = RegistryHost::new();
    host.publish(&image("2", &[("org.flipside.compatible", "acme-box, acme-edge")]));
    let sentence = host.host.refuses(1, "not-compatible");
    let image_is_for = "the image is for acme-box, acme-edge";
    assert_eq!(sentence, format!("{image_is_for}, and host.compatible names nothing"));
    host.host.set("host.compatible = [\"acme-kiosk\"]");
    let sentence = host.host.refuses(1, "not-compatible");
    assert_eq!(sentence, format!("{image_is_for}, and this host is acme-kiosk"));
    host.host.set("host.compatible = [\"acme-kiosk\", \"acme-edge\"]");
    assert!(host.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn a_version_that_is_too_low_goes_through_the_image_that_is_named() {
    let host = RegistryHost::new();
    let bridge = host.publish_as("bridge", &image("1.5", &[]));
    // By its digest, which no tag has to have any more.
    let second = host.publish_as("bridge-2", &image("2", &[(REQUIRES, "1.5"), (VIA, "bridge")]));
    let by_digest = second.digest.to_string();
    host.publish(&image("3", &[(REQUIRES, "2"), (VIA, &by_digest)]));

    let said = host.says(&["check"]);
    assert!(said.starts_with("1.5 is available") && said.contains(", on the way to 3: "), "{said}");
    let said = host.says(&["check", "--explain"]);
    let line = said.lines().find(|line| line.starts_with("requires")).unwrap();
    for part in
        ["3 asks for 2, 1 runs: by way of sha256:", "2 asks for 1.5, 1 runs: by way of bridge"]
    {
        assert!(line.contains(part), "{line}");
    }
    for (said, booted) in [
        ("1.5 is installed in slot B", "booted slot B: 1.5 (promoted)"),
        ("2 is installed in slot A", "booted slot A: 2 (promoted)"),
        ("3 is installed in slot B", "booted slot B: 3 (promoted)"),
    ] {
        let text = host.says(&["update"]);
        assert!(text.starts_with(said), "{text}");
        if !booted.contains(": 3 ") {
            assert_eq!(host.status()["available"]["version"], "3");
        }
        // It waits for its reboot, and nothing else is done meanwhile.
        let before = host.host.snapshot();
        let text = host.says(&["update"]);
        assert!(text.starts_with("nothing new: "), "{text}");
        host.host.assert_unchanged_since(&before, "waiting");
        // What flipside-update.path waits for: the way goes on as long as this is a step.
        let next_step = host.host.file("run/flipside/next-step");
        assert!(!next_step.exists());
        assert_eq!(host.host.boot(), booted);
        assert_eq!(next_step.exists(), !booted.contains(": 3 "));
        let _ = std::fs::remove_file(next_step);
    }
    assert_eq!(host.says(&["update"]), "up to date: 3");
    drop(bridge);
}

#[test]
fn who_is_high_enough_goes_directly() {
    let host = RegistryHost::new();
    host.publish_as("bridge", &image("1.5", &[]));
    host.publish(&image("2", &[(REQUIRES, "1"), (VIA, "bridge")]));
    assert!(host.says(&["update"]).starts_with("2 is installed"));
}

/// Puts something into the registry.
type Publish<'a> = &'a dyn Fn(&RegistryHost);

#[test]
fn ways_that_lead_nowhere_are_refused_and_leave_the_host_as_it_was() {
    let long: Vec<String> = (0..=9).map(|n| format!("step-{n}")).collect();
    let cases: [(&str, Publish<'_>, &str); 5] = [
        ("no way", &|host| drop(host.publish(&image("2", &[(REQUIRES, "1.5")]))), "requires-newer"),
        (
            "back to what runs",
            &|host| {
                host.publish_as("bridge", &image("1", &[]));
                host.publish(&image("2", &[(REQUIRES, "1.5"), (VIA, "bridge")]));
            },
            "via-circular",
        ),
        (
            "round in a circle",
            &|host| {
                host.publish_as("one", &image("1.1", &[(REQUIRES, "1.5"), (VIA, "two")]));
                host.publish_as("two", &image("1.2", &[(REQUIRES, "1.5"), (VIA, "one")]));
                host.publish(&image("2", &[(REQUIRES, "1.5"), (VIA, "one")]));
            },
            "via-circular",
        ),
        (
            "too many",
            &|host| {
                for (n, tag) in long.iter().enumerate() {
                    let via = long.get(n + 1).map_or("stable", String::as_str);
                    let version = format!("1.{n}");
                    host.publish_as(tag, &image(&version, &[(REQUIRES, "1.99"), (VIA, via)]));
                }
                host.publish(&image("2", &[(REQUIRES, "1.99"), (VIA, "step-0")]));
            },
            "via-too-long",
        ),
        (
            "below what runs",
            &|host| {
                host.publish_as("old", &image("0.9", &[]));
                host.publish(&image("2", &[(REQUIRES, "1.5"), (VIA, "old")]));
            },
            "version-too-old",
        ),
    ];
    for (case, publish, code) in cases {
        let host = RegistryHost::new();
        publish(&host);
        println!("{case}: {}", host.host.refuses(1, code));
        host.host.boots_as_before();
    }
}

#[test]
fn eight_steps_are_not_too_many() {
    let host = RegistryHost::new();
    for n in 0..8 {
        let via = format!("step-{}", n + 1);
        let asks = [(REQUIRES, "1.99"), (VIA, via.as_str())];
        let asks = if n < 7 { &asks[..] } else { &[] };
        host.publish_as(&format!("step-{n}"), &image(&format!("1.{}", n + 10), asks));
    }
    host.publish(&image("2", &[(REQUIRES, "1.99"), (VIA, "step-0")]));
    assert!(host.says(&["update"]).starts_with("1.17 is installed"));
}

#[test]
fn a_way_through_another_repository_is_refused_and_not_built() {
    let host = RegistryHost::new();
    for via in ["other/os:bridge", "127.0.0.1:1/os:bridge", "os@sha256:00"] {
        let asks = [(REQUIRES, "1.5"), (VIA, via)];
        let files = tempfile::tempdir().unwrap();
        let plan = image("2", &asks).plan(files.path(), &files.path().join("layout"));
        let error = flipside_publish::build::build(
            &plan,
            &flipside::report::progress::Silent,
            &flipside_core::cancel::Cancel::new(),
        )
        .unwrap_err();
        assert!(error.to_string().contains(VIA), "{error}");
        // Of another builder.
        host.publish_raw("2", &asks);
        let sentence = host.host.refuses(1, "annotation-invalid");
        assert!(sentence.contains("of the image's own repository"), "{sentence}");
    }
}

#[test]
fn a_tag_to_pass_through_that_does_not_exist_is_an_error_with_its_name() {
    let host = RegistryHost::new();
    host.publish(&image("2", &[(REQUIRES, "1.5"), (VIA, "gone")]));
    let before = host.host.snapshot();
    let sentence = refusal(&host.host.program(["update"]), 1, "tag-not-found");
    assert!(sentence.contains("gone"), "{sentence}");
    host.host.assert_unchanged_since(&before, "gone");
}

#[test]
fn the_end_of_life_of_what_runs_is_shown_from_thirty_days_before() {
    for (days, is_shown) in [(40, false), (20, true), (-3, true)] {
        let host = RegistryHost::new();
        let end = (Timestamp::now() + (days * 24).hours()).strftime("%Y-%m-%d").to_string();
        let value = format!("{end} move on to\n\u{1b}[31medge 3");
        host.publish(&image("2", &[("org.flipside.end-of-life", &value)]));
        let said = host.says(&["check", "--explain"]);
        assert!(said.contains(&format!("allow  cared for until {end}: move on to")), "{said}");
        host.says(&["update"]);
        assert!(host.status()["end_of_life"].is_null(), "it does not run yet");
        assert_eq!(host.host.0.boot(), "B 2 promoted");
        host.says(&["update"]);
        let status = host.status();
        assert_eq!(status["end_of_life"]["day"], end.as_str());
        let text = host.says(&["status"]);
        let motd = std::fs::read_to_string(host.host.file("run/motd.d/flipside"));
        let motd = motd.unwrap_or_default();
        let word = if days > 0 { "ends" } else { "ended" };
        assert_eq!(text.contains(&format!("support   {word} on {end} (")), is_shown, "{text}");
        assert_eq!(motd.contains(&format!("support of 2 {word} on {end} (")), is_shown, "{motd}");
        assert!(!text.contains('\u{1b}') && !motd.contains('\u{1b}'));
    }
}
