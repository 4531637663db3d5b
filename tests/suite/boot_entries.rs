// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boot entries in NVRAM that is hostile: each case ends in an order that boots the
//! running slot first, or in a refusal that changed nothing.

use std::sync::Arc;

use flipside_core::host::Slot;
use flipside_core::host::boot::{Backend as _, BootError, EntryKind, EntryName, Next, SlotProof};
use flipside_core::host::durable::{Durable, Step};
use flipside_core::host::efi::{BootNumber, EfiError};
use flipside_core::refusal::Severity;
use flipside_image::code::Coded as _;

use crate::support::nvram::{
    self, ESP, Nvram, OTHER_ESP, entry, file, foreign, path, slot, whole_disk,
};
use crate::support::steps::Steps;

const REMOVABLE: &str = "\\EFI\\BOOT\\BOOTX64.EFI";

struct Case {
    name: &'static str,
    order: &'static [u16],
    entries: Vec<(u16, Vec<u8>)>,
    secured: &'static [u16],
    added: &'static [u16],
}

/// A is running, B is the target.
fn hostile_cases() -> Vec<Case> {
    let stale_a = {
        let moved =
            flipside_image::efi::device_path::PartitionNode { start_lba: 34, number: 3, ..ESP };
        entry(1, "Acme OS A", &path(moved, Some("\\EFI\\flipside\\boot-a.efi")), &[])
    };
    let inactive_a = {
        let mut data = slot('a');
        data[0] = 0;
        data
    };
    let with_command_line =
        entry(1, "Acme OS A", &path(ESP, Some("\\EFI\\flipside\\boot-a.efi")), b"i\0n\0i\0t\0\0\0");
    let bare = entry(1, "UEFI OS", &path(ESP, None), &[]);
    vec![
        Case { name: "NVRAM is empty", order: &[], entries: vec![], secured: &[1], added: &[1, 2] },
        Case {
            name: "an entry without an order",
            order: &[],
            entries: vec![(5, slot('a'))],
            secured: &[5],
            added: &[5, 1],
        },
        Case {
            name: "numbers without entries are kept and not given out",
            order: &[1, 2],
            entries: vec![],
            secured: &[1, 2, 3],
            added: &[1, 2, 3, 4],
        },
        Case {
            name: "the removable path comes before the running slot",
            order: &[3, 7, 5],
            entries: vec![(3, foreign()), (7, file(REMOVABLE)), (5, slot('a'))],
            secured: &[3, 5, 7],
            added: &[3, 5, 1, 7],
        },
        Case {
            name: "an entry that firmware made for the ESP comes before the running slot",
            order: &[7, 3],
            entries: vec![(3, foreign()), (7, bare)],
            secured: &[1, 7, 3],
            added: &[1, 2, 7, 3],
        },
        Case {
            name: "the target comes before the running slot",
            order: &[6, 5],
            entries: vec![(5, slot('a')), (6, slot('b'))],
            secured: &[5, 6],
            added: &[5, 6],
        },
        Case {
            name: "entries of a lower-case path and of another disk",
            order: &[6, 5],
            entries: vec![
                (5, file("/efi/FLIPSIDE/boot-a.EFI")),
                (6, entry(1, "x", &path(OTHER_ESP, Some("\\EFI\\flipside\\boot-b.efi")), &[])),
            ],
            secured: &[6, 5],
            added: &[6, 5, 1],
        },
        Case {
            name: "a stale entry is rewritten in its place",
            order: &[3, 5],
            entries: vec![(3, foreign()), (5, stale_a.clone())],
            secured: &[3, 5],
            added: &[3, 5, 1],
        },
        Case {
            name: "an inactive entry is made active",
            order: &[5],
            entries: vec![(5, inactive_a)],
            secured: &[5],
            added: &[5, 1],
        },
        Case {
            name: "an entry that overrides the command line is rewritten",
            order: &[5],
            entries: vec![(5, with_command_line)],
            secured: &[5],
            added: &[5, 1],
        },
        Case {
            name: "duplicates are removed and their place is kept",
            order: &[8, 3, 5, 9, 5],
            entries: vec![(3, foreign()), (5, slot('a')), (8, stale_a), (9, slot('a'))],
            secured: &[5, 3],
            added: &[5, 1, 3],
        },
        Case {
            name: "duplicates of the target",
            order: &[6, 5, 7],
            entries: vec![(5, slot('a')), (6, slot('b')), (7, slot('b'))],
            secured: &[5, 6, 7],
            added: &[5, 6],
        },
        Case {
            name: "garbage entries",
            order: &[1, 2, 5],
            entries: vec![(1, vec![]), (2, vec![1, 0, 0, 0, 255, 255]), (5, slot('a'))],
            secured: &[1, 2, 5],
            added: &[1, 2, 5, 3],
        },
        Case {
            name: "an entry of several instances is rewritten in its place",
            order: &[3, 5],
            entries: vec![
                (3, foreign()),
                (
                    5,
                    nvram::with_instance(
                        &nvram::path_of(&file("/efi/flipside/boot-a.efi")),
                        &slot('a'),
                    ),
                ),
            ],
            secured: &[3, 5],
            added: &[3, 5, 1],
        },
        Case {
            name: "an entry whose path begins at the controller is rewritten in its place",
            order: &[3, 5],
            entries: vec![(3, foreign()), (5, nvram::whole_path_of_slot_a())],
            secured: &[3, 5],
            added: &[3, 5, 1],
        },
        Case {
            name: "an entry whose file lacks its NUL is rewritten in its place",
            order: &[3, 5],
            entries: vec![(3, foreign()), (5, nvram::without_nul(&slot('a')))],
            secured: &[3, 5],
            added: &[3, 5, 1],
        },
        Case {
            name: "an entry with another path behind the end of its own is rewritten in its place",
            order: &[3, 5],
            entries: vec![
                (3, foreign()),
                (
                    5,
                    entry(
                        1,
                        "Acme OS A",
                        &[nvram::path_of(&slot('a')), nvram::path_of(&foreign())].concat(),
                        &[],
                    ),
                ),
            ],
            secured: &[3, 5],
            added: &[3, 5, 1],
        },
        Case {
            name: "an entry of several places, of which one boots a slot",
            order: &[3, 5],
            entries: vec![
                (3, foreign()),
                (5, nvram::with_instance(&nvram::path_of(&foreign()), &slot('a'))),
            ],
            secured: &[3, 1, 5],
            added: &[3, 1, 2, 5],
        },
        Case {
            name: "an entry of both slots",
            order: &[5],
            entries: vec![(5, nvram::with_instance(&nvram::path_of(&slot('a')), &slot('b')))],
            secured: &[1, 5],
            added: &[1, 2, 5],
        },
        Case {
            name: "an entry of several places, of which none is here",
            order: &[5],
            entries: vec![(5, nvram::with_instance(&nvram::path_of(&foreign()), &foreign()))],
            secured: &[5, 1],
            added: &[5, 1, 2],
        },
        Case {
            name: "entry 0 is free and not used",
            order: &[5],
            entries: vec![(5, foreign()), (1, foreign())],
            secured: &[5, 2],
            added: &[5, 2, 3],
        },
    ]
}

