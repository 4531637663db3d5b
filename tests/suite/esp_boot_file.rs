// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boot files: no half-written one can ever boot (P2).

use std::path::PathBuf;
use std::sync::Arc;

use flipside_core::host::Slot;
use flipside_core::host::durable::Step;
use flipside_core::host::esp::{BootFileState, EspError, FIRST_SECTOR};
use flipside_core::host::storage::Storage as _;
use flipside_image::code::Coded as _;
use nix::errno::Errno;
use proptest::prelude::*;

use crate::support::esp::{fixture, program, with};
use crate::support::steps::Steps;

const NOTHING: [&str; 0] = [];

#[test]
fn p2_a_boot_file_is_durable_before_its_first_sector_and_read_back_after() {
    let f = fixture();
    let bytes = program(5000);
    let file = f.esp.create_boot_file(Slot::B, 5000).unwrap();
    assert_eq!(
        f.steps.take(),
        ["create boot-b.efi", "zero boot-b.efi 0+512", "length boot-b.efi 5000"]
    );
    file.write_at(4096, &bytes[4096..]).unwrap();
    file.write_at(0, &bytes[..4096]).unwrap();
    file.sync().unwrap();
    assert_eq!(
        f.steps.take(),
        ["write boot-b.efi 4096+904", "write boot-b.efi 512+3584", "sync boot-b.efi"]
    );
    assert_eq!(f.esp.boot_file(Slot::B).unwrap(), BootFileState::Unbootable);
    let mut read = vec![0; 5000];
    file.read_at(0, &mut read).unwrap();
    assert_eq!(read, bytes, "what is withheld reads as written");
    assert_eq!(f.bytes("boot-b.efi")[..FIRST_SECTOR], [0; FIRST_SECTOR]);

    file.complete().unwrap();
    assert_eq!(
        f.steps.take(),
        ["write boot-b.efi 0+512", "sync boot-b.efi", "sync flipside/"],
        "what was synced since its last write is not synced again"
    );
    assert_eq!(f.bytes("boot-b.efi"), bytes);
    assert_eq!(f.esp.boot_file(Slot::B).unwrap(), BootFileState::Bootable);
    assert_eq!(f.esp.boot_file(Slot::A).unwrap(), BootFileState::Absent);
    let installed = f.esp.open_boot_file(Slot::B).unwrap().unwrap();
    assert_eq!(installed.capacity(), 5000);
    assert!(installed.write_at(0, b"x").is_err());
    assert!(f.esp.open_boot_file(Slot::A).unwrap().is_none());
}

#[test]
fn p2_a_boot_file_is_unbootable_before_it_is_unlinked() {
    let f = fixture();
    f.write("boot-b.efi", &program(2000));
    f.esp.make_unbootable_and_remove(Slot::B).unwrap();
    assert_eq!(
        f.steps.take(),
        ["zero boot-b.efi 0+512", "sync boot-b.efi", "unlink boot-b.efi", "sync flipside/"]
    );
    // A run that was killed may have unlinked it without making that durable.
    f.esp.make_unbootable_and_remove(Slot::B).unwrap();
    assert_eq!(f.steps.take(), ["sync flipside/", "sync flipside/"]);
}

#[test]
fn an_interrupted_boot_file_is_taken_over_with_its_bytes() {
    let f = fixture();
    let bytes = program(3000);
    let file = f.esp.create_boot_file(Slot::B, 3000).unwrap();
    file.write_at(1024, &bytes[1024..2048]).unwrap();
    drop(file);
    f.steps.take();
    let file = f.esp.create_boot_file(Slot::B, 3000).unwrap();
    assert_eq!(f.steps.take(), NOTHING, "its first sector and its length stand already");
    let mut kept = vec![0; 1024];
    file.read_at(1024, &mut kept).unwrap();
    assert_eq!(kept, &bytes[1024..2048]);
    // One of another size, and with garbage at its start, is taken over all the same.
    f.write("boot-b.efi", &[7; 9000]);
    let file = f.esp.create_boot_file(Slot::B, 3000).unwrap();
    assert_eq!(f.steps.take(), ["zero boot-b.efi 0+512", "length boot-b.efi 3000"]);
    file.write_at(0, &bytes).unwrap();
    file.complete().unwrap();
    assert_eq!(
        f.steps.take(),
        [
            "write boot-b.efi 512+2488",
            "sync boot-b.efi",
            "write boot-b.efi 0+512",
            "sync boot-b.efi",
            "sync flipside/"
        ]
    );
    assert_eq!(f.bytes("boot-b.efi"), bytes);
}

#[test]
fn p2_a_boot_file_taken_over_whole_is_synced_before_its_first_sector() {
    let f = fixture();
    let bytes = program(3000);
    let file = f.esp.create_boot_file(Slot::B, 3000).unwrap();
    file.write_at(0, &bytes).unwrap();
    drop(file);
    f.steps.take();
    // Killed before its sync: what stands in the page cache only must not count as durable.
    let file = f.esp.create_boot_file(Slot::B, 3000).unwrap();
    file.write_at(0, &bytes[..FIRST_SECTOR]).unwrap();
    file.complete().unwrap();
    assert_eq!(
        f.steps.take(),
        ["sync boot-b.efi", "write boot-b.efi 0+512", "sync boot-b.efi", "sync flipside/"]
    );
    assert_eq!(f.bytes("boot-b.efi"), bytes);
}

