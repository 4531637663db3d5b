// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each fault of firmware has the effect that was seen in the field.

use std::fs;

use flipside_sim::{self as sim, BootOptions, Judge, Power, Quirk};

use crate::support::sim_machine::SimMachine;

fn wiped(quirks: &[Quirk]) -> Power {
    Power { wipe_nvram: true, quirks: quirks.to_vec() }
}

#[test]
fn drop_unlisted_deletes_what_boot_next_names() {
    let machine = SimMachine::with_both();
    machine.set_order(&[0, 1, 2]);
    machine.set_next(3);
    assert_eq!(machine.judged_plainly(), "B 2.0");
    assert_eq!(machine.boot_with(&[Quirk::DropUnlisted]), "A 1.0 (trial)");
    assert_eq!(machine.entry(3), None);
}

#[test]
fn overwrite_unlisted_makes_it_another_entry() {
    let machine = SimMachine::with_both();
    let before = machine.entry(3);
    machine.set_order(&[0, 1, 2]);
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::OverwriteUnlisted]), "A 1.0 (trial)");
    assert_ne!(machine.entry(3), before);
}

#[test]
fn boot_order_lock_undoes_a_promotion() {
    let machine = SimMachine::with_both();
    machine.set_order(&[3, 0, 1, 2]);
    assert_eq!(machine.judged_plainly(), "B 2.0");
    assert_eq!(machine.boot_with(&[Quirk::BootOrderLock]), "A 1.0 (trial)");
    assert_eq!(machine.order(), Some(vec![0, 1, 2]));
    // Its entry is still there, and BootNext works.
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::BootOrderLock]), "B 2.0 (trial)");
}

#[test]
fn drop_duplicates_keeps_the_first_of_equal_paths() {
    let machine = SimMachine::with_both();
    machine.write_entry(9, &machine.entry_of('b'));
    machine.set_order(&[9, 3, 0]);
    assert_eq!(machine.boot_with(&[Quirk::DropDuplicates]), "B 2.0 (trial)");
    assert_eq!(machine.entry(9), None);
    assert_eq!(machine.order(), Some(vec![3, 0, 1]));
}

#[test]
fn drop_invalid_paths_deletes_entries_without_a_file() {
    let machine = SimMachine::with_both();
    fs::remove_file(machine.esp("EFI/flipside/boot-b.efi")).unwrap();
    assert_eq!(machine.boot_with(&[]), "A 1.0 (trial)");
    assert!(machine.entry(3).is_some());
    assert_eq!(machine.boot_with(&[Quirk::DropInvalidPaths]), "A 1.0 (trial)");
    assert_eq!(machine.entry(3), None);
    assert_eq!(machine.order(), Some(vec![0, 1, 2]));
}

#[test]
fn restore_order_starts_the_disks_own_loader() {
    let machine = SimMachine::with_both();
    machine.set_order(&[3, 0, 1, 2]);
    assert_eq!(machine.boot_with(&[Quirk::RestoreOrder]), "A 1.0 (trial)");
    assert_eq!(machine.order(), Some(vec![1, 0, 2, 3]));
    assert_eq!(machine.text("LoaderEntrySelected").as_deref(), Some("flipside-a.conf"));
}

#[test]
fn lose_entries_leaves_their_numbers_in_the_order() {
    let machine = SimMachine::with_both();
    assert_eq!(machine.boot_with(&[Quirk::LoseEntries]), "A 1.0 (trial)");
    assert_eq!((machine.entry(0), machine.entry(3)), (None, None));
    assert_eq!(machine.order(), Some(vec![0, 3, 1, 2]));
    assert!(machine.text("LoaderEntrySelected").is_some());
}

#[test]
fn firmware_entry_puts_the_removable_path_in_front() {
    let machine = SimMachine::with_both();
    machine.set_order(&[3, 0, 1, 2]);
    for _ in 0..2 {
        assert_eq!(machine.boot_with(&[Quirk::FirmwareEntry]), "A 1.0 (trial)");
        assert_eq!(machine.order(), Some(vec![4, 3, 0, 1, 2]), "and only once");
    }
    machine.write_loader_entry('a', 1);
    machine.write_loader_entry('b', 0);
    assert_eq!(machine.boot_with(&[Quirk::FirmwareEntry]), "B 2.0 (fell back)");
}

#[test]
fn no_runtime_variables_hides_them_and_keeps_them() {
    let machine = SimMachine::with_both();
    assert_eq!(machine.boot_with(&[Quirk::NoRuntimeVariables]), "A 1.0 (trial)");
    assert!(!machine.directory.join("sys/firmware/efi").exists());
    assert_eq!(machine.boot_with(&[Quirk::NoRuntimeVariables]), "A 1.0 (trial)");
    assert_eq!(machine.boot_with(&[]), "A 1.0 (trial)");
    assert_eq!(machine.order(), Some(vec![0, 3, 1, 2]));
}

