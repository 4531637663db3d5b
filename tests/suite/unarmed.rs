// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hosts that lose their state directory at each boot: what was not armed is no trial that fell back.

use flipside::config::Initiative;
use flipside::report::status::State;
use flipside::run::{self, Outcome};
use flipside_core::host::durable::Step;
use flipside_image::code::Coded as _;

use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;
use crate::support::steps::Steps;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(16 << 10).system_size(64 << 10)
}

fn boot_without_state(host: &TestHost, fail: bool) -> String {
    std::fs::remove_dir_all(host.file("var/lib/flipside")).unwrap();
    std::fs::create_dir_all(host.file("var/lib/flipside")).unwrap();
    host.boot_with(fail, flipside_sim::Power::default())
}

fn failed(host: &TestHost) -> serde_json::Value {
    let bytes = std::fs::read(host.file("efi/EFI/flipside/failed.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn p8_what_was_disarmed_is_no_trial_on_a_host_that_forgets_its_state() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("1"));
    assert!(matches!(host.update().unwrap(), Outcome::Unarmed { .. }));
    for _ in 0..4 {
        assert_eq!(boot_without_state(&host, false), "A 1 promoted");
        assert_eq!(failed(&host)["trials"], serde_json::json!([]));
        assert_eq!(host.status().state, State::Installed);
    }
    host.publish(&version("2"));
    assert_eq!(host.arm(), "B 2");
    assert!(failed(&host)["unarmed"].is_null(), "it may be tried now");
    assert_eq!(boot_without_state(&host, false), "B 2 promoted");
}

#[test]
fn p8_what_was_held_before_it_was_armed_is_no_trial_on_a_host_that_forgets_its_state() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    let hold = host.file("etc/flipside/flipside.toml.d/30-hold.toml");
    std::fs::create_dir_all(hold.parent().unwrap()).unwrap();
    let file = hold.clone();
    let steps = Steps::with(move |step| {
        if *step == Step::Phase("list") {
            std::fs::write(&file, "[update]\nhold = true\n").unwrap();
        }
        None
    });
    let held = run::update(&host.run_with(steps.durable(), |_| {}), Initiative::Automatic);
    assert_eq!(held.unwrap_err().code().name(), "updates-held");
    for _ in 0..3 {
        assert_eq!(boot_without_state(&host, false), "A 1 promoted");
        assert_eq!(failed(&host)["trials"], serde_json::json!([]));
    }
    std::fs::remove_file(hold).unwrap();
    assert_eq!(host.arm(), "B 2");
    assert_eq!(boot_without_state(&host, false), "B 2 promoted");
}

#[test]
fn p7_a_trial_counts_once_and_not_at_each_boot_after_it() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    for attempts in 1..=2 {
        assert_eq!(host.arm(), "B 2");
        assert_eq!(boot_without_state(&host, true), "B 2 trial");
        for _ in 0..3 {
            assert!(boot_without_state(&host, false).starts_with("A 1"));
            assert_eq!(failed(&host)["trials"][0]["attempts"], attempts);
        }
    }
    assert_eq!(host.refusal(), "digest-failed");
}
