// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images, transfers and media that are no good: each ends at the chunk, soon, with
//! a code, and no wrong byte reaches the medium (P3; the medium checks every write).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use flipside::report::progress::Silent;
use flipside_core::cancel::Cancel;
use flipside_core::install::{InstallError, Options, Written, verify, write_payload};
use flipside_image::Digest;
use flipside_image::code::Coded as _;
use proptest::prelude::*;

use super::install::install;
use crate::support::medium::Memory;
use crate::support::stored::{BlobSource, KINDS, Kind, Stored, some_bytes};

/// Runs `work` and fails where it does not end.
fn in_time<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        scope.spawn(move || {
            if wait.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("the install does not end");
                std::process::abort();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn ends_with(stored: &Stored, code: &str, message: &str) {
    ends_with_one_of(stored, code, &[message]);
}

fn ends_with_one_of(stored: &Stored, code: &str, messages: &[&str]) {
    let medium = Memory::with_room(&stored.truth, 100_000);
    let source = BlobSource::new(&stored.blob);
    let error = in_time(|| install(&source, stored, &medium)).unwrap_err();
    assert_eq!(error.code().name(), code, "{error}");
    let error = error.to_string();
    assert!(messages.iter().any(|message| error.contains(message)), "{error}");
    assert!(medium.contents()[stored.truth.len()..].iter().all(|byte| *byte == 0xa5));
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// A payload of ten chunks, chunk 6 of which is stored as `frame`.
fn with_frame(chunk: usize, frame: impl FnOnce(&[u8]) -> Vec<u8>) -> Stored {
    let truth = some_bytes(chunk * 10);
    let mut frames: Vec<_> = truth.chunks(chunk).map(compress).collect();
    frames[6] = frame(&truth[6 * chunk..7 * chunk]);
    let hashes = truth.chunks(chunk).map(Digest::of).collect();
    Stored::of_frames(chunk as u64, truth, hashes, &frames)
}

/// Zeroes without end in few bytes, and no content size to tell it by.
fn bomb(length: usize) -> Vec<u8> {
    zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), length as u64), 1).unwrap()
}

#[test]
fn a_frame_that_is_no_good_ends_at_its_chunk() {
    let chunk = 1 << 20;
    let name = "chunk 6 of payload system is damaged: ";
    for (frame, why) in [
        (
            with_frame(chunk, |_| bomb(1 << 30)),
            "cannot be decoded: Destination buffer is too small",
        ),
        (with_frame(chunk, |_| compress(&vec![0; 1 << 30])), "holds 1073741824 bytes"),
        (with_frame(chunk, |right| compress(&right[1..])), "holds 1048575 bytes"),
        (with_frame(chunk, |right| [compress(right), compress(b"more")].concat()), "ends after"),
        (with_frame(chunk, |right| [&compress(right)[..], b"x"].concat()), "ends after"),
        (with_frame(chunk, |right| compress(right)[..9].to_vec()), "cannot be decoded"),
        (with_frame(chunk, |_| b"no frame".to_vec()), "cannot be decoded"),
        (with_frame(chunk, |right| compress(&vec![7; right.len()])), "hash"),
    ] {
        ends_with(&frame, "chunk-damaged", &format!("{name}its"));
        ends_with(&frame, "chunk-damaged", why);
    }
}

