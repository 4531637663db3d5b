// SPDX-License-Identifier: MIT OR Apache-2.0

//! The removable-media loader: what boots when NVRAM is empty, kept up to date by promote.

use std::sync::Arc;

use flipside::run;
use flipside_core::host::durable::{Durable, Step, StepObserver};
use flipside_sim::{Backend, Power, Quirk};

use crate::support::host::{TestHost, loader_program};
use crate::support::images::ImageBuilder;
use crate::support::program_host::ProgramHost;

const OURS: &str = "efi/EFI/BOOT/BOOTX64.EFI";
const COPY: &str = "efi/EFI/flipside/loader.efi";
const OF_OS: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

fn host() -> TestHost {
    TestHost::running(&ImageBuilder::new("1"))
}

fn brings(host: &TestHost, name: &str, program: &[u8]) {
    let path = host.file(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, program).unwrap();
}

/// The program with a signature: as much of one as is looked at, with a certificate of one byte.
fn signed_by(signer: u8, mut program: Vec<u8>) -> Vec<u8> {
    let start = u32::from_le_bytes(program[0x3c..0x40].try_into().unwrap()) as usize;
    let optional = start + 24;
    program[optional..optional + 2].copy_from_slice(&[0x0b, 0x02]);
    program[optional + 108] = 16;
    let mut table = vec![29, 0, 0, 0, 0, 2, 2, 0];
    table.extend([0x30, 19, 0x06, 1, 0x2a, 0xa0, 14, 0x30, 12]);
    table.extend([0x02, 1, 1, 0x31, 0, 0x30, 0, 0xa0, 3, 0x30, 1, signer]);
    table.resize(32, 0);
    let at = u32::try_from(program.len()).unwrap().to_le_bytes();
    program[optional + 144..optional + 148].copy_from_slice(&at);
    program[optional + 148] = 32;
    program.extend(table);
    program
}

fn signed(program: Vec<u8>) -> Vec<u8> {
    signed_by(1, program)
}

struct NoWrites;
impl StepObserver for NoWrites {
    fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
        match step {
            Step::Phase(_) | Step::Sync(_) | Step::SyncDirectory(_) => Ok(()),
            step => panic!("P10: {step:?}"),
        }
    }
}

#[test]
fn a_newer_one_of_the_running_os_replaces_it_and_is_what_boots() {
    let host = host();
    let new = loader_program("258.1-1");
    brings(&host, OF_OS, &new);
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(std::fs::read(host.file(OURS)).unwrap(), new);
    assert!(!host.file(COPY).exists());
    let wiped = Power { wipe_nvram: true, quirks: Vec::new() };
    assert_eq!(host.boot_with(false, wiped), "A 1 promoted");
    // P10
    let durable = Durable::observed(Arc::new(NoWrites));
    run::promote(&host.run_with(durable, |_| {})).unwrap();
}

#[test]
fn what_is_not_ours_or_not_newer_stays() {
    type Case<'a> = (&'a str, Vec<u8>, Vec<(&'a str, Vec<u8>)>, bool);
    let signed_file = format!("{OF_OS}.signed");
    let old = || loader_program("252.39-1~deb12u2");
    let mut shim = old();
    shim.truncate(shim.len() - 20);
    let mut foreign_machine = loader_program("258");
    let at = u32::from_le_bytes(foreign_machine[0x3c..0x40].try_into().unwrap()) as usize;
    foreign_machine[at + 4..at + 6].copy_from_slice(&[0x64, 0xaa]);
    let cases: Vec<Case<'_>> = vec![
        ("newer", old(), vec![(OF_OS, loader_program("257"))], true),
        ("the same", old(), vec![(OF_OS, old())], false),
        ("older", old(), vec![(OF_OS, loader_program("252.38-1"))], false),
        ("no systemd-boot there", shim, vec![(OF_OS, loader_program("257"))], false),
        ("no systemd-boot here", old(), vec![(OF_OS, b"MZ".to_vec())], false),
        ("for another machine", old(), vec![(OF_OS, foreign_machine)], false),
        ("none here", old(), vec![], false),
        ("unsigned for signed", signed(old()), vec![(OF_OS, loader_program("257"))], false),
        (
            "signed for signed",
            signed(old()),
            vec![(OF_OS, loader_program("257")), (&signed_file, signed(loader_program("257")))],
            true,
        ),
        (
            "signed by somebody else",
            signed(old()),
            vec![(&signed_file, signed_by(2, loader_program("257")))],
            false,
        ),
        ("signed for unsigned", old(), vec![(&signed_file, signed(loader_program("257")))], true),
    ];
    for (name, present, of_os, replaced) in cases {
        let host = host();
        std::fs::write(host.file(OURS), &present).unwrap();
        for (file, program) in &of_os {
            brings(&host, file, program);
        }
        host.promote();
        let now = std::fs::read(host.file(OURS)).unwrap();
        match of_os.last().filter(|_| replaced) {
            Some((_, new)) => assert_eq!(&now, new, "{name}"),
            None => assert_eq!(now, present, "{name}"),
        }
        assert!(!host.file(COPY).exists(), "{name}");
    }
}