#[test]
fn volatile_writes_are_gone_after_the_reset() {
    let machine = SimMachine::with_both();
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::VolatileWrites]), "A 1.0 (trial)");
    assert_eq!(machine.order(), Some(vec![0, 1, 2]), "as the firmware last had it");
    assert_eq!(machine.entry(3), None);
}

#[test]
fn lost_nvram_leaves_the_removable_loader() {
    let machine = SimMachine::with_both();
    machine.set_order(&[3, 0]);
    assert_eq!(machine.judged(&wiped(&[])), "A 1.0");
    machine.write_loader_entry('a', 1);
    machine.write_loader_entry('b', 0);
    assert_eq!(machine.boot_with(&[Quirk::LoseNvram]), "B 2.0 (trial)");
    assert_eq!(machine.order(), Some(vec![0]), "the firmware's own entry for the disk");
    assert_eq!(machine.entry(1), None);
}

#[test]
fn missing_boot_order_honours_boot_next_and_then_the_loader() {
    let machine = SimMachine::with_both();
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::MissingBootOrder]), "B 2.0 (trial)");
    assert_eq!(machine.order(), None);
    assert_eq!(machine.boot_with(&[Quirk::MissingBootOrder]), "A 1.0 (fell back)");
    assert!(machine.text("LoaderEntrySelected").is_some());
    assert_eq!(machine.read("BootCurrent"), None);
    assert_eq!(machine.boot_with(&[]), "A 1.0 (trial)");
    assert_eq!(machine.order(), Some(vec![1]), "the disk's own entry comes back");
}

#[test]
fn odd_boot_order_does_not_grow() {
    let machine = SimMachine::with_both();
    for _ in 0..2 {
        assert_eq!(machine.boot_with(&[Quirk::OddBootOrder]), "A 1.0 (trial)");
        assert_eq!(machine.read("BootOrder").unwrap(), [0, 0, 3, 0, 1, 0, 2, 0, 0]);
    }
}

#[test]
fn dangling_boot_order_lists_what_is_not_there() {
    let machine = SimMachine::with_both();
    for _ in 0..2 {
        assert_eq!(machine.boot_with(&[Quirk::DanglingBootOrder]), "A 1.0 (trial)");
        assert_eq!(machine.order(), Some(vec![0x0abc, 0, 3, 1, 2, 0x0abd]));
    }
}

#[test]
fn cut_descriptions_may_be_equal_and_then_one_goes() {
    let machine = SimMachine::with_both();
    assert_eq!(machine.boot_with(&[Quirk::DropEqualDescriptions]), "A 1.0 (trial)");
    assert!(machine.entry(3).is_some(), "they differ");
    let before = machine.entry(3);
    assert_eq!(machine.boot_with(&[Quirk::CutDescriptions]), "A 1.0 (trial)");
    assert!(machine.entry(3).is_some() && machine.entry(3) != before);
    assert_eq!(machine.boot_with(&[Quirk::DropEqualDescriptions]), "A 1.0 (trial)");
    assert_eq!(machine.entry(3), None);
}

#[test]
fn a_stale_entry_leads_nowhere() {
    let machine = SimMachine::with_both();
    for _ in 0..2 {
        assert_eq!(machine.boot_with(&[Quirk::StaleEntry]), "A 1.0 (trial)");
        assert_eq!(machine.order(), Some(vec![4, 0, 3, 1, 2]), "one is enough");
    }
}

#[test]
fn another_loader_takes_the_first_number_and_place() {
    let machine = SimMachine::with_both();
    let before = machine.entry(0);
    // Slot A's entry was Boot0000.
    assert_eq!(machine.boot_with(&[Quirk::OtherLoaderFirst]), "B 2.0 (trial)");
    assert_ne!(machine.entry(0), before);
    assert_eq!(machine.order(), Some(vec![0, 3, 1, 2]));
    fs::create_dir_all(machine.esp("EFI/Microsoft/Boot")).unwrap();
    let other = machine.esp("EFI/Microsoft/Boot/bootmgfw.efi");
    fs::copy(machine.esp("EFI/flipside/boot-a.efi"), other).unwrap();
    assert!(machine.judged_plainly().contains("is no boot file of this machine"));
}

