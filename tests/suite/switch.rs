// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside switch`: another tag from now on.

use serde_json::Value;

use crate::support::images::ImageBuilder;
use crate::support::program_host::refusal;
use crate::support::registry_host::RegistryHost;

const DROP_IN: &str = "etc/flipside/flipside.toml.d/90-switch.toml";

#[test]
fn another_tag_of_the_repository_is_followed_until_it_is_switched_back() {
    let host = RegistryHost::new();
    host.publish_as("testing", &ImageBuilder::new("2"));
    let before = host.host.snapshot();
    let reference = host.registry.reference("os:testing").to_string();
    assert_eq!(host.says(&["switch", "testing"]), format!("follows {reference}"));
    host.host.assert_unchanged_since(&before, "switch installs nothing");
    let text = std::fs::read_to_string(host.host.file(DROP_IN)).unwrap();
    assert!(text.ends_with(&format!("[track]\nimage = \"{reference}\"\n")), "{text}");
    assert_eq!(host.status()["follows"], reference.as_str());
    assert!(host.says(&["update"]).starts_with("2 is installed"));

    let reference = host.registry.reference("os:stable").to_string();
    assert_eq!(host.says(&["switch", "--back"]), format!("follows {reference}"));
    assert!(!host.host.file(DROP_IN).exists());
    // Nothing was booted yet: what stable names runs.
    assert!(host.says(&["update"]).starts_with("the tag went back"));
}

#[test]
fn what_was_found_at_another_tag_is_not_on_offer() {
    let host = RegistryHost::new();
    for tag in ["stable", "testing"] {
        host.publish_as(tag, &ImageBuilder::new("2"));
    }
    host.host.set("update.hold = true\n");
    let found = |status: &Value| {
        let has = |field: &str| !status[field].is_null();
        ["available", "blocked", "last_check", "policy"].map(has)
    };
    let finds = || host.host.program(["check", "--automatic"]);
    finds();
    assert_eq!(found(&host.status()), [true; 4]);
    // By hand, and nothing has run since.
    let testing = host.registry.reference("os:testing").to_string();
    host.host.follow(&testing, "");
    let page = host.says(&["status"]);
    assert!(page.contains(&testing) && !page.contains("available"), "{page}");
    assert_eq!(found(&host.status()), [false; 4]);
    // What is found there is.
    finds();
    let status = host.status();
    assert_eq!((&status["follows"], found(&status)), (&testing.as_str().into(), [true; 4]));
    host.says(&["switch", "stable"]);
    assert_eq!(found(&host.status()), [false; 4]);
}

#[test]
fn a_tag_that_does_not_exist_is_not_followed() {
    let host = RegistryHost::new();
    let run = |arguments: &[&str]| host.host.program(arguments);
    refusal(&run(&["switch", "tseting"]), 1, "tag-not-found");
    refusal(&run(&["switch", "https://registry.example.com/os"]), 1, "reference-invalid");
    assert!(!host.host.file(DROP_IN).exists());
    assert!(host.says(&["switch", "--offline", "later"]).ends_with("os:later"));
    host.host
        .write("etc/flipside/flipside.toml.d/99-site.toml", "track.image = \"r.example/a:b\"\n");
    let sentence = refusal(&run(&["switch", "stable", "--offline"]), 1, "setting-overridden");
    assert!(sentence.contains("99-site.toml, line 1"), "{sentence}");
}