/// Fails the test when a variable is written or removed while the running slot, once listed, is
/// missing from the order, or its listed entry does not exist.
fn watched(nvram: &Nvram) -> (Arc<Steps>, Durable) {
    let efivars = nvram.efivars();
    let listed = std::sync::atomic::AtomicBool::new(false);
    let steps = Steps::with(move |step| {
        if !matches!(step, Step::SetVariable(..) | Step::RemoveVariable(..)) {
            return None;
        }
        let order = nvram::order(&efivars);
        let is_a = |n: &u16| {
            let data = nvram::read(&efivars, &format!("Boot{n:04X}")).unwrap_or_default();
            let text: String = data.iter().filter(|b| **b != 0).map(|b| char::from(*b)).collect();
            text.to_lowercase().contains("boot-a.efi")
        };
        let is_listed = order.iter().any(is_a);
        let was_listed = listed.fetch_or(is_listed, std::sync::atomic::Ordering::SeqCst);
        assert!(is_listed || !was_listed, "slot A is missing before {step:?}: {order:?}");
        if let Step::SetVariable(path, contents) = step
            && path.file_name().unwrap().to_string_lossy().starts_with("BootOrder")
        {
            assert!(contents.len() > 4, "the order becomes empty");
            for pair in contents[4..].chunks_exact(2) {
                let number = u16::from_le_bytes([pair[0], pair[1]]);
                let exists = nvram::read(&efivars, &format!("Boot{number:04X}")).is_some();
                assert!(exists || order.contains(&number), "{number} is listed before it exists");
            }
        }
        None
    });
    let durable = steps.durable();
    (steps, durable)
}

