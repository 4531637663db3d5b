// SPDX-License-Identifier: MIT OR Apache-2.0

//! Another manifest of the content that a slot holds: signed again, with other annotations, in an
//! index that was made anew. Nothing is written, and nothing that failed is tried again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flipside::report::status::State;
use flipside::run::{self, Outcome};

use crate::support::followed::followed;
use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(32 << 10).system_size(64 << 10)
}

/// The same content under another manifest.
fn renamed(version_and: &str, note: &str) -> ImageBuilder {
    version(version_and).annotation("com.example.note", note)
}

const ADOPTED: &str = "var/lib/flipside/adopted.json";

/// What an update must not touch where only the manifest is new: the disk, the ESP, NVRAM.
fn medium(host: &TestHost) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![host.file("disk.img"), host.file("efi"), host.file("sys")];
    while let Some(path) = left.pop() {
        match path.is_dir() {
            true => left.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path())),
            false => _ = found.insert(path.clone(), std::fs::read(&path).unwrap()),
        }
    }
    assert!(found.len() > 5);
    found
}

fn is_adopted(outcome: &Outcome, expected: &str) -> bool {
    matches!(outcome, Outcome::Adopted { version, .. } if version == expected)
}

#[test]
fn a_new_manifest_of_what_runs_writes_no_slot_and_needs_no_reboot() {
    let host = TestHost::running(&version("1"));
    let image = host.publish(&renamed("1", "first"));
    let before = medium(&host);
    assert!(is_adopted(&host.update().unwrap(), "1"));
    assert!(medium(&host) == before);
    assert!(!host.status().reboot_required);
    // From then on it is what runs (P10: and nothing more is written).
    let adopted = std::fs::read(host.file(ADOPTED)).unwrap();
    std::fs::remove_dir_all(host.file("run/flipside")).unwrap();
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    assert_eq!(std::fs::read(host.file(ADOPTED)).unwrap(), adopted);
    let status = host.status();
    let running = status.slots.iter().find(|slot| slot.running).unwrap();
    assert_eq!(running.digest, Some(image.digest));
    // It is proven by the digest that it booted with.
    let proof = host.file("efi/EFI/flipside/slot-a.proven");
    let proven = std::fs::read(&proof).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(std::fs::read(&proof).unwrap(), proven);
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    let history = std::fs::read_to_string(host.file("var/lib/flipside/history.jsonl")).unwrap();
    assert_eq!(history.matches("\"adopted\"").count(), 1, "{history}");
    // Other content is installed as ever, and what was adopted says nothing about it.
    host.publish(&version("2"));
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
    host.publish(&renamed("2", "x"));
    assert!(is_adopted(&host.update().unwrap(), "2"));
}

#[test]
fn p8_an_adoption_that_is_lost_or_damaged_costs_a_look_and_no_reboot() {
    let host = TestHost::running(&version("1"));
    host.publish(&renamed("1", "first"));
    assert!(is_adopted(&host.update().unwrap(), "1"));
    let good = std::fs::read_to_string(host.file(ADOPTED)).unwrap();
    for damaged in ["", "{", "null", &good.replace("\"a\"", "\"b\""), &"x".repeat(70_000)] {
        std::fs::write(host.file(ADOPTED), damaged).unwrap();
        let shown: String = damaged.chars().take(40).collect();
        assert!(is_adopted(&host.update().unwrap(), "1"), "{shown}");
        assert_eq!(std::fs::read_to_string(host.file(ADOPTED)).unwrap(), good, "{shown}");
    }
    // What cannot be noted is not taken for done.
    std::fs::remove_file(host.file(ADOPTED)).unwrap();
    std::fs::create_dir(host.file(ADOPTED)).unwrap();
    for _ in 0..2 {
        assert_eq!(host.refusal(), "state-unwritable");
    }
}

#[test]
fn p7_what_failed_is_not_tried_again_under_another_manifest() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2"));
    for _ in 0..2 {
        host.arm();
        host.boot_and_fail();
        assert_eq!(host.boot(), "A 1 fell back");
    }
    host.publish(&renamed("2", "signed again"));
    assert_eq!(host.refusal(), "digest-failed");
    // Nor where the slot does not hold it any more.
    host.publish(&version("3"));
    host.arm();
    assert_eq!(host.boot(), "B 3 promoted");
    host.publish(&renamed("2", "and again"));
    assert_eq!(host.refusal(), "digest-failed");
    host.allow_downgrades();
    assert!(host.retry(&two.digest));
    assert_eq!(host.arm(), "A 2");
}

#[test]
fn p7_to_push_an_image_again_gives_it_no_more_trials() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    host.boot_and_fail();
    assert_eq!(host.boot(), "A 1 fell back");
    host.publish(&renamed("2", "signed again"));
    host.arm();
    host.boot_and_fail();
    assert_eq!(host.boot(), "A 1 fell back");
    host.publish(&renamed("2", "and again"));
    assert_eq!(host.refusal(), "digest-failed");
    assert_eq!(host.status().failed[0].attempts, 2);
}

