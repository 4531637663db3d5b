// SPDX-License-Identifier: MIT OR Apache-2.0

//! P3: whatever a delta says and whatever the old payload holds, the medium ends with the payload.

use std::ops::Range;

use flipside_core::blob_source::{BlobSource, FetchError, Sink};
use flipside_core::install::{Options, ReadBehind, Written, write_payload_from};
use flipside_image::Descriptor;
use flipside_image::delta::{ChunkDelta, DELTA_FRAMES_TYPE, PayloadDelta, Window};
use proptest::prelude::*;
use zstd::zstd_safe::{CCtx, CParameter};

use crate::support::images::content;
use crate::support::medium::Memory;
use crate::support::stored::{KINDS, Kind, Stored, broken};

/// The layer of an image, and that of a delta.
struct Blobs<'a> {
    image: &'a [u8],
    frames: &'a [u8],
    frames_are: Descriptor,
}

impl BlobSource for Blobs<'_> {
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        let blob = if *blob == self.frames_are { self.frames } else { self.image };
        let place = range.start as usize..range.end as usize;
        blob.get(place).ok_or_else(broken)?.chunks(3000).try_for_each(sink)?;
        Ok(())
    }
}

/// What a delta says of one chunk. Numbers are reduced to what there is.
#[derive(Debug, Clone)]
enum Said {
    Full,
    /// It is copied from where the chunk of this number may stand.
    CopyOf(usize),
    /// It is copied from anywhere.
    Copy(usize),
    /// It is made from these windows: their starts and lengths.
    Patch(Vec<(usize, usize)>, Frame),
}

/// The frame of a patch.
#[derive(Debug, Clone)]
enum Frame {
    Right,
    /// Of another chunk.
    Other(usize),
    /// With a bit that is wrong.
    Flipped(usize),
    Noise(Vec<u8>),
}

/// A payload and what an update has for it.
#[derive(Debug, Clone)]
struct Case {
    kind: Kind,
    chunk: usize,
    size: usize,
    old_size: usize,
    /// The chunks of the old payload that are those of the new one.
    same: Vec<bool>,
    said: Vec<Said>,
    /// Where in the old payload reading fails.
    unreadable: Option<usize>,
    /// How much of the delta's layer is there, where it is cut short.
    cut: Option<usize>,
    /// The chunks that stand in the target.
    standing: Vec<bool>,
    resume: bool,
    flush: u64,
}