#[test]
fn p5_the_running_slot_comes_first_whatever_nvram_holds() {
    for Case { name, order, entries, secured, added } in hostile_cases() {
        let nvram = Nvram::with(order, &entries);
        let (steps, durable) = watched(&nvram);
        let boot = nvram.boot(&durable);
        boot.check(Slot::A).unwrap();
        assert_eq!(steps.take(), [""; 0], "{name}: a check changes nothing");
        boot.secure(Slot::A).unwrap();
        assert_eq!(nvram.order(), secured, "{name}: secured");
        boot.add(Slot::B, SlotProof::Present).unwrap();
        assert_eq!(nvram.order(), added, "{name}: added");
        assert_eq!(boot.first().unwrap(), Some(Slot::A), "{name}");
        boot.arm(Slot::B).unwrap();
        assert_eq!(boot.next().unwrap(), Next::Slot(Slot::B), "{name}");
        let entries_of = |kind| {
            boot.order().unwrap().into_iter().filter(|e| e.kind == kind && e.is_active).count()
        };
        assert_eq!(entries_of(EntryKind::Slot(Slot::A)), 1, "{name}");
        assert_eq!(entries_of(EntryKind::Slot(Slot::B)), 1, "{name}");
        // P10, FIELD 8: what stands is not written again.
        steps.take();
        let before = nvram.all();
        boot.secure(Slot::A).unwrap();
        boot.add(Slot::B, SlotProof::Present).unwrap();
        boot.arm(Slot::B).unwrap();
        assert_eq!(steps.take(), [""; 0], "{name}: nothing is written twice");
        assert_eq!(nvram.all(), before, "{name}");
    }
}

/// Each path to slot A's boot file but that of our own entries, with the bytes that replace it.
#[test]
fn an_entry_of_a_slot_that_is_not_ours_becomes_ours() {
    for (data, expected) in [
        (slot('a'), None),
        (nvram::whole_path_of_slot_a(), Some(slot('a'))),
        (nvram::without_nul(&slot('a')), Some(slot('a'))),
        (nvram::with_instance(&nvram::path_of(&slot('a')), &slot('a')), Some(slot('a'))),
    ] {
        let nvram = Nvram::with(&[5], &[(5, data.clone())]);
        nvram.boot(&Durable::new()).secure(Slot::A).unwrap();
        assert_eq!(nvram.data("Boot0005"), Some(expected.unwrap_or(data)));
        assert_eq!(nvram.order(), [5]);
    }
}

#[test]
fn entries_of_others_are_never_written() {
    for Case { name, order, entries, .. } in hostile_cases() {
        let nvram = Nvram::with(order, &entries);
        let boot = nvram.boot(&Durable::new());
        let foreign: Vec<u16> = boot
            .order()
            .unwrap()
            .into_iter()
            .filter(|e| matches!(e.kind, EntryKind::Foreign | EntryKind::Removable))
            .map(|e| match e.name {
                EntryName::Number(number) => number.0,
                EntryName::File(name) => panic!("{name} is no number"),
            })
            .collect();
        let read = || -> Vec<_> {
            foreign.iter().map(|n| nvram.data(&format!("Boot{n:04X}")).unwrap()).collect()
        };
        let before = read();
        boot.secure(Slot::A).unwrap();
        boot.add(Slot::B, SlotProof::Present).unwrap();
        boot.set_default(Slot::B, SlotProof::Present).unwrap();
        assert_eq!(read(), before, "{name}");
        let kept: Vec<u16> = nvram.order().into_iter().filter(|n| foreign.contains(n)).collect();
        let expected: Vec<u16> = order.iter().copied().filter(|n| foreign.contains(n)).collect();
        assert_eq!(kept, expected, "{name}");
    }
}