#[test]
fn a_layer_that_is_no_good_ends_at_the_first_chunk_that_shows_it() {
    for chunk in [1000, 4096, 1 << 20] {
        for kind in KINDS {
            let stored = || Stored::new(kind, chunk as u64, some_bytes(chunk * 10));
            let blob = stored().blob;

            let mut flipped = stored();
            let middle = flipped.frame(5).start.min(blob.len() / 2) + 4;
            flipped.blob[middle] ^= 0x40;
            ends_with(&flipped, "chunk-damaged", "of payload system is damaged");

            let mut cut = stored();
            cut.replace_blob(blob[..blob.len() / 2].to_vec());
            ends_with(&cut, "chunk-damaged", "the layer ends before the payload does");

            let mut empty = stored();
            empty.replace_blob(Vec::new());
            ends_with(&empty, "chunk-damaged", "chunk 0 of payload system");
        }
        let mut swapped = Stored::new(Kind::Frames, chunk as u64, some_bytes(chunk * 10));
        // Of one size, so that the table stays right.
        let (one, other) = (swapped.frame(2), swapped.frame(3));
        let frames = [&swapped.blob[other.clone()], &swapped.blob[one.clone()]].concat();
        swapped.blob[one.start..other.end].copy_from_slice(&frames);
        // Two decode at a time, and each has one of them.
        let either = ["chunk 2 of payload system", "chunk 3 of payload system"];
        ends_with_one_of(&swapped, "chunk-damaged", &either);
    }
}

#[test]
fn a_stream_that_goes_on_ends_at_the_last_chunk() {
    let truth = some_bytes(50_000);
    for tail in [b"x".to_vec(), some_bytes(2_000_000), vec![0; 1 << 30]] {
        let mut stored = Stored::new(Kind::Stream, 4096, truth.clone());
        let mut blob = stored.blob.clone();
        blob.extend(zstd::stream::encode_all(tail.as_slice(), 1).unwrap());
        stored.replace_blob(blob);
        ends_with(&stored, "chunk-damaged", "the layer has data after the payload's last byte");
    }
    let mut garbage = Stored::new(Kind::Stream, 4096, truth.clone());
    garbage.replace_blob([&garbage.blob[..], b"no frame"].concat());
    ends_with(&garbage, "chunk-damaged", "chunk 12 of payload system");

    // Several frames are one stream, and an empty one at its end changes nothing.
    let mut parts = Stored::new(Kind::Stream, 4096, truth.clone());
    let frames = [&truth[..777], &truth[777..], b""].map(compress).concat();
    parts.replace_blob(frames);
    let medium = Memory::with_room(&truth, 0);
    install(&BlobSource::new(&parts.blob), &parts, &medium).unwrap();
    assert_eq!(medium.contents(), truth);
}

#[test]
fn a_stream_that_asks_for_too_much_memory_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    std::io::copy(&mut some_bytes(100_000).as_slice(), &mut encoder).unwrap();
    let mut stored = Stored::new(Kind::Stream, 4096, some_bytes(100_000));
    stored.replace_blob(encoder.finish().unwrap());
    ends_with(&stored, "chunk-damaged", "Frame requires too much memory");
}

#[test]
fn what_was_damaged_on_the_way_is_fetched_again() {
    for kind in [Kind::Frames, Kind::Plain] {
        for chunk in [4096, 1 << 20] {
            let stored = Stored::new(kind, chunk, some_bytes(chunk as usize * 12));
            for (damaged, is_healed) in [(1, true), (8, true), (9, false)] {
                let medium = Memory::with_room(&stored.truth, 0);
                let left: Vec<_> = (0..damaged).map(|_| AtomicU32::new(1)).collect();
                let mut source = BlobSource::new(&stored.blob);
                source.piece = 1000;
                source.on_piece = Box::new(|place, piece| {
                    for (index, left) in left.iter().enumerate() {
                        let at = stored.frame(index as u32).end as u64 - 1;
                        if place.contains(&at) && left.swap(0, Ordering::SeqCst) > 0 {
                            piece[(at - place.start) as usize] ^= 1;
                        }
                    }
                });
                let result = in_time(|| install(&source, &stored, &medium));
                assert_eq!(result.is_ok(), is_healed, "{kind:?} {damaged}: {result:?}");
                if let Ok(Written { fetched, .. }) = result {
                    let again: usize = (0..damaged).map(|i| stored.frame(i as u32).len()).sum();
                    assert_eq!(fetched, (stored.blob.len() + again) as u64);
                    assert_eq!(medium.contents(), stored.truth);
                }
            }
        }
    }
}

