// SPDX-License-Identifier: MIT OR Apache-2.0

//! A payload that is made from an old one, on media and by sources that fail: what is written is
//! right and was read back, whatever else happens (P2, P3; the medium checks every write).

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use flipside_core::blob_source::{self, FetchError, Sink};
use flipside_core::host::storage::Storage;
use flipside_core::install::{InstallError, Options, ReadBehind, Written, write_payload_from};
use flipside_image::code::Coded as _;
use flipside_image::delta::{ChunkDelta, DELTA_FRAMES_TYPE, PayloadDelta, Window};
use flipside_image::{Descriptor, Digest};

use crate::support::medium::{Memory, Step};
use crate::support::patches::patch;
use crate::support::stored::{BlobSource, KINDS, Kind, Stored, some_bytes};

const CHUNK: usize = 4096;

/// Where one chunk comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Full,
    Copy,
    Patch,
    /// A patch that gives other bytes.
    Wrong,
}

/// The image and a delta, and how each of them fails.
struct Source<'a> {
    full: BlobSource<'a>,
    patches: BlobSource<'a>,
    is_patches: Digest,
}

impl blob_source::BlobSource for Source<'_> {
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        match blob.digest == self.is_patches {
            true => self.patches.stream(blob, range, sink),
            false => self.full.stream(blob, range, sink),
        }
    }
}

/// An old payload that is the same as the new one, and patches from it.
struct Made {
    stored: Stored,
    delta: PayloadDelta,
    patches: Vec<u8>,
}

impl Made {
    fn new(kind: Kind, chunks: usize, from: impl Fn(usize) -> From) -> Self {
        let stored = Stored::new(kind, CHUNK as u64, some_bytes(CHUNK * chunks));
        let (mut frames, mut entries) = (Vec::new(), Vec::new());
        for (nth, chunk) in stored.truth.chunks(CHUNK).enumerate() {
            let at = nth * CHUNK;
            let window = Window { offset: at as u64, length: CHUNK as u32 };
            let frame = match from(nth) {
                From::Patch => patch(chunk, chunk),
                From::Wrong => patch(chunk, &[7; CHUNK]),
                From::Full | From::Copy => Vec::new(),
            };
            entries.push((from(nth), window, frame.len() as u64));
            frames.extend(frame);
        }
        let entries = entries.iter().map(|(from, window, size)| match from {
            From::Full => ChunkDelta::Full,
            From::Copy => ChunkDelta::Copy(window.offset),
            From::Patch | From::Wrong => {
                ChunkDelta::Patch { size: *size, windows: std::slice::from_ref(window) }
            }
        });
        let layer = Descriptor::of(DELTA_FRAMES_TYPE, &frames);
        let size = stored.payload.size;
        let delta = PayloadDelta::of(&stored.payload, size, entries, layer).unwrap();
        Self { stored, delta, patches: frames }
    }

    fn source(&self) -> Source<'_> {
        Source {
            full: BlobSource::new(&self.stored.blob),
            patches: BlobSource::new(&self.patches),
            is_patches: self.delta.layer.digest,
        }
    }

    fn medium(&self) -> Memory {
        Memory::with_room(&self.stored.truth, 0)
    }

    fn write(
        &self,
        source: &Source<'_>,
        base: impl Storage + 'static,
        medium: &dyn Storage,
        options: &Options,
    ) -> Result<Written, InstallError> {
        let (base, delta, layer) = (Box::new(base), self.delta.clone(), self.stored.layer());
        write_payload_from(base, &delta, source, &layer, medium, options)
    }

    /// The old payload.
    fn base(&self) -> Memory {
        Memory::new(self.stored.truth.clone(), &[])
    }
}

#[test]
fn a_layer_of_any_kind_gives_what_cannot_be_made() {
    for kind in KINDS {
        for from in [From::Copy, From::Patch, From::Wrong] {
            let made = Made::new(kind, 20, |nth| if nth % 3 == 1 { from } else { From::Full });
            let (source, medium) = (made.source(), made.medium());
            made.write(&source, made.base(), &medium, &Options::default()).unwrap();
            assert_eq!(medium.contents(), made.stored.truth, "{kind:?}");
        }
    }
}

/// What a test waits for.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |is_open| !*is_open).unwrap());
    }
}

/// Opens a gate when the thread ends that has it.
struct AtEnd(Arc<Gate>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

thread_local! {
    static AT_END: std::cell::RefCell<Option<AtEnd>> = const { std::cell::RefCell::new(None) };
}

/// A medium whose first flush ends when the source has failed.
struct Gated {
    memory: Memory,
    flushes: Arc<Gate>,
    failed: Arc<Gate>,
    fails: bool,
    syncs: AtomicU64,
}

impl Storage for Gated {
    fn name(&self) -> String {
        self.memory.name()
    }

    fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs.fetch_add(1, Ordering::SeqCst) == 0 {
            self.flushes.open();
            self.failed.wait();
            // Linux tells it once (fsync(2)).
            if self.fails {
                return Err(io::Error::other("the cache is gone"));
            }
        }
        self.memory.sync()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(offset, bytes)
    }
}

