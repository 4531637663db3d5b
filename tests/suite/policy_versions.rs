// SPDX-License-Identifier: MIT OR Apache-2.0

//! The version floor: no downgrade, nothing below `policy.min_version`.

use serde_json::json;

use crate::support::images::ImageBuilder;
use crate::support::policy_host::{PolicyHost, document, release};
use crate::support::registry_host::RegistryHost;

#[test]
fn a_tag_that_goes_back_is_a_downgrade_also_to_what_the_other_slot_holds() {
    let host = RegistryHost::new();
    host.arrives_at("2");
    for older in ["1", "1.5", "1.10"] {
        host.publish(&ImageBuilder::new(older));
        let sentence = host.host.refuses(1, "version-too-old");
        let expected = format!("{older} would be a downgrade from 2");
        assert!(sentence.starts_with(&expected), "{sentence}");
        let document: serde_json::Value =
            serde_json::from_str(&host.says(&["check", "--json"])).unwrap();
        assert_eq!(document["code"], "version-too-old");
    }
    assert_eq!(host.host.boot(), "booted slot B: 2 (promoted)");
    host.host.set("update.allow_downgrade = true");
    assert!(host.says(&["update"]).starts_with("1.10 is installed in slot A"));
}

#[test]
fn the_same_version_built_again_is_no_downgrade() {
    let host = RegistryHost::new();
    let mut image = ImageBuilder::new("1");
    // The first byte of the system.
    image.payloads[1].1[0] ^= 1;
    host.publish(&image);
    assert!(host.says(&["update"]).starts_with("1 is installed in slot B"));
}

#[test]
fn nothing_below_the_minimum_is_installed_also_where_downgrades_are_allowed() {
    let host = RegistryHost::new();
    host.publish(&ImageBuilder::new("2026.11.9"));
    host.host.set("policy.min_version = \"2026.11.10\"\nupdate.allow_downgrade = true");
    let sentence = host.host.refuses(1, "version-too-old");
    assert_eq!(sentence, "2026.11.9 is below policy.min_version, 2026.11.10");
    host.publish(&ImageBuilder::new("2026.11.10"));
    assert!(host.says(&["update"]).starts_with("2026.11.10 is installed"));
}

#[test]
fn what_fell_back_or_was_rolled_back_from_raises_no_floor() {
    let host = RegistryHost::new();
    host.publish(&ImageBuilder::new("3"));
    host.says(&["update"]);
    assert_eq!(host.host.0.boot_and_fail(), "B 3 trial");
    assert_eq!(host.host.0.boot(), "A 1 fell back");
    host.arrives_at("2");
    host.arrives_at("4");
    host.says(&["rollback"]);
    assert_eq!(host.host.0.boot(), "B 2 promoted");
    host.publish(&ImageBuilder::new("2.5"));
    assert!(host.says(&["update"]).starts_with("2.5 is installed in slot A"));
}

#[test]
fn what_runs_raises_no_floor_once_it_was_withdrawn() {
    let host = PolicyHost::new();
    host.at.arrives_at("3");
    let three = host.publish("3");
    let two = host.publish("2");
    let with =
        |hours, more| document(hours, &[release("2", &two, json!({})), release("3", &three, more)]);
    host.put(&with(2, json!({})));
    host.refuses(1, "version-too-old");
    host.put(&with(1, json!({"withdrawn": {"reason": "eats data"}})));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot A"));
    assert_eq!(host.host().0.boot(), "A 2 promoted");
}