#[test]
fn a_payload_that_does_not_fit_is_refused_before_anything() {
    let stored = Stored::new(Kind::Frames, 4096, some_bytes(100_000));
    let medium = Memory::new(vec![0; 99_999], &stored.truth);
    let source = BlobSource::new(&stored.blob);
    let error = install(&source, &stored, &medium).unwrap_err();
    assert_eq!(error.code().name(), "slot-too-small");
    let message = "payload system has 100000 bytes, more than the 99999 of partition system-b";
    assert_eq!(error.to_string(), message);
    assert_eq!(source.asked_bytes(), 0);
    assert_eq!(medium.syncs.load(Ordering::SeqCst), 0);
    assert!(verify(&medium, &stored.payload, &Silent, &Cancel::new()).is_err());
}

/// How a medium or a source fails, and the code that it ends with.
type Fault = (&'static str, fn(&mut Memory, &mut BlobSource<'_>));

const FAULTS: [Fault; 9] = [
    ("disk-failed", |medium, _| medium.failing_write = Some(0)),
    ("disk-failed", |medium, _| medium.failing_write = Some(2)),
    ("disk-failed", |medium, _| medium.failing_sync = true),
    ("disk-failed", |medium, _| medium.unreadable = Some(1_234_567)),
    ("read-back-mismatch", |medium, _| medium.flipped = Some(1_234_567)),
    ("read-back-mismatch", |medium, _| medium.flipped = Some(0)),
    ("not-an-os-image", |_, source| source.failing_at = Some(0)),
    ("not-an-os-image", |_, source| source.failing_at = Some(500_000)),
    ("not-an-os-image", |medium, source| {
        source.failing_at = Some(500_000);
        medium.write_time = Duration::from_millis(20);
    }),
];

#[test]
fn a_fault_at_any_stage_ends_all_of_them() {
    for kind in KINDS {
        for chunk in [1000, 256 << 10, 1 << 20] {
            let stored = Stored::new(kind, chunk, some_bytes(3 << 20));
            for (code, fault) in FAULTS {
                for workers in [None, Some(1), Some(6)] {
                    let mut medium = Memory::with_room(&stored.truth, 0);
                    let mut source = BlobSource::new(&stored.blob);
                    fault(&mut medium, &mut source);
                    let options = Options { workers, ..Options::default() };
                    let (layer, stop) = (stored.layer(), Cancel::new());
                    let run = || write_payload(&source, &layer, &medium, &options, &Silent, &stop);
                    let error = in_time(run).unwrap_err();
                    assert_eq!(error.code().name(), code, "{kind:?} {chunk}: {error}");
                    assert!(error.to_string().contains("system"), "{error}");
                }
            }
        }
    }
}

#[test]
fn the_first_fault_ends_the_others_soon() {
    for kind in KINDS {
        let stored = Stored::new(kind, 64 << 10, some_bytes(48 << 20));
        let medium = &mut Memory::with_room(&stored.truth, 0);
        medium.failing_write = Some(0);
        medium.write_time = Duration::from_millis(1);
        let error = in_time(|| install(&BlobSource::new(&stored.blob), &stored, medium));
        assert_eq!(error.unwrap_err().code().name(), "disk-failed");
        let written = medium.written.load(Ordering::SeqCst);
        assert!(written < 8 << 20, "{kind:?}: {written}");

        let medium = &mut Memory::with_room(&stored.truth, 0);
        medium.write_time = Duration::from_millis(5);
        let mut source = BlobSource::new(&stored.blob);
        source.failing_at = Some(1 << 20);
        let error = in_time(|| install(&source, &stored, medium));
        assert_eq!(error.unwrap_err().code().name(), "not-an-os-image");
        let written = medium.written.load(Ordering::SeqCst);
        assert!(written < 24 << 20, "{kind:?}: {written}");
    }
}