#[test]
fn p2_a_source_that_fails_hides_nothing_of_what_the_medium_says() {
    for (fails, code) in [(true, "disk-failed"), (false, "read-back-mismatch")] {
        let made = Made::new(Kind::Frames, 700, |_| From::Patch);
        let (flushes, failed) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let mut memory = made.medium();
        memory.flipped = (!fails).then_some(10);
        let medium = Gated {
            memory,
            flushes: flushes.clone(),
            failed: failed.clone(),
            fails,
            syncs: AtomicU64::new(0),
        };
        let mut source = made.source();
        let size = made.patches.len() as u64;
        source.patches.piece = 100;
        source.patches.failing_at = Some(size - 1);
        source.patches.on_piece = Box::new(move |place, _| {
            AT_END.with_borrow_mut(|at_end| {
                at_end.get_or_insert_with(|| AtEnd(failed.clone()));
            });
            // By then two work items of three have been handed out.
            if place.start > size * 9 / 10 {
                flushes.wait();
            }
        });
        let read_behind = ReadBehind { flush: 1, distance: 0 };
        let options = Options { read_behind, ..Options::default() };
        let error = made.write(&source, made.base(), &medium, &options).unwrap_err();
        assert_eq!(error.code().name(), code, "{error}");
    }
}

#[test]
fn p2_whatever_was_made_is_read_back_when_the_rest_has_to_be_fetched() {
    for (from, failing_at) in
        [(From::Patch, None), (From::Patch, Some(0.6)), (From::Copy, None), (From::Wrong, None)]
    {
        let of = |nth: usize| if nth % 3 == 1 { from } else { From::Patch };
        let made = Made::new(Kind::Frames, 700, of);
        let (mut source, medium) = (made.source(), made.medium());
        source.patches.failing_at =
            failing_at.map(|part| (made.patches.len() as f64 * part) as u64);
        made.write(&source, made.base(), &medium, &Options::default()).unwrap();
        assert_eq!(medium.contents(), made.stored.truth);
        let steps = medium.steps.lock().unwrap();
        let synced = steps.iter().position(|step| *step == Step::Synced).unwrap();
        assert!(!steps[synced..].iter().any(|step| matches!(step, Step::Written(_))));
        let read = steps[synced..].iter().filter_map(|step| match step {
            Step::Read(range) => Some(range.end - range.start),
            _ => None,
        });
        assert!(read.sum::<u64>() >= made.stored.payload.size);
    }
}

/// A base that others look at.
struct Shared(Arc<Memory>);

impl Storage for Shared {
    fn name(&self) -> String {
        self.0.name()
    }

    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        panic!("P1: the running slot is written");
    }

    fn sync(&self) -> io::Result<()> {
        panic!("P1: the running slot is written");
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, bytes)
    }
}

fn reads(base: &Memory) -> usize {
    base.steps.lock().unwrap().len()
}

#[test]
fn patches_that_fail_only_after_the_first_hundred_are_not_all_tried() {
    let made =
        Made::new(Kind::Frames, 4000, |nth| if nth < 300 { From::Patch } else { From::Wrong });
    let (source, medium, base) = (made.source(), made.medium(), Arc::new(made.base()));
    let options = Options { workers: Some(2), ..Options::default() };
    made.write(&source, Shared(base.clone()), &medium, &options).unwrap();
    assert_eq!(medium.contents(), made.stored.truth);
    // Half as many as were right, and what the two workers have in hand.
    assert!(reads(&base) < 1000, "{}", reads(&base));
}

#[test]
fn a_base_that_cannot_be_read_is_not_read_again() {
    let made = Made::new(Kind::Frames, 4000, |_| From::Patch);
    let mut base = made.base();
    base.unreadable = Some(100 * CHUNK as u64);
    let base = Arc::new(base);
    let (source, medium) = (made.source(), made.medium());
    let options = Options { workers: Some(1), ..Options::default() };
    made.write(&source, Shared(base.clone()), &medium, &options).unwrap();
    assert_eq!(medium.contents(), made.stored.truth);
    assert_eq!(reads(&base), 101);
}

#[test]
fn what_is_copied_is_copied_also_where_the_patches_cannot_be_had() {
    for failing_at in [0, 500] {
        let of = |nth: usize| if nth % 2 == 1 { From::Patch } else { From::Copy };
        let made = Made::new(Kind::Frames, 4000, of);
        let (mut source, medium) = (made.source(), made.medium());
        source.patches.failing_at = Some(failing_at);
        let written = made.write(&source, made.base(), &medium, &Options::default()).unwrap();
        assert_eq!(medium.contents(), made.stored.truth);
        assert!(written.fetched <= made.stored.blob.len() as u64 * 11 / 20, "{written:?}");
        assert_eq!(written.kept + written.written, made.stored.payload.size);
    }
}