#[test]
fn it_is_left_alone_where_nothing_else_boots_the_host() {
    let old = loader_program("252.39-1~deb12u2");
    let by_loader = TestHost::running_by(Backend::SystemdBoot, &ImageBuilder::new("1"));
    // Booted by the loader itself this time: the firmware may forget the entries again.
    let forgetful = host();
    let wiped = Power { wipe_nvram: true, quirks: vec![Quirk::LoseNvram] };
    for (host, power) in [(by_loader, Power::default()), (forgetful, wiped)] {
        brings(&host, OF_OS, &loader_program("258"));
        assert_eq!(host.boot_with(false, power), "A 1 promoted");
        assert_eq!(std::fs::read(host.file(OURS)).unwrap(), old);
    }
}

#[test]
fn a_replacement_that_was_cut_off_is_finished_also_by_an_os_without_one() {
    let (new, old) = (loader_program("258"), loader_program("252.39-1~deb12u2"));
    let mut torn = new.clone();
    torn[..512].fill(0);
    for (name, ours, copy, expected) in [
        ("the loader is torn", &torn, &new, &new),
        ("the copy is torn", &old, &torn, &old),
        ("only the copy remained", &new, &new, &new),
    ] {
        let host = host();
        std::fs::write(host.file(OURS), ours).unwrap();
        std::fs::write(host.file(COPY), copy).unwrap();
        host.promote();
        assert_eq!(&std::fs::read(host.file(OURS)).unwrap(), expected, "{name}");
        assert!(!host.file(COPY).exists(), "{name}");
    }
}

#[test]
fn a_copy_that_was_cut_off_does_not_take_the_room_of_the_next() {
    let host = ProgramHost(host());
    brings(&host.0, OF_OS, &loader_program("258"));
    brings(&host.0, COPY, &vec![0; 1 << 20]);
    // Room for a new copy, but not beside the old one.
    let script = "mkdir full; mount -t tmpfs -o size=2560k tmpfs full; cp -a efi/. full; \
                  mount --move full efi; \"$2\" -q --root \"$1\" promote; \
                  cmp efi/EFI/BOOT/BOOTX64.EFI usr/lib/systemd/boot/efi/systemd-bootx64.efi; \
                  test ! -e efi/EFI/flipside/loader.efi";
    let Some(mut command) = host.with_mounts(script) else { return };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn with_nvram_wiped_the_proven_slot_boots_and_the_entries_are_made_again() {
    let host = host();
    host.publish(&ImageBuilder::new("2"));
    host.arm();
    assert_eq!(host.boot(), "B 2 promoted");
    let wiped = || Power { wipe_nvram: true, quirks: Vec::new() };
    assert_eq!(host.boot_with(false, wiped()), "B 2 promoted");
    let status = host.status();
    assert!(status.slots.iter().all(|slot| slot.boot_entry.is_some()), "{status:?}");
    assert_eq!(host.boot(), "B 2 promoted");
    host.publish(&ImageBuilder::new("3"));
    host.arm();
    // Wiped while a trial waits: it is not tried, and the next run arms it again.
    assert_eq!(host.boot_with(false, wiped()), "B 2 promoted");
    assert_eq!(host.arm(), "A 3");
    assert_eq!(host.boot(), "A 3 promoted");
}