#[test]
fn an_entry_exists_before_it_is_listed_and_is_listed_before_it_is_armed() {
    let nvram = Nvram::with(&[3], &[(3, foreign())]);
    let (steps, durable) = watched(&nvram);
    let boot = nvram.boot(&durable);
    boot.secure(Slot::A).unwrap();
    boot.add(Slot::B, SlotProof::Present).unwrap();
    boot.arm(Slot::B).unwrap();
    assert_eq!(
        steps.take(),
        ["set Boot0001", "set BootOrder", "set Boot0002", "set BootOrder", "set BootNext"]
    );
    assert_eq!(nvram.data("Boot0001"), Some(slot('a')));
    assert_eq!(nvram.data("Boot0002"), Some(slot('b')));
    let all = nvram.all();
    assert!(all.values().all(|contents| contents[..4] == [7, 0, 0, 0]), "attributes");
}

#[test]
fn a_promote_takes_the_first_place_of_flipsides_and_repairs_entries() {
    for (order, entries, expected) in [
        (&[3, 5, 6][..], vec![(3, foreign()), (5, slot('a')), (6, slot('b'))], &[3, 6, 5][..]),
        (&[], vec![], &[1]),
        (&[7, 3], vec![(7, file(REMOVABLE)), (3, foreign())], &[1, 7, 3]),
        (&[5, 3, 6], vec![(5, slot('a')), (3, foreign()), (6, slot('b'))], &[6, 5, 3]),
        (&[6, 5], vec![(5, slot('a')), (6, slot('b'))], &[6, 5]),
        (&[5], vec![(5, slot('a'))], &[1, 5]),
        (&[8, 3, 6], vec![(8, slot('b')), (3, foreign()), (6, slot('b'))], &[8, 3]),
    ] {
        let nvram = Nvram::with(order, &entries);
        let boot = nvram.boot(&Durable::new());
        boot.set_default(Slot::B, SlotProof::Present).unwrap();
        assert_eq!(nvram.order(), expected, "{order:?}");
        assert_eq!(boot.first().unwrap(), Some(Slot::B));
        let before = nvram.all();
        boot.set_default(Slot::B, SlotProof::Present).unwrap();
        assert_eq!(nvram.all(), before);
    }
}

#[test]
fn the_entry_of_a_whole_disk_counts_where_it_booted_this_host() {
    let nvram = Nvram::with(&[0, 2], &[(0, foreign()), (2, whole_disk())]);
    nvram.set("BootCurrent", &[2, 0]);
    let boot = nvram.boot(&Durable::new());
    boot.secure(Slot::A).unwrap();
    assert_eq!(nvram.order(), [0, 1, 2]);
}

#[test]
fn a_new_entry_never_gets_the_number_that_booted_this_host_or_is_to_boot_next() {
    let nvram = Nvram::empty();
    nvram.set("BootCurrent", &[1, 0]);
    nvram.set("BootNext", &[2, 0]);
    let boot = nvram.boot(&Durable::new());
    boot.secure(Slot::A).unwrap();
    assert_eq!(nvram.order(), [3]);
}

#[test]
fn boot_next_of_others_defers_and_stays() {
    for kind in [foreign(), file(REMOVABLE), vec![1, 2, 3]] {
        let nvram = Nvram::with(&[5, 6], &[(5, slot('a')), (6, slot('b')), (9, kind)]);
        nvram.set("BootNext", &[9, 0]);
        let boot = nvram.boot(&Durable::new());
        let before = nvram.all();
        let error = boot.check(Slot::A).unwrap_err();
        assert_eq!((error.code().name(), error.severity()), ("bootnext-taken", Severity::Defer));
        assert!(matches!(boot.next().unwrap(), Next::Foreign { number: BootNumber(9), .. }));
        assert_eq!(boot.arm(Slot::B).unwrap_err().code().name(), "bootnext-taken");
        boot.disarm(Slot::B).unwrap();
        assert_eq!(nvram.all(), before);
    }
}

