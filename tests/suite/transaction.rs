// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole transactions on a host in a directory: from the tag to the promoted slot, and every
//! way back.

use flipside::config::Initiative;
use flipside::report::status::State;
use flipside::rules::Depth;
use flipside::run::{self, Outcome, Promotion};
use flipside_core::install::{self, Job, arm_installed};
use flipside_core::{Host, Lock};
use flipside_image::code::Coded as _;
use flipside_source::LayoutSource;

use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version)
}

#[test]
fn an_update_is_written_armed_tried_and_promoted_and_the_next_goes_to_the_other_slot() {
    let host = TestHost::running(&version("1"));
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    host.publish(&version("2"));
    assert_eq!(host.arm(), "B 2");
    assert!(matches!(host.update().unwrap(), Outcome::Armed { before: true, .. }));
    assert_eq!(host.boot(), "B 2 promoted");
    assert_eq!(host.boot(), "B 2 promoted");
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    host.publish(&version("3"));
    assert_eq!(host.arm(), "A 3");
    assert_eq!(host.boot(), "A 3 promoted");
    assert_eq!(host.status().state, State::Idle);
}

#[test]
fn p7_a_digest_fails_after_two_trials_and_can_be_retried() {
    let host = TestHost::running(&version("1"));
    host.allow_downgrades();
    let bad = host.publish(&version("2"));
    for _ in 0..2 {
        assert_eq!(host.arm(), "B 2");
        assert_eq!(host.boot_and_fail(), "B 2 trial");
        assert_eq!(host.boot(), "A 1 fell back");
    }
    assert_eq!(host.refusal(), "digest-failed");
    assert_eq!(host.status().failed[0].attempts, 2);
    // Also when the tag moves away and comes back.
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    assert_eq!(host.boot(), "B 3 promoted");
    host.publish(&version("2"));
    assert_eq!(host.refusal(), "digest-failed");
    assert!(host.retry(&bad.digest));
    assert_eq!(host.arm(), "A 2");
    assert_eq!(host.boot(), "A 2 promoted");
}

#[test]
fn p7_boot_next_that_is_still_set_means_not_tried() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    // The machine was not rebooted: promote runs again, nothing is counted.
    assert_eq!(host.promote(), Promotion::Unchanged(flipside_core::host::Slot::A));
    assert!(host.status().failed.is_empty());
    assert_eq!(host.boot(), "B 2 promoted");
}

#[test]
fn p6_no_install_while_the_running_slot_has_no_proof() {
    let host = TestHost::unproven(&version("1"));
    host.publish(&version("2"));
    assert_eq!(host.refusal(), "trial-running");
    assert_eq!(host.boot(), "A 1 promoted");
    host.arm();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    // Now B runs, on trial, and the tag moves.
    host.publish(&version("3"));
    assert_eq!(host.refusal(), "trial-running");
}

/// Whoever calls core without the decision that comes before.
#[test]
fn p6_core_itself_asks_for_the_proof() {
    let host = TestHost::unproven(&version("1"));
    let published = host.publish(&version("2"));
    let access = host.run().access();
    let lock = Lock::take(&access.root).unwrap();
    let opened = Host::open(&access).unwrap().unwrap();
    let host_state = opened.host_state().unwrap();
    let job = Job {
        lock: &lock,
        access: &access,
        host: &opened,
        host_state: &host_state,
        source: &LayoutSource::open(&published.layout, Some("stable")).unwrap(),
        repository: String::new(),
        image: &published.image,
        old: None,
        tag: published.digest,
        signed_by: None,
        towards: None,
        still_stands: &|| Ok(()),
    };
    let installing = install::check(&job).map(|_| ()).unwrap_err();
    let arming = arm_installed(&lock, &opened, &host_state).unwrap_err();
    assert_eq!([installing.code().name(), arming.code().name()], ["trial-running"; 2]);
}