#[test]
fn a_medium_that_forgets_is_found_out_only_by_reading_back() {
    let stored = Stored::new(Kind::Frames, 4096, some_bytes(100_000));
    let mut medium = Memory::with_room(&stored.truth, 0);
    medium.flipped = Some(50_000);
    let source = BlobSource::new(&stored.blob);
    let error = install(&source, &stored, &medium).unwrap_err();
    let message = "partition system-b does not hold what was written to it: chunk 12 of payload \
                   system";
    assert_eq!(error.to_string(), message);

    let mut medium = Memory::with_room(&stored.truth, 0);
    medium.flipped = Some(50_000);
    let options = Options { read_back: false, ..Options::default() };
    let layer = stored.layer();
    write_payload(&source, &layer, &medium, &options, &Silent, &Cancel::new()).unwrap();
    let damaged = verify(&medium, &stored.payload, &Silent, &Cancel::new()).unwrap();
    assert_eq!(damaged.len(), 1);
}

/// Its chunks were compared in memory, from which the sync drops them.
#[test]
fn p2_what_is_kept_on_a_cached_medium_is_read_back_as_well() {
    let stored = Stored::new(Kind::Frames, 4096, some_bytes(100_000));
    for is_cached in [true, false] {
        let mut contents = stored.truth.clone();
        contents[..4096].fill(0);
        let mut medium = Memory::new(contents, &stored.truth);
        (medium.is_cached, medium.flipped) = (is_cached, Some(50_000));
        let result = install(&BlobSource::new(&stored.blob), &stored, &medium);
        assert_eq!(medium.written.load(Ordering::SeqCst), 4096);
        let code = result.err().map(|error| error.code().name());
        assert_eq!(code, is_cached.then_some("read-back-mismatch"), "{is_cached}");
    }
    // A boot file is one.
    use flipside_core::host::storage::Storage as _;
    let directory = tempfile::tempdir().unwrap();
    let architecture = flipside_image::Architecture::X86_64;
    let esp = flipside_core::testing::esp(
        directory.path(),
        architecture,
        &flipside_core::host::durable::Durable::new(),
    );
    assert!(esp.create_boot_file(flipside_core::host::Slot::B, 4096).unwrap().is_cached());
}

#[test]
fn a_target_that_cannot_be_read_before_it_was_written_is_written() {
    let stored = Stored::new(Kind::Frames, 4096, some_bytes(100_000));
    let mut medium = Memory::with_room(&stored.truth, 0);
    medium.unreadable = Some(0);
    let options = Options { read_back: false, resume: true, ..Options::default() };
    let source = BlobSource::new(&stored.blob);
    let layer = stored.layer();
    write_payload(&source, &layer, &medium, &options, &Silent, &Cancel::new()).unwrap();
    let error = verify(&medium, &stored.payload, &Silent, &Cancel::new()).unwrap_err();
    assert!(matches!(error, InstallError::Read { offset: 0, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_damage_of_a_layer_reaches_the_medium(
        kind in prop::sample::select(KINDS.to_vec()),
        chunk in prop_oneof![500_u64..2_000, Just(4096_u64), Just(65_536_u64)],
        at in any::<prop::sample::Index>(),
        bit in 0..8,
        length in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut stored = Stored::new(kind, chunk, some_bytes(150_000));
        let at = at.index(stored.blob.len());
        stored.blob[at] ^= 1_u8 << bit;
        if cuts {
            let length = length.index(stored.blob.len());
            stored.replace_blob(stored.blob[..length].to_vec());
        }
        let medium = Memory::with_room(&stored.truth, 0);
        let source = BlobSource::new(&stored.blob);
        match in_time(|| install(&source, &stored, &medium)) {
            // A frame header has bits that change nothing.
            Ok(_) => prop_assert!(medium.contents() == stored.truth),
            Err(error) => prop_assert_eq!(error.code().name(), "chunk-damaged"),
        }
    }
}