#[test]
fn disarming_removes_only_what_names_the_target() {
    for (next, removed) in [
        (Some(&[6, 0][..]), true),
        (Some(&[7, 0]), true),
        (Some(&[5, 0]), false),
        (Some(&[0x44, 0]), false),
        (Some(&[6]), false),
        (Some(&[6, 0, 0]), false),
        (None, false),
    ] {
        let entries = [(5, slot('a')), (6, slot('b')), (7, slot('b'))];
        let nvram = Nvram::with(&[5, 6, 7], &entries);
        if let Some(next) = next {
            nvram.set("BootNext", next);
        }
        nvram.boot(&Durable::new()).disarm(Slot::B).unwrap();
        let expected = if removed { None } else { next.map(<[u8]>::to_vec) };
        assert_eq!(nvram.data("BootNext"), expected, "{next:?}");
    }
}

#[test]
fn nothing_is_added_or_armed_without_what_it_rests_on() {
    let nvram = Nvram::with(&[3], &[(3, foreign()), (5, slot('a')), (6, slot('b'))]);
    let boot = nvram.boot(&Durable::new());
    let before = nvram.all();
    assert_eq!(
        boot.add(Slot::B, SlotProof::Present).unwrap_err().code().name(),
        "boot-entry-missing"
    );
    assert_eq!(boot.arm(Slot::B).unwrap_err().code().name(), "boot-entry-missing");
    assert_eq!(nvram.all(), before);
}

#[test]
fn an_odd_boot_order_is_read_and_replaced() {
    let nvram = Nvram::with(&[], &[(5, slot('a')), (6, slot('b'))]);
    nvram.set("BootOrder", &[6, 0, 5, 0, 1]);
    nvram.boot(&Durable::new()).secure(Slot::A).unwrap();
    assert_eq!(nvram.data("BootOrder"), Some(vec![5, 0, 6, 0]));
}

#[test]
fn a_firmware_error_has_its_code_and_changes_no_slot() {
    use nix::errno::Errno;
    for (errno, code) in [
        (Errno::ENOSPC, "nvram-full"),
        (Errno::EROFS, "efi-variables-read-only"),
        (Errno::EIO, "nvram-write-failed"),
    ] {
        let nvram = Nvram::with(&[3], &[(3, foreign())]);
        nvram.set("dump-type0-1-1-1-C", &[0; 900]);
        let steps = Steps::with(move |_| Some(errno.into()));
        let error = nvram.boot(&steps.durable()).secure(Slot::A).unwrap_err();
        assert_eq!(error.code().name(), code);
        if let BootError::Efi(EfiError::Full { size, dumps, .. }) = &error {
            assert_eq!((*size, *dumps), (slot('a').len(), 1));
            assert!(error.to_string().contains("dump-type0-*"), "{error}");
        }
        assert_eq!(nvram.order(), [3]);
    }
}

/// Firmware loses entries: what never booted to success is the last that it may find.
#[test]
fn an_unproven_target_stands_last_and_a_proven_one_behind_the_running_slot() {
    let nvram = Nvram::with(&[1, 3], &[(1, slot('a')), (3, foreign())]);
    let boot = nvram.boot(&Durable::new());
    boot.secure(Slot::A).unwrap();
    boot.add(Slot::B, SlotProof::Absent).unwrap();
    let target = *nvram.order().last().unwrap();
    assert_eq!(nvram.order(), [1, 3, target]);
    boot.add(Slot::B, SlotProof::Present).unwrap();
    assert_eq!(nvram.order(), [1, 3, target], "behind is behind");
    boot.set_default(Slot::A, SlotProof::Absent).unwrap();
    assert_eq!(nvram.order(), [1, 3, target], "the pending trial stays last");
    boot.set_default(Slot::B, SlotProof::Present).unwrap();
    assert_eq!(nvram.order(), [target, 1, 3]);
}