#[test]
fn what_was_adopted_says_nothing_of_the_slot_once_it_is_written_again() {
    let host = TestHost::running(&version("1"));
    host.allow_downgrades();
    let first = version("1");
    let mut named = version("1");
    named.version = "1.1".to_owned();
    host.publish(&named);
    assert!(is_adopted(&host.update().unwrap(), "1.1"));
    for (next, booted) in [("2", "B 2"), ("3", "A 3"), ("4", "B 4")] {
        host.publish(&version(next));
        assert_eq!(host.arm(), booted);
        assert_eq!(host.boot(), format!("{booted} promoted"));
        assert!(!host.file(ADOPTED).exists());
    }
    host.publish(&first);
    assert_eq!(host.arm(), "A 1");
    assert_eq!(host.boot(), "A 1 promoted");
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { version, .. } if version == "1"));
}

#[test]
fn what_is_armed_gives_way_to_a_new_manifest_of_what_runs_that_the_rules_allow() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("1").annotation("org.flipside.compatible", "nothing"));
    assert_eq!(host.refusal(), "not-compatible");
    assert_eq!(host.status().state, State::Armed);
    host.publish(&renamed("1", "signed again"));
    assert!(matches!(host.update().unwrap(), Outcome::Unarmed { .. }));
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn p7_a_health_check_that_failed_covers_every_manifest_of_the_content() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    run::fail_trial(&host.run(), "the disk is full").unwrap();
    assert_eq!(host.boot(), "A 1 fell back");
    host.publish(&renamed("2", "signed again"));
    assert_eq!(host.refusal(), "digest-failed");
}

#[test]
fn p7_what_a_rollback_left_does_not_come_back_under_another_manifest() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot(), "B 2 promoted");
    run::rollback(&host.run(), false).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
    host.publish(&renamed("2", "signed again"));
    assert_eq!(host.refusal(), "digest-rolled-back");
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
}

#[test]
fn what_the_other_slot_holds_is_not_written_again_and_tried_by_its_new_name() {
    let host = TestHost::running(&version("1"));
    host.allow_downgrades();
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("1"));
    assert!(matches!(host.update().unwrap(), Outcome::Unarmed { .. }));
    let image = std::fs::read(host.file("disk.img")).unwrap();
    let again = host.publish(&renamed("2", "signed again"));
    assert_eq!(host.arm(), "B 2");
    assert!(std::fs::read(host.file("disk.img")).unwrap() == image);
    let record = std::fs::read_to_string(host.file("efi/EFI/flipside/slot-b.json")).unwrap();
    assert!(record.contains(&again.digest.to_string()), "{record}");
    assert_eq!(host.boot(), "B 2 promoted");
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn a_tag_that_goes_back_to_the_manifest_that_was_installed_is_adopted_too() {
    let host = TestHost::running(&version("1"));
    let first = version("1");
    host.publish(&renamed("1", "by mistake"));
    assert!(is_adopted(&host.update().unwrap(), "1"));
    let image = host.publish(&first);
    assert!(is_adopted(&host.update().unwrap(), "1"));
    let status = host.status();
    let running = status.slots.iter().find(|slot| slot.running).unwrap();
    assert_eq!(running.digest, Some(image.digest));
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn what_is_adopted_on_the_way_leads_on_in_the_same_run() {
    let host = TestHost::running(&version("1"));
    let mut step = version("1");
    step.version = "1.1".to_owned();
    step.tag("step").write(&host.track);
    let asks = |image: ImageBuilder| {
        image.annotation("org.flipside.requires", "1.1").annotation("org.flipside.via", "step")
    };
    // Also where something else is armed.
    host.publish(&version("1.5"));
    host.arm();
    host.publish(&asks(version("2")));
    assert_eq!(host.arm(), "B 2");
}

#[test]
fn a_slot_that_an_older_flipside_wrote_is_updated_as_ever() {
    let host = TestHost::running(&version("1"));
    let path = host.file("efi/EFI/flipside/slot-a.json");
    let bytes = std::fs::read(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert!(record.as_object_mut().unwrap().remove("content_id").is_some());
    std::fs::write(&path, record.to_string()).unwrap();
    host.publish(&renamed("1", "first"));
    assert_eq!(host.arm(), "B 1");
    assert_eq!(host.boot(), "B 1 promoted");
    host.publish(&renamed("1", "second"));
    assert!(is_adopted(&host.update().unwrap(), "1"));
}

#[test]
fn an_adoption_fetches_the_manifest_and_its_config_and_no_payload() {
    let host = TestHost::running(&version("1"));
    host.publish(&renamed("1", "first"));
    let (_registry, proxy) = followed(&host, "adopted");
    assert!(is_adopted(&host.update().unwrap(), "1"));
    let blobs = proxy.seen().into_iter().filter(|seen| seen.path.contains("/blobs/")).count();
    assert_eq!(blobs, 1);
    proxy.forget();
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    assert_eq!(proxy.seen().len(), 2);
}
