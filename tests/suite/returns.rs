// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ways back and forth between two proven slots, and what is remembered of failures: wherever a
//! host arrives because the tag or a person wanted it, it stays.

use flipside::run::{self, Outcome, Promotion};
use flipside_core::host::Slot;
use flipside_core::host::durable::Step;
use flipside_image::code::Coded as _;
use flipside_sim::{self as sim, Power, Quirk};

use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;
use crate::support::steps::Steps;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(16 << 10).system_size(64 << 10)
}

/// Runs 2 in B; A holds 1, proven.
fn updated() -> TestHost {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot(), "B 2 promoted");
    host
}

fn forget(host: &TestHost) {
    std::fs::remove_dir_all(host.file("var/lib/flipside")).unwrap();
}

#[test]
fn a_tag_that_goes_back_to_the_other_slot_brings_the_host_there_for_good() {
    for loses_state in [false, true] {
        let host = updated();
        host.allow_downgrades();
        host.publish(&version("1"));
        assert_eq!(host.arm(), "A 1");
        if loses_state {
            forget(&host);
        }
        assert_eq!(host.boot(), "A 1 promoted");
        assert_eq!(host.boot(), "A 1 promoted");
        assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
    }
}

#[test]
fn a_tag_that_went_back_and_forth_before_the_reboot_leads_nowhere_else() {
    for loses_state in [false, true] {
        let host = updated();
        host.allow_downgrades();
        host.publish(&version("1"));
        assert_eq!(host.arm(), "A 1");
        host.publish(&version("2"));
        if loses_state {
            // Then it might be a person's rollback.
            forget(&host);
            assert!(matches!(host.update().unwrap(), Outcome::UpToDate { .. }));
            assert_eq!(host.boot(), "A 1 promoted");
            continue;
        }
        assert!(matches!(host.update().unwrap(), Outcome::Unarmed { slot: Slot::A, .. }));
        assert_eq!((host.boot(), host.boot()), ("B 2 promoted".into(), "B 2 promoted".into()));
        assert!(host.status().failed.is_empty(), "it was never tried");
        // And forth again.
        host.publish(&version("1"));
        assert_eq!(host.arm(), "A 1");
        assert_eq!(host.boot(), "A 1 promoted");
    }
}

#[test]
fn a_promotion_that_was_cut_off_after_the_proof_is_made_up_for() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    // The OS comes up, and the power goes after the proof.
    let cut = Steps::with(|step| {
        matches!(step, Step::Phase("prefer")).then(|| std::io::Error::other("cut off"))
    });
    host.boot_and_fail();
    assert!(run::promote(&host.run_with(cut.durable(), |_| {})).is_err());
    assert_eq!(host.boot(), "A 1 fell back");
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
    assert_eq!(host.boot(), "B 2 promoted");
}

#[test]
fn a_rollback_stays_where_the_running_digest_is_unknown_or_released_meanwhile() {
    // To a slot that flipside did not install, and from it again.
    let host = TestHost::unproven(&version("1"));
    std::fs::remove_file(host.file("efi/EFI/flipside/slot-a.json")).unwrap();
    host.boot();
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot(), "B 2 promoted");
    run::rollback(&host.run(), true).unwrap();
    assert_eq!((host.boot(), host.boot()), ("A 1 promoted".into(), "A 1 promoted".into()));
    run::rollback(&host.run(), false).unwrap();
    assert_eq!((host.boot(), host.boot()), ("B 2 promoted".into(), "B 2 promoted".into()));

    let host = updated();
    run::rollback(&host.run(), false).unwrap();
    run::rollback(&host.run(), false).unwrap();
    let left = host.status().slot(Slot::B).unwrap().digest.unwrap();
    assert!(host.retry(&left));
    assert_eq!((host.boot(), host.boot()), ("A 1 promoted".into(), "A 1 promoted".into()));
    // Nothing holds 2 any more, and the tag names it.
    assert_eq!(host.arm(), "B 2");
}

#[test]
fn p5_a_rollback_from_a_trial_keeps_the_proven_slot_first_and_is_not_promoted_away() {
    let host = TestHost::running(&version("1"));
    let two = host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    run::rollback(&host.run(), false).unwrap();
    let without_next = sim::Judge::of(&host.path()).unwrap();
    let skipped = Power { quirks: vec![Quirk::SkipBootNext], ..Power::default() };
    let booted = without_next.judge(&host.path(), &skipped).booted.unwrap();
    assert_eq!(booted.version, "1", "with BootNext lost");
    assert_eq!(host.promote(), Promotion::Unchanged(Slot::B));
    assert!(!host.file("efi/EFI/flipside/slot-b.proven").exists());
    assert!(host.boot().starts_with("A 1"));
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(host.refusal(), "digest-rolled-back");
    assert!(host.retry(&two.digest));
    assert_eq!(host.arm(), "B 2");
}

#[test]
fn a_hold_ends_when_the_tag_has_moved() {
    let host = updated();
    host.allow_downgrades();
    run::rollback(&host.run(), false).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(host.refusal(), "digest-rolled-back");
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    assert_eq!(host.boot(), "B 3 promoted");
    host.publish(&version("2"));
    assert_eq!(host.arm(), "A 2");
    assert_eq!(host.boot(), "A 2 promoted");
}