#[test]
fn a_bootable_file_is_unbootable_before_another_takes_its_place() {
    let f = fixture();
    f.write("boot-b.efi", &program(2000));
    f.esp.create_boot_file(Slot::B, 3000).unwrap();
    assert_eq!(
        f.steps.take()[..5],
        [
            "zero boot-b.efi 0+512",
            "sync boot-b.efi",
            "unlink boot-b.efi",
            "sync flipside/",
            "create boot-b.efi"
        ]
    );
}

#[test]
fn what_is_no_program_or_not_whole_is_never_completed() {
    let mut no_program = program(2000);
    no_program[0x200] = b'X';
    for (bytes, skip) in
        [(no_program, 0), (vec![7; 2000], 0), (program(2000), 1), (program(2000), 512)]
    {
        let f = fixture();
        let file = f.esp.create_boot_file(Slot::B, 2000).unwrap();
        file.write_at(skip as u64, &bytes[skip..]).unwrap();
        let error = file.complete().unwrap_err();
        assert_eq!(error.code().name(), "boot-file-invalid");
        assert_eq!(f.esp.boot_file(Slot::B).unwrap(), BootFileState::Unbootable);
        assert_eq!(f.bytes("boot-b.efi")[..FIRST_SECTOR], [0; FIRST_SECTOR]);
    }
}

#[test]
fn boot_files_smaller_than_a_sector_are_handled() {
    for size in [0, 1, 63, 64, 511] {
        let f = fixture();
        let file = f.esp.create_boot_file(Slot::B, size).unwrap();
        let bytes = vec![1; usize::try_from(size).unwrap()];
        file.write_at(0, &bytes).unwrap();
        assert!(file.write_at(size, b"x").is_err());
        let mut read = vec![0; bytes.len()];
        file.read_at(0, &mut read).unwrap();
        assert_eq!(read, bytes);
        assert_eq!(file.complete().unwrap_err().code().name(), "boot-file-invalid");
    }
}

#[test]
fn a_first_sector_that_cannot_be_made_durable_is_taken_back() {
    for (failing, code) in [(2, "esp-damaged"), (1, "esp-damaged")] {
        let armed = Arc::new(std::sync::atomic::AtomicI32::new(-1));
        let countdown = Arc::clone(&armed);
        let steps = Steps::with(move |_| {
            let left = countdown.load(std::sync::atomic::Ordering::SeqCst);
            if left < 0 {
                return None;
            }
            countdown.store(left - 1, std::sync::atomic::Ordering::SeqCst);
            (left == 0).then(|| Errno::EIO.into())
        });
        let f = with(steps);
        let file = f.esp.create_boot_file(Slot::B, 2000).unwrap();
        file.write_at(0, &program(2000)).unwrap();
        armed.store(failing, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(file.complete().unwrap_err().code().name(), code);
        assert_eq!(f.bytes("boot-b.efi")[..FIRST_SECTOR], [0; FIRST_SECTOR]);
    }
}

/// Damages the file behind the page cache's back: right before the last sync.
#[test]
fn a_file_that_reads_back_differently_is_made_unbootable_again() {
    let path = Arc::new(std::sync::Mutex::new(PathBuf::new()));
    let damaged = Arc::clone(&path);
    let seen = std::sync::atomic::AtomicU32::new(0);
    let steps = Steps::with(move |step| {
        if let Step::Write(_, 0, bytes) = step
            && bytes.starts_with(b"MZ")
        {
            seen.store(1, std::sync::atomic::Ordering::SeqCst);
        }
        if matches!(step, Step::Sync(_)) && seen.swap(0, std::sync::atomic::Ordering::SeqCst) == 1 {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::options().write(true).open(&*damaged.lock().unwrap());
            file.unwrap().write_all_at(b"??", 100).unwrap();
        }
        None
    });
    let f = with(steps);
    *path.lock().unwrap() = f.path("boot-b.efi");
    let file = f.esp.create_boot_file(Slot::B, 2000).unwrap();
    file.write_at(0, &program(2000)).unwrap();
    assert_eq!(file.complete().unwrap_err().code().name(), "read-back-mismatch");
    assert_eq!(f.esp.boot_file(Slot::B).unwrap(), BootFileState::Unbootable);
}

#[test]
fn a_full_partition_is_refused_before_anything_is_written() {
    let f = fixture();
    let size = 1 << 60;
    let error = f.esp.create_boot_file(Slot::B, size).unwrap_err();
    let EspError::Full { free, needed, .. } = &error else { panic!("{error}") };
    assert!(*needed >= size && free < needed);
    assert_eq!(f.steps.take(), NOTHING);
}

proptest! {
    #[test]
    fn p2_whatever_is_written_in_whatever_pieces_the_first_sector_waits(
        size in 516usize..3000,
        cuts in prop::collection::vec(0usize..3000, 0..6),
        backwards in any::<bool>(),
    ) {
        let f = fixture();
        let bytes = program(size.max(0x206));
        let file = f.esp.create_boot_file(Slot::A, bytes.len() as u64).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c < bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces: Vec<_> = cuts.windows(2).map(|w| (w[0], &bytes[w[0]..w[1]])).collect();
        if backwards {
            pieces.reverse();
        }
        for (at, piece) in pieces {
            file.write_at(at as u64, piece).unwrap();
            prop_assert!(f.bytes("boot-a.efi")[..FIRST_SECTOR].iter().all(|b| *b == 0));
        }
        let mut read = vec![0; bytes.len()];
        file.read_at(0, &mut read).unwrap();
        prop_assert_eq!(&read, &bytes);
        file.complete().unwrap();
        prop_assert_eq!(f.bytes("boot-a.efi"), bytes);
    }
}