fn said() -> impl Strategy<Value = Said> {
    let number = any::<usize>;
    let frame = prop_oneof![
        4 => Just(Frame::Right),
        1 => number().prop_map(Frame::Other),
        1 => number().prop_map(Frame::Flipped),
        1 => prop::collection::vec(any::<u8>(), 1..300).prop_map(Frame::Noise),
    ];
    prop_oneof![
        2 => Just(Said::Full),
        4 => number().prop_map(Said::CopyOf),
        1 => number().prop_map(Said::Copy),
        4 => (prop::collection::vec((number(), number()), 1..=4), frame)
            .prop_map(|(windows, frame)| Said::Patch(windows, frame)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    // Alone in their work items, or many in one.
    let chunk = prop::sample::select(vec![1000_usize, 4096, 50_000, 1 << 20]);
    let shape = (prop::sample::select(KINDS.to_vec()), chunk, 0_usize..40, any::<usize>());
    shape.prop_flat_map(|(kind, chunk, count, short)| {
        let count = count.min((5 << 20) / chunk);
        let size = (chunk * count).saturating_sub(short % chunk);
        let flags = || prop::collection::vec(any::<bool>(), count);
        let seldom = || prop::option::weighted(0.2, 0..=size * 2);
        let old = (0..=size * 2, flags(), seldom());
        let delta = (prop::collection::vec(said(), count), seldom());
        let target = (flags(), any::<bool>(), prop::sample::select(vec![1, 64 << 20]));
        (old, delta, target).prop_map(move |(old, (said, cut), (standing, resume, flush))| {
            let (old_size, same, unreadable) = old;
            Case {
                kind,
                chunk,
                size,
                old_size,
                same,
                said,
                unreadable,
                cut,
                standing,
                resume,
                flush,
            }
        })
    })
}

/// The frame that makes `chunk` with `prefix`.
fn patch(prefix: &[u8], chunk: &[u8]) -> Vec<u8> {
    let mut encoder = CCtx::create();
    encoder.set_parameter(CParameter::CompressionLevel(1)).unwrap();
    encoder.ref_prefix(prefix).unwrap();
    let mut frame = Vec::with_capacity(chunk.len() * 2 + 1000);
    encoder.compress2(&mut frame, chunk).unwrap();
    frame
}

impl Case {
    fn place(&self, index: usize) -> Range<usize> {
        index * self.chunk..self.size.min((index + 1) * self.chunk)
    }

    fn count(&self) -> usize {
        self.size.div_ceil(self.chunk)
    }

    fn chosen(&self, chosen: &[bool]) -> impl Iterator<Item = Range<usize>> {
        (0..self.count()).filter(|index| chosen[*index]).map(|index| self.place(index))
    }

    /// The old payload: the chunks that are the same stand where they stand in the new one.
    fn old(&self, truth: &[u8]) -> Vec<u8> {
        let mut old = content(2, self.old_size);
        for place in self.chosen(&self.same) {
            if let Some(space) = old.get_mut(place.clone()) {
                space.copy_from_slice(&truth[place]);
            }
        }
        old
    }

    /// The delta, and the frames that are its layer.
    fn delta(&self, stored: &Stored, old: &[u8]) -> (PayloadDelta, Vec<u8>) {
        let (mut frames, mut windows, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (index, said) in self.said.iter().enumerate().take(self.count()) {
            let (its_windows, frame) = match said {
                Said::Patch(windows, frame) => self.frame(windows, frame, index, stored, old),
                _ => (Vec::new(), Vec::new()),
            };
            windows.push(its_windows);
            sizes.push(frame.len() as u64);
            frames.extend(frame);
        }
        let copy = |index: usize, at: usize| match at + self.place(index).len() <= old.len() {
            true => ChunkDelta::Copy(at as u64),
            false => ChunkDelta::Full,
        };
        let chunks = (0..self.count()).map(|index| match &self.said[index] {
            Said::Full => ChunkDelta::Full,
            Said::CopyOf(other) => copy(index, self.place(other % self.count()).start),
            Said::Copy(at) => copy(index, at % (old.len() + 1)),
            Said::Patch(..) => ChunkDelta::Patch { size: sizes[index], windows: &windows[index] },
        });
        let layer = Descriptor::of(DELTA_FRAMES_TYPE, &frames);
        let delta = PayloadDelta::of(&stored.payload, old.len() as u64, chunks, layer).unwrap();
        (delta, frames)
    }

    /// The windows of a patch, and its frame.
    fn frame(
        &self,
        windows: &[(usize, usize)],
        frame: &Frame,
        index: usize,
        stored: &Stored,
        old: &[u8],
    ) -> (Vec<Window>, Vec<u8>) {
        let place = |(start, length): &(usize, usize)| {
            let start = start % (old.len() + 1);
            start..start + length % ((old.len() - start).min(1 << 20) + 1)
        };
        let places: Vec<_> = windows.iter().map(place).collect();
        let prefix: Vec<u8> = places.iter().flat_map(|p| &old[p.clone()]).copied().collect();
        let patch_of = |index| patch(&prefix, &stored.truth[self.place(index)]);
        let frame = match frame {
            Frame::Right => patch_of(index),
            Frame::Other(other) => patch_of(other % self.count()),
            Frame::Flipped(bit) => {
                let mut frame = patch_of(index);
                let bit = bit % (frame.len() * 8);
                frame[bit / 8] ^= 1 << (bit % 8);
                frame
            }
            Frame::Noise(bytes) => bytes.clone(),
        };
        let window = |place: &Range<usize>| (place.start as u64, place.len() as u32).into();
        (places.iter().map(window).collect(), frame)
    }

    /// Installs; returns what that did, and what the medium holds.
    fn install(&self) -> (Written, Vec<u8>, Stored) {
        let stored = Stored::new(self.kind, self.chunk as u64, content(1, self.size));
        let old = self.old(&stored.truth);
        let (delta, mut frames) = self.delta(&stored, &old);
        frames.truncate(self.cut.unwrap_or(usize::MAX));
        // P1: there is nothing that may be written to it.
        let mut base = Memory::new(old, b"");
        base.unreadable = self.unreadable.map(|at| at as u64);
        let mut target = vec![0xa5; self.size];
        for place in self.chosen(&self.standing) {
            target[place.clone()].copy_from_slice(&stored.truth[place]);
        }
        let medium = Memory::new(target, &stored.truth);
        let frames_are = delta.layer.clone();
        let source = Blobs { image: &stored.blob, frames: &frames, frames_are };
        let read_behind = ReadBehind { flush: self.flush, distance: self.flush };
        let options = Options { read_behind, resume: self.resume, ..Options::default() };
        let written =
            write_payload_from(Box::new(base), &delta, &source, &stored.layer(), &medium, &options);
        (written.unwrap(), medium.contents(), stored)
    }
}

/// Chunks of 4 KiB, all of them in the old payload as well, of which every second one is copied.
fn every_second(kind: Kind) -> Case {
    let said = |nth| if nth % 2 == 0 { Said::CopyOf(nth) } else { Said::Full };
    Case {
        kind,
        chunk: 4096,
        size: 20 * 4096,
        old_size: 20 * 4096,
        same: vec![true; 20],
        said: (0..20).map(said).collect(),
        unreadable: None,
        cut: None,
        standing: vec![false; 20],
        resume: false,
        flush: 64 << 20,
    }
}

#[test]
fn what_the_old_payload_has_is_copied_whatever_the_layer_is() {
    for kind in KINDS {
        let (written, holds, stored) = every_second(kind).install();
        assert_eq!((written.kept, written.written), (0, 20 * 4096), "{kind:?}");
        assert!(holds == stored.truth, "{kind:?}");
        // A stream is decoded from its start.
        let fetched = written.fetched as usize * 10;
        let most = if kind == Kind::Stream { 10 } else { 7 };
        assert!(fetched <= stored.blob.len() * most, "{kind:?}: {fetched}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p3_the_medium_ends_with_the_payload_whatever_the_delta_says(case in case()) {
        let (written, holds, stored) = case.install();
        prop_assert!(holds == stored.truth);
        prop_assert_eq!(written.kept + written.written, case.size as u64);
    }
}