#[test]
fn a_tag_that_moves_before_the_reboot_supersedes_what_is_installed() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    assert_eq!(host.arm(), "B 2");
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    assert_eq!(host.boot(), "B 3 promoted");
}

#[test]
fn a_tag_that_goes_back_to_what_runs_unarms_what_is_installed() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    assert_eq!(host.arm(), "B 2");
    host.publish(&version("1"));
    assert!(matches!(host.update().unwrap(), Outcome::Unarmed { .. }));
    assert_eq!(host.boot(), "A 1 promoted");
    assert!(host.status().failed.is_empty());
    // And forth again: it is armed as it stands.
    host.publish(&version("2"));
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
}

#[test]
fn a_rollback_boots_the_other_slot_and_holds_what_it_left_until_the_tag_moves() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    host.boot();
    run::rollback(&host.run(), false).unwrap();
    // Whatever comes before the reboot does not undo it.
    assert_eq!(host.promote(), Promotion::Unchanged(flipside_core::host::Slot::B));
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(host.refusal(), "digest-rolled-back");
    assert_eq!(host.boot(), "A 1 promoted");
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    assert_eq!(host.boot(), "B 3 promoted");
}

#[test]
fn a_rollback_that_does_not_come_up_leaves_the_newer_system_running_and_lifts_the_hold() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    host.boot();
    run::rollback(&host.run(), false).unwrap();
    assert!(host.boot_and_fail().starts_with("A 1"));
    assert!(host.boot().starts_with("B 2"));
    assert_eq!(host.status().left_by_rollback, None);
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn a_rollback_to_a_slot_that_is_damaged_or_unproven_is_refused() {
    let host = TestHost::running(&version("1"));
    let code = |host: &TestHost| run::rollback(&host.run(), false).unwrap_err().code().name();
    assert_eq!(code(&host), "slot-not-proven");
    host.publish(&version("2"));
    host.arm();
    host.boot();
    let boot_file = host.file("efi/EFI/flipside/boot-a.efi");
    let mut bytes = std::fs::read(&boot_file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&boot_file, bytes).unwrap();
    assert_eq!(code(&host), "slot-damaged");
}

/// The target may be all that still boots.
#[test]
fn p9_an_update_spares_the_target_where_the_running_slot_would_not_boot_again() {
    use flipside_sim::Backend;
    let zeroed = |bytes: &mut Vec<u8>| bytes[..512].fill(0);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    let rotten = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    for backend in [Backend::Uefi, Backend::SystemdBoot] {
        for damage in [&zeroed as &dyn Fn(&mut Vec<u8>), &cut, &rotten] {
            let host = TestHost::running_by(backend, &version("1"));
            host.publish(&version("2"));
            host.arm();
            assert_eq!(host.boot(), "B 2 promoted");
            let boot_file = host.file("efi/EFI/flipside/boot-b.efi");
            let mut bytes = std::fs::read(&boot_file).unwrap();
            damage(&mut bytes);
            std::fs::write(&boot_file, bytes).unwrap();
            host.publish(&version("3"));
            let tree = || {
                let mut files = Vec::new();
                walk(&host.path(), &mut files);
                files.retain(|(path, ..)| !path.starts_with(host.file("run")));
                files
            };
            let before = tree();
            assert_eq!(host.refusal(), "running-slot-damaged");
            assert_eq!(tree(), before);
            let verdicts = run::verify(&host.run(), &[flipside_core::host::Slot::B]).unwrap();
            assert!(matches!(&verdicts[0].1, run::SlotContents::Damaged(_)), "{verdicts:?}");
            // The way out.
            run::rollback(&host.run(), false).unwrap();
            assert_eq!(host.boot(), "A 1 promoted");
            assert_eq!(host.arm(), "B 3");
            assert_eq!(host.boot(), "B 3 promoted");
        }
    }
}

