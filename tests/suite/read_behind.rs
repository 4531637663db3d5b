// SPDX-License-Identifier: MIT OR Apache-2.0

//! P2: what was written is read back while the rest is written, and only behind a flush that
//! covers it.

use std::sync::atomic::Ordering;

use flipside::report::progress::Silent;
use flipside_core::cancel::Cancel;
use flipside_core::install::{InstallError, Options, ReadBehind, Written, write_payload};

use crate::support::medium::{Memory, Step};
use crate::support::stored::{BlobSource, KINDS, Kind, Stored, some_bytes};

const MIB: u64 = 1 << 20;

fn stored(kind: Kind) -> Stored {
    Stored::new(kind, 256 << 10, some_bytes((12 * MIB) as usize + 1000))
}

fn install(stored: &Stored, medium: &Memory) -> Result<Written, InstallError> {
    let read_behind = ReadBehind { flush: 2 * MIB, distance: 3 * MIB };
    let options = Options { read_behind, ..Options::default() };
    let source = BlobSource::new(&stored.blob);
    write_payload(&source, &stored.layer(), medium, &options, &Silent, &Cancel::new())
}

/// The first step that reads what no completed flush covers.
fn read_too_early(steps: &[Step]) -> Option<usize> {
    // Where each flush began that had ended before a step.
    let flushes_before = |at: usize| {
        let begun = steps[..at].iter().enumerate().filter(|(_, step)| **step == Step::Syncing);
        let ended = steps[..at].iter().filter(|step| **step == Step::Synced).count();
        begun.map(|(at, _)| at).take(ended).last()
    };
    let first_write = steps.iter().position(|step| matches!(step, Step::Written(_)))?;
    let is_too_early = |at: &usize| {
        let Step::Read(read) = &steps[*at] else { return false };
        let touches = |step: &Step| match step {
            Step::Written(written) => written.start < read.end && read.start < written.end,
            _ => false,
        };
        let written = steps[..*at].iter().rposition(touches);
        flushes_before(*at).is_none_or(|flush| written.is_none_or(|written| written > flush))
    };
    // What is read before is compared with the image: that is no read-back.
    (first_write..steps.len()).find(is_too_early)
}

#[test]
fn p2_nothing_is_read_back_before_a_flush_that_covers_it() {
    for kind in KINDS {
        let stored = stored(kind);
        let medium = Memory::with_room(&stored.truth, 0);
        install(&stored, &medium).unwrap();
        let steps = medium.steps.lock().unwrap();
        assert_eq!(read_too_early(&steps), None, "{kind:?}");
        // Most of it was read before the last flush.
        let last = steps.iter().rposition(|step| *step == Step::Syncing).unwrap();
        let first_write = steps.iter().position(|s| matches!(s, Step::Written(_))).unwrap();
        let read_before = steps[first_write..last].iter().filter_map(|step| match step {
            Step::Read(range) => Some(range.end - range.start),
            _ => None,
        });
        assert!(read_before.sum::<u64>() >= 7 * MIB, "{kind:?}");
        assert!(medium.syncs.load(Ordering::SeqCst) >= 5, "{kind:?}");
        // The same steps with a flush that came later are found out.
        let mut wrong = steps.clone();
        let synced = wrong.iter().position(|step| *step == Step::Synced).unwrap();
        let read = (synced..wrong.len()).find(|at| matches!(wrong[*at], Step::Read(_))).unwrap();
        wrong.swap(synced, read);
        assert_eq!(read_too_early(&wrong), Some(synced), "{kind:?}");
    }
}

#[test]
fn a_medium_that_forgets_is_found_out_before_all_is_written() {
    let stored = stored(Kind::Frames);
    let mut medium = Memory::with_room(&stored.truth, 0);
    medium.flipped = Some(300 << 10);
    let error = install(&stored, &medium).unwrap_err();
    let message = "partition system-b does not hold what was written to it: chunk 1 of payload \
                   system";
    assert_eq!(error.to_string(), message);
    let written = medium.steps.lock().unwrap();
    let flushes = written.iter().filter(|step| **step == Step::Syncing).count();
    // The flush at the end, by which all would have been written, is one more.
    assert!(flushes < 6, "{flushes}");
}

#[test]
fn a_flush_that_fails_on_the_way_ends_the_install() {
    let stored = stored(Kind::Plain);
    let mut medium = Memory::with_room(&stored.truth, 0);
    medium.failing_sync = true;
    let error = install(&stored, &medium).unwrap_err();
    assert!(matches!(error, InstallError::Sync { .. }), "{error}");
    assert_eq!(medium.syncs.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_read_from_memory_until_the_end_is_read_after_it() {
    let stored = stored(Kind::Frames);
    let mut medium = Memory::with_room(&stored.truth, 0);
    medium.is_cached = true;
    install(&stored, &medium).unwrap();
    assert_eq!(medium.syncs.load(Ordering::SeqCst), 1);
    assert_eq!(read_too_early(&medium.steps.lock().unwrap()), None);
}
