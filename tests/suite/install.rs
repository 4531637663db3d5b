// SPDX-License-Identifier: MIT OR Apache-2.0

//! Payloads that reach their medium, whole, and no more is fetched than must be.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flipside::report::progress::{Event, Phase, Progress, Silent};
use flipside_core::cancel::Cancel;
use flipside_core::install::{InstallError, Options, Written, verify, write_payload};
use flipside_image::ChunkIndex;
use flipside_image::code::Coded as _;
use proptest::prelude::*;

use crate::support::medium::{FileMedium, Memory};
use crate::support::stored::{BlobSource, KINDS, Kind, Stored, some_bytes};

pub fn install(
    source: &dyn flipside_core::blob_source::BlobSource,
    stored: &Stored,
    medium: &Memory,
) -> Result<Written, InstallError> {
    write_payload(source, &stored.layer(), medium, &Options::default(), &Silent, &Cancel::new())
}

#[test]
fn a_payload_of_any_shape_arrives_whole() {
    for (chunk_size, size) in [
        (4096, 0),
        (4096, 1),
        (4096, 4096),
        (4096, 4097),
        (4096, 3 << 20),
        (1000, 1_234_567),
        (1, 77),
        (300_001, 2_000_000),
        (1 << 20, 1 << 20),
        (1 << 20, 5 << 20),
        (1 << 20, (5 << 20) + 4096),
        (16 << 20, (17 << 20) + 5),
    ] {
        let truth = some_bytes(size);
        for kind in KINDS {
            let stored = Stored::new(kind, chunk_size, truth.clone());
            let medium = Memory::with_room(&truth, 8192);
            let source = BlobSource::new(&stored.blob);
            let written = install(&source, &stored, &medium).unwrap();
            let case = format!("{kind:?} {chunk_size} {size}");
            assert_eq!(medium.contents()[..size], truth, "{case}");
            assert_eq!(medium.contents()[size..], [0xa5; 8192], "{case}");
            assert_eq!(medium.syncs.load(Ordering::SeqCst), 1, "{case}");
            let fetched = if size == 0 { 0 } else { stored.blob.len() as u64 };
            assert_eq!(written, Written { kept: 0, written: size as u64, fetched }, "{case}");
            assert_eq!(source.asked_bytes(), fetched, "{case}");
        }
    }
}

#[test]
fn a_file_takes_a_payload_past_the_page_cache() {
    let truth = some_bytes((3 << 20) + 4096 + 17);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slot");
    for kind in KINDS {
        std::fs::write(&path, vec![0; 4 << 20]).unwrap();
        let stored = Stored::new(kind, 1 << 20, truth.clone());
        let medium = FileMedium::open(&path).unwrap();
        let source = BlobSource::new(&stored.blob);
        let stop = Cancel::new();
        write_payload(&source, &stored.layer(), &medium, &Options::default(), &Silent, &stop)
            .unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(&truth));
        assert_eq!(verify(&medium, &stored.payload, &Silent, &stop).unwrap(), []);
    }
}

#[test]
fn neighbouring_frames_are_asked_for_at_once() {
    let stored = Stored::new(Kind::Frames, 1 << 20, some_bytes(20 << 20));
    let source = BlobSource::new(&stored.blob);
    install(&source, &stored, &Memory::with_room(&stored.truth, 0)).unwrap();
    assert!(source.asked.lock().unwrap().len() <= 2, "{:?}", source.asked);
}

/// An earlier run was cut off: the first chunks stand, and one further on.
fn half_written(truth: &[u8], chunk: usize) -> Vec<u8> {
    let mut contents = vec![0; truth.len()];
    let half = truth.len() / 2 / chunk * chunk;
    contents[..half].copy_from_slice(&truth[..half]);
    contents[half + chunk..half + 2 * chunk]
        .copy_from_slice(&truth[half + chunk..half + 2 * chunk]);
    contents
}

#[test]
fn chunks_that_stand_are_neither_fetched_nor_written() {
    for chunk in [4096, 1 << 20] {
        for kind in KINDS {
            let stored = Stored::new(kind, chunk as u64, some_bytes(chunk * 20 + 9));
            let medium = Memory::new(half_written(&stored.truth, chunk), &stored.truth);
            let source = BlobSource::new(&stored.blob);
            let written = install(&source, &stored, &medium).unwrap();
            assert_eq!(medium.contents(), stored.truth);
            assert_eq!(written.kept, chunk as u64 * 11, "{kind:?}");
            assert_eq!(written.written, chunk as u64 * 9 + 9, "{kind:?}");
            assert_eq!(medium.written.load(Ordering::SeqCst), written.written);
            let expected = match kind {
                // Nobody knows where in a stream a chunk begins.
                Kind::Stream => stored.blob.len(),
                _ => stored.frame(10).len() + stored.blob.len() - stored.frame(12).start,
            };
            assert_eq!(source.asked_bytes(), expected as u64, "{kind:?}");
        }
    }
}