#[test]
fn verify_names_the_damaged_slot_and_payload() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2"));
    host.arm();
    let verify = || {
        let verdicts = run::verify(&host.run(), &flipside_core::host::Slot::BOTH).unwrap();
        verdicts.into_iter().map(|(_, verdict)| verdict).collect::<Vec<_>>()
    };
    assert_eq!(verify(), [run::SlotContents::Whole, run::SlotContents::Whole]);
    // A byte of slot B's partition rots.
    let disk = host.file("disk.img");
    let mut bytes = std::fs::read(&disk).unwrap();
    let system = two.payload("system");
    let at = bytes.chunks(1 << 20).position(|part| part.starts_with(system)).unwrap() << 20;
    bytes[at + 70_000] ^= 1;
    std::fs::write(&disk, bytes).unwrap();
    let damaged = run::SlotContents::Damaged(vec!["system (chunk 1)".into()]);
    assert_eq!(verify(), [run::SlotContents::Whole, damaged]);
    std::fs::remove_file(host.file("efi/EFI/flipside/boot-b.efi")).unwrap();
    let run::SlotContents::Damaged(payloads) = verify().remove(1) else { panic!() };
    assert_eq!(payloads, ["kernel.efi (the boot file is missing)", "system (chunk 1)"]);
}

#[test]
fn p8_without_its_state_directory_a_host_updates_promotes_and_knows_what_is_proven() {
    let host = TestHost::running(&version("1"));
    let forget = || std::fs::remove_dir_all(host.file("var/lib/flipside")).unwrap();
    host.publish(&version("2"));
    host.arm();
    forget();
    assert_eq!(host.boot(), "B 2 promoted");
    forget();
    assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    host.publish(&version("3"));
    host.arm();
    forget();
    assert_eq!(host.boot_and_fail(), "A 3 trial");
    assert_eq!(host.boot(), "B 2 fell back");
    host.arm();
    forget();
    assert_eq!(host.boot_and_fail(), "A 3 trial");
    assert_eq!(host.boot(), "B 2 fell back");
    assert_eq!(host.refusal(), "digest-failed");
}

#[test]
fn p10_a_run_that_finds_nothing_new_writes_nothing_outside_run() {
    let host = TestHost::running(&version("1"));
    let tree = || {
        let mut files = Vec::new();
        walk(&host.path(), &mut files);
        files.retain(|(path, ..)| !path.starts_with(host.file("run")));
        files
    };
    let before = tree();
    for _ in 0..2 {
        host.update().unwrap();
        host.promote();
        run::check(&host.run(), Initiative::Manual, Depth::Check).unwrap();
        host.status();
    }
    assert_eq!(tree(), before);
}

fn walk(directory: &std::path::Path, files: &mut Vec<(std::path::PathBuf, i64, i64, u64)>) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            walk(&path, files);
        }
        files.push((path, metadata.mtime(), metadata.mtime_nsec(), metadata.ino()));
    }
}

#[test]
fn a_host_that_flipside_did_not_install_is_recorded_by_its_version() {
    let host = TestHost::unproven(&version("1"));
    std::fs::remove_file(host.file("efi/EFI/flipside/slot-a.json")).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
    let status = host.status();
    let slot = status.slot(flipside_core::host::Slot::A).unwrap();
    assert_eq!((slot.version.as_deref(), slot.digest), (Some("1"), None));
    assert_eq!(host.arm(), "B 1");
    assert_eq!(host.boot(), "B 1 promoted");
}

#[test]
fn nothing_is_done_where_nothing_is_tracked() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    let run = host.run_with(flipside_core::host::durable::Durable::new(), |config| {
        config.track.image = None;
    });
    let outcome = run::update(&run, flipside::config::Initiative::Automatic).unwrap();
    assert!(matches!(outcome, Outcome::NothingToDo(_)));
    assert!(run::check(&run, Initiative::Manual, Depth::Check).unwrap().is_none());
}