#[test]
fn a_first_trial_that_fails_with_the_state_directory_lost_each_time_ends() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    let mut rounds = 0;
    while host.update().is_ok() {
        rounds += 1;
        assert!(rounds <= 2, "it is tried for ever");
        forget(&host);
        assert_eq!(host.boot_and_fail(), "B 2 trial");
        assert_eq!(host.boot(), "A 1 fell back");
        forget(&host);
    }
    assert_eq!(host.refusal(), "digest-failed");
}

#[test]
fn p7_a_count_that_was_cut_off_before_the_slot_was_made_unbootable_is_made_up_for() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    host.boot_and_fail();
    assert_eq!(host.boot(), "A 1 fell back");
    host.arm();
    host.boot_and_fail();
    let cut = Steps::with(|step| {
        matches!(step, Step::Phase("condemn")).then(|| std::io::Error::other("cut off"))
    });
    host.boot_and_fail();
    assert!(run::promote(&host.run_with(cut.durable(), |_| {})).is_err());
    assert_eq!(host.promote(), Promotion::Unchanged(Slot::A));
    let boot_file = std::fs::read(host.file("efi/EFI/flipside/boot-b.efi")).unwrap();
    assert!(boot_file[..512].iter().all(|byte| *byte == 0));
    assert!(!host.file("efi/loader/entries/flipside-b.conf").exists());
}

#[test]
fn p8_a_host_whose_state_takes_no_writes_is_promoted() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    forget(&host);
    std::fs::write(host.file("var/lib/flipside"), "no directory").unwrap();
    assert_eq!(host.boot(), "B 2 promoted");
    assert_eq!(host.boot(), "B 2 promoted");
    host.publish(&version("3"));
    assert_eq!(host.refusal(), "state-unwritable");
    assert_eq!(host.boot(), "B 2 promoted");
}

#[test]
fn p8_a_host_whose_state_takes_no_writes_goes_back() {
    let takes_none = |host: &TestHost| {
        forget(host);
        std::fs::write(host.file("var/lib/flipside"), "no directory").unwrap();
    };
    let host = updated();
    takes_none(&host);
    run::rollback(&host.run(), false).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");

    // What the tag takes back does not boot any more.
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    takes_none(&host);
    host.publish(&version("1"));
    assert!(matches!(host.update().unwrap(), Outcome::Unarmed { .. }));
    assert!(host.boot().starts_with("A 1"));
}

#[test]
fn a_place_for_chunk_hashes_that_takes_none_stops_no_update() {
    let host = TestHost::running(&version("1"));
    std::fs::create_dir_all(host.file("var/lib/flipside/configs/in-the-way")).unwrap();
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot(), "B 2 promoted");
}

#[test]
fn a_running_slot_without_its_files_gets_them_back_at_the_next_boot() {
    for lost in
        ["EFI/flipside/slot-a.json", "EFI/flipside/slot-a.proven", "loader/entries/flipside-a.conf"]
    {
        for damage in [None, Some(""), Some("{\"digest\":")] {
            let host = TestHost::running(&version("1"));
            let file = host.file("efi").join(lost);
            match damage {
                None => std::fs::remove_file(&file).unwrap(),
                Some(text) => std::fs::write(&file, text).unwrap(),
            }
            host.publish(&version("2"));
            let refused = host.update().err().map(|error| error.code().name());
            assert!(matches!(refused, None | Some("trial-running")), "{lost}: {refused:?}");
            if refused.is_some() {
                assert_eq!(host.boot(), "A 1 promoted");
                host.arm();
            }
            assert_eq!(host.boot(), "B 2 promoted", "{lost} {damage:?}");
        }
    }
}

#[test]
fn what_is_no_file_on_the_esp_is_refused_before_anything_is_touched() {
    for name in ["boot-b.efi", "slot-b.json", "slot-b.proven", "failed.json"] {
        for link in [false, true] {
            let host = TestHost::running(&version("1"));
            let own = host.file("efi/EFI/flipside");
            match link {
                true => std::os::unix::fs::symlink(own.join("boot-a.efi"), own.join(name)),
                false => std::fs::create_dir(own.join(name)),
            }
            .unwrap();
            host.publish(&version("2"));
            assert_eq!(host.refusal(), "esp-damaged", "{name} {link}");
            assert!(!host.file("efi/loader/entries/flipside-b.conf").exists());
            assert_eq!(host.boot(), "A 1 promoted", "{name} {link}");
            std::fs::remove_file(own.join(name))
                .or_else(|_| std::fs::remove_dir(own.join(name)))
                .unwrap();
            host.arm();
            assert_eq!(host.boot(), "B 2 promoted");
        }
    }
}

#[test]
fn a_kernel_started_by_kexec_proves_nothing() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    // The loader variables still name A: they survive kexec.
    let command_line = "root=PARTLABEL=system-b ro flipside.slot=b\n";
    std::fs::write(host.file("proc/cmdline"), command_line).unwrap();
    std::fs::write(host.file("proc/sys/kernel/random/boot_id"), "after-kexec\n").unwrap();
    assert_eq!(host.promote(), Promotion::ByKexec);
    assert_eq!(host.status().running.slot, Some(Slot::B));
    assert!(!host.file("efi/EFI/flipside/slot-b.proven").exists());
    host.publish(&version("3"));
    assert_eq!(host.refusal(), "trial-running");
    // The next firmware boot is the trial.
    assert_eq!(host.boot(), "B 2 promoted");
    assert_eq!(host.arm(), "A 3");
}