#[test]
fn nothing_is_fetched_where_everything_stands() {
    for kind in KINDS {
        let stored = Stored::new(kind, 5000, some_bytes(100_000));
        let medium = Memory::new(stored.truth.clone(), &stored.truth);
        let source = BlobSource::new(&stored.blob);
        let written = install(&source, &stored, &medium).unwrap();
        assert_eq!(written, Written { kept: 100_000, written: 0, fetched: 0 });
        assert_eq!(source.asked_bytes(), 0);
        // What an earlier run wrote may not be durable yet.
        assert_eq!(medium.syncs.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_stream_is_followed_only_as_far_as_it_is_wanted() {
    let stored = Stored::new(Kind::Stream, 4096, some_bytes(4 << 20));
    let mut contents = stored.truth.clone();
    contents[5000] ^= 1;
    let medium = Memory::new(contents, &stored.truth);
    let source = BlobSource::new(&stored.blob);
    let written = install(&source, &stored, &medium).unwrap();
    assert_eq!(medium.contents(), stored.truth);
    assert_eq!(written.written, 4096);
    assert!(written.fetched < stored.blob.len() as u64 / 2, "{written:?}");
}

#[test]
fn zeroes_on_an_empty_medium_are_no_reason_to_read_all_of_it() {
    let mut truth = vec![0; 40 * 4096];
    truth[20 * 4096] = 1;
    let stored = Stored::new(Kind::Frames, 4096, truth.clone());
    for (resume, kept) in [(false, 0), (true, 39 * 4096)] {
        let medium = Memory::new(vec![0; truth.len()], &truth);
        let options = Options { resume, ..Options::default() };
        let source = BlobSource::new(&stored.blob);
        let layer = stored.layer();
        let written =
            write_payload(&source, &layer, &medium, &options, &Silent, &Cancel::new()).unwrap();
        assert_eq!(written.kept, kept);
        assert_eq!(medium.contents(), truth);
    }
}

#[test]
fn verify_names_the_damaged_chunks() {
    for chunk in [1000, 4096, 1 << 20] {
        let stored = Stored::new(Kind::Plain, chunk as u64, some_bytes(chunk * 4 + 7));
        let mut contents = stored.truth.clone();
        contents.extend([0; 100]);
        for at in [0, 2 * chunk + 1, 3 * chunk - 1, 4 * chunk + 6] {
            contents[at] ^= 0x10;
        }
        let medium = Memory::new(contents, &[]);
        let damaged = verify(&medium, &stored.payload, &Silent, &Cancel::new()).unwrap();
        assert_eq!(damaged, [ChunkIndex(0), ChunkIndex(2), ChunkIndex(4)], "{chunk}");
    }
}

/// Adds up what it is told.
#[derive(Default)]
struct Sum(Mutex<(Vec<Event>, u64, u64, u64)>);

impl Progress for Sum {
    fn event(&self, event: Event) {
        let mut sum = self.0.lock().unwrap();
        match event {
            Event::Fetched(bytes) => sum.1 += bytes,
            Event::Written(bytes) => sum.2 += bytes,
            Event::ReadBack(bytes) => sum.3 += bytes,
            other => sum.0.push(other),
        }
    }
}

#[test]
fn progress_adds_up_to_what_was_announced() {
    for kind in KINDS {
        let stored = Stored::new(kind, 4096, some_bytes(4096 * 20 + 9));
        let medium = Memory::new(half_written(&stored.truth, 4096), &stored.truth);
        let (source, sum) = (BlobSource::new(&stored.blob), Sum::default());
        let options = Options::default();
        write_payload(&source, &stored.layer(), &medium, &options, &sum, &Cancel::new()).unwrap();
        let (events, fetched, written, read_back) = sum.0.into_inner().unwrap();
        let Event::Payload { name, size, kept, fetch } = &events[2] else {
            panic!("{events:?}");
        };
        assert_eq!((name.as_str(), *size), ("system", 4096 * 20 + 9));
        // What was kept was read from the medium when it was compared.
        assert_eq!((*fetch, *size - *kept, *size), (fetched, written, read_back));
        assert_eq!(events[0], Event::Phase(Phase::Comparing));
        assert_eq!(events[1], Event::Phase(Phase::Writing));
        assert_eq!(events[3], Event::Phase(Phase::ReadingBack));
    }
}

#[test]
fn a_stopped_run_says_what_is_left_and_the_next_one_goes_on() {
    let chunk = 64 << 10;
    for kind in KINDS {
        let stored = Stored::new(kind, chunk, some_bytes(16 << 20));
        let mut medium = Memory::with_room(&stored.truth, 0);
        medium.write_time = Duration::from_millis(1);
        let stop = Cancel::new();
        let middle = stored.blob.len() as u64 / 2;
        let mut source = BlobSource::new(&stored.blob);
        source.on_piece = Box::new(|place, _| {
            if place.contains(&middle) {
                stop.request();
            }
        });
        let options = Options::default();
        let error =
            write_payload(&source, &stored.layer(), &medium, &options, &Silent, &stop).unwrap_err();
        assert_eq!(error.code().name(), "stopped");
        let InstallError::Stopped { left, .. } = error else { panic!("{error}") };
        let written = medium.written.load(Ordering::SeqCst);
        assert_eq!(left, stored.payload.size - written, "{kind:?}");
        // It was asked to at half of it, and what was under way then is the rest of a few chunks.
        assert!(written < stored.payload.size * 3 / 4, "{kind:?}: {written}");

        let source = BlobSource::new(&stored.blob);
        let second = install(&source, &stored, &medium).unwrap();
        assert_eq!(second.kept, written, "{kind:?}");
        assert_eq!(medium.contents(), stored.truth);
    }
}

#[test]
fn a_run_that_is_not_wanted_any_more_does_not_begin() {
    let stored = Stored::new(Kind::Frames, 4096, some_bytes(100_000));
    let medium = Memory::with_room(&stored.truth, 0);
    let (source, stop) = (BlobSource::new(&stored.blob), Cancel::new());
    stop.request();
    let options = Options::default();
    let error =
        write_payload(&source, &stored.layer(), &medium, &options, &Silent, &stop).unwrap_err();
    assert_eq!(error.to_string(), "stopped by request with 100000 bytes of payload system left");
    assert_eq!(source.asked_bytes(), 0);
    assert!(verify(&medium, &stored.payload, &Silent, &stop).is_err());
}

#[test]
fn no_more_is_in_flight_than_memory_allows() {
    for kind in KINDS {
        let stored = Stored::new(kind, 1 << 20, some_bytes(40 << 20));
        let mut medium = Memory::with_room(&stored.truth, 0);
        medium.write_time = Duration::from_millis(3);
        let mut source = BlobSource::new(&stored.blob);
        source.piece = 256 << 10;
        let written = &medium.written;
        let (handed_over, most) = (Mutex::new(0_u64), Mutex::new(0_u64));
        source.on_piece = Box::new(|_, piece| {
            let mut handed_over = handed_over.lock().unwrap();
            *handed_over += piece.len() as u64;
            let share = stored.blob.len() as f64 / stored.truth.len() as f64;
            let waiting = *handed_over as f64 - written.load(Ordering::SeqCst) as f64 * share;
            let mut most = most.lock().unwrap();
            *most = (*most).max(waiting as u64);
        });
        install(&source, &stored, &medium).unwrap();
        drop(source);
        let most = most.into_inner().unwrap();
        assert!(most <= 20 << 20, "{kind:?}: {most} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_payload_arrives_on_any_medium(
        size in 0_usize..200_000,
        chunk in prop_oneof![1_u64..100, 1_000_u64..9_000, Just(4096_u64), 100_000_u64..300_000],
        kind in prop::sample::select(KINDS.to_vec()),
        piece in 1_usize..40_000,
        workers in 1_usize..5,
        standing in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        room in 0_usize..9000,
    ) {
        // Many tiny chunks take long to make.
        let size = size.min(chunk as usize * 500);
        let stored = Stored::new(kind, chunk, some_bytes(size));
        let mut contents = vec![0x5a; size + room];
        for index in standing.iter().filter(|_| size > 0) {
            let start = index.index(size) / chunk as usize * chunk as usize;
            let end = (start + chunk as usize).min(size);
            contents[start..end].copy_from_slice(&stored.truth[start..end]);
        }
        let medium = Memory::new(contents, &stored.truth);
        let mut source = BlobSource::new(&stored.blob);
        source.piece = piece;
        let options =
            Options { workers: Some(workers), resume: room % 2 == 0, ..Options::default() };
        let layer = stored.layer();
        let written =
            write_payload(&source, &layer, &medium, &options, &Silent, &Cancel::new()).unwrap();
        prop_assert!(medium.contents()[..size] == stored.truth);
        prop_assert!(medium.contents()[size..].iter().all(|byte| *byte == 0x5a));
        prop_assert_eq!(written.kept + written.written, size as u64);
    }
}