#[test]
fn delete_failed_entry_removes_what_did_not_start() {
    let machine = SimMachine::with_both();
    fs::write(machine.esp("EFI/flipside/boot-b.efi"), [0; 4096]).unwrap();
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::DeleteFailedEntry]), "A 1.0 (fell back)");
    assert_eq!(machine.entry(3), None);
    assert_eq!(machine.order(), Some(vec![0, 1, 2]));
}

#[test]
fn stop_at_menu_goes_no_further() {
    let machine = SimMachine::with_both();
    fs::write(machine.esp("EFI/flipside/boot-b.efi"), [0; 4096]).unwrap();
    machine.set_order(&[0, 3]);
    assert_eq!(machine.boot_with(&[Quirk::StopAtMenu]), "A 1.0 (trial)");
    machine.set_next(3);
    assert!(machine.boot_with(&[Quirk::StopAtMenu]).contains("stops at its menu"));
    assert_eq!(machine.boot_with(&[Quirk::StopAtMenu]), "A 1.0 (trial)", "BootNext is gone");
}

#[test]
fn first_only_passes_over_the_second() {
    let machine = SimMachine::with_both();
    fs::remove_file(machine.esp("EFI/flipside/boot-b.efi")).unwrap();
    fs::remove_file(machine.esp("loader/entries/flipside-a.conf")).unwrap();
    machine.set_order(&[3, 0, 1]);
    assert_eq!(machine.judged_plainly(), "A 1.0");
    assert!(machine.boot_with(&[Quirk::FirstOnly]).contains("systemd-boot has no entry"));
}

#[test]
fn boot_next_is_ignored_and_stays_or_is_taken_away() {
    let machine = SimMachine::with_both();
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::IgnoreBootNext]), "A 1.0 (trial)");
    assert_eq!(machine.read("BootNext").as_deref(), Some(&[3, 0][..]));
    assert_eq!(machine.boot_with(&[Quirk::SkipBootNext]), "A 1.0 (trial)");
    assert_eq!(machine.read("BootNext"), None);
}

#[test]
fn boot_current_is_absent_or_wrong() {
    let machine = SimMachine::with_both();
    assert_eq!(machine.boot_with(&[Quirk::NoBootCurrent]), "A 1.0 (trial)");
    assert_eq!(machine.read("BootCurrent"), None);
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::WrongBootCurrent]), "B 2.0 (trial)");
    assert_eq!(machine.read("BootCurrent").as_deref(), Some(&[0, 0][..]));
}

#[test]
fn without_repair_a_damaged_primary_table_hides_the_root() {
    let machine = SimMachine::with_both();
    machine.damage_primary_table();
    assert_eq!(machine.judged_plainly(), "A 1.0", "repaired before anything boots");
    assert!(machine.boot_with(&[Quirk::NoTableRepair]).contains("finds no partitions"));
    assert_eq!(machine.boot_with(&[]), "A 1.0 (trial)");
    assert_eq!(machine.boot_with(&[Quirk::NoTableRepair]), "A 1.0 (trial)");
}

#[test]
fn the_old_stub_says_less() {
    let machine = SimMachine::with_both();
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[Quirk::OldStub]), "B 2.0 (trial)");
    assert_eq!(machine.text("StubImageIdentifier"), None);
    assert_eq!(machine.text("StubDevicePartUUID"), None);
    let file = machine.text("LoaderImageIdentifier");
    assert_eq!(file.as_deref(), Some("\\EFI\\flipside\\boot-b.efi"));
}

#[test]
fn a_machine_keeps_the_quirks_it_was_made_with() {
    let machine = SimMachine::with(|options| options.quirks = vec![Quirk::NoBootCurrent]);
    assert!(machine.read("BootCurrent").is_some(), "from the first boot on");
    sim::boot(&machine.directory, &BootOptions::default()).unwrap();
    assert_eq!(machine.read("BootCurrent"), None);
}

/// Whatever the firmware does, a machine with two whole slots boots one of them.
#[test]
fn two_whole_slots_survive_any_two_quirks_and_lost_nvram() {
    let machine = SimMachine::with_both();
    let judge = Judge::of(&machine.directory).unwrap();
    for first in Quirk::all() {
        for second in Quirk::all() {
            for wipe_nvram in [false, true] {
                let power = Power { wipe_nvram, quirks: vec![*first, *second] };
                let verdict = judge.judge(&machine.directory, &power);
                // Firmware that stops at its menu and puts entries without a file in front.
                let expected = [first, second].contains(&&Quirk::StopAtMenu)
                    && [first, second]
                        .iter()
                        .any(|quirk| matches!(quirk, Quirk::StaleEntry | Quirk::OtherLoaderFirst));
                assert_eq!(verdict.booted.is_err(), expected, "{power:?}: {verdict:?}");
            }
        }
    }
}
