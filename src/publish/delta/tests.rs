// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas applied by hand: what comes out is the new payload, to the byte.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use flipside_core::cancel::Cancel;
use flipside_core::progress::Silent;
use flipside_image::code::Coded as _;
use flipside_image::delta::{ChunkDelta, Delta, DeltaManifest};
use flipside_image::{ChunkSize, DEFAULT_CHUNK_SIZE, SYSTEM_PAYLOAD};
use flipside_source::{LayoutSource, Source as _};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::PublishError;
use super::super::build::LayerEncoding;
use super::super::layout::LayoutWriter;
use super::make::{MadeDelta, make};
use super::{DeltaSettings, DeltaTarget, publish};

mod built;

use built::{Built, applied, content, options};

const MIB: usize = 1 << 20;

fn make_with(
    from: &Built,
    to: &Built,
    layout: &Path,
    workers: usize,
) -> Result<MadeDelta, PublishError> {
    let settings = DeltaSettings { level: 3, workers: NonZeroUsize::new(workers) };
    let layout = LayoutWriter::open(layout).unwrap();
    make(&from.open(), &to.open(), &layout, settings, &Silent, &Cancel::new())
}

fn blob(layout: &Path, digest: &flipside_image::Digest) -> Vec<u8> {
    let bytes = fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap();
    assert_eq!(flipside_image::Digest::of(&bytes), *digest);
    bytes
}

/// Makes the delta, applies it, and returns it.
fn check(from: &Built, to: &Built) -> (MadeDelta, Delta) {
    let output = tempfile::tempdir().unwrap();
    let made = make_with(from, to, output.path(), 3).unwrap();
    let opened = to.open();
    let manifest = DeltaManifest::parse(&blob(output.path(), &made.manifest.digest)).unwrap();
    assert_eq!((manifest.from, manifest.subject.digest), (made.from, opened.image.digest));
    assert_eq!(manifest.from, from.open().image.manifest.config.digest);
    let config = blob(output.path(), &manifest.config.digest);
    let delta = Delta::parse(&config, &manifest, &opened.image).unwrap();
    for payload in &delta.payloads {
        let name = payload.name.as_str();
        let layer = opened.image.layer(name).unwrap();
        let full = blob(&to.layout(), &layer.descriptor.digest);
        let frames = blob(output.path(), &payload.layer.digest);
        let new = applied(from.payload(name), &layer, &full, &delta, &frames);
        assert!(new == to.payload(name), "{name} is another one");
    }
    (made, delta)
}

fn chunks(delta: &Delta) -> (usize, usize, usize) {
    let mut counts = (0, 0, 0);
    for chunk in delta.payloads.iter().flat_map(|payload| payload.chunks()) {
        match chunk {
            ChunkDelta::Full => counts.0 += 1,
            ChunkDelta::Copy(_) => counts.1 += 1,
            ChunkDelta::Patch { .. } => counts.2 += 1,
        }
    }
    counts
}

#[test]
fn a_change_here_and_there_is_all_that_is_fetched() {
    let old = content(1, 6 * MIB + 12_345);
    let mut new = old.clone();
    new[MIB + 17..MIB + 317].copy_from_slice(&content(2, 300));
    new.truncate(6 * MIB + 11_000);
    new.extend(content(3, 5000));
    let (made, delta) = check(&Built::of("1", old), &Built::of("2", new));
    assert_eq!(chunks(&delta), (0, 5, 2));
    assert!(made.fetch < 9000 && made.full > 4 * MIB as u64, "{made:?}");
    assert_eq!((made.from_version.as_str(), made.to_version.as_str()), ("1", "2"));
}

#[test]
fn shifted_content_costs_as_much_as_content_in_place() {
    let old = content(1, 12 * MIB);
    let change = |bytes: &mut Vec<u8>, start: usize| {
        for at in (start..bytes.len()).step_by(MIB / 3) {
            bytes[at..at + 9].copy_from_slice(b"something");
        }
    };
    let mut in_place = old.clone();
    change(&mut in_place, 0);
    // No multiple of the chunk size, and more than a window reaches.
    let shift = 5 * MIB + 3 * 4096;
    let mut shifted = content(7, shift);
    let mut moved = old.clone();
    change(&mut moved, 0);
    shifted.extend(moved);
    let mut only_moved = content(7, shift);
    only_moved.extend(&old);

    let old = Built::of("1", old);
    let (made, _) = check(&old, &Built::of("2", in_place));
    let (other, delta) = check(&old, &Built::of("2", shifted));
    // What is new itself comes on top.
    let new = zstd::bulk::compress(&content(7, shift), 3).unwrap().len() as u64;
    let new = other.fetch.saturating_sub(new);
    assert!(made.fetch < 20_000 && new < made.fetch + 40_000, "{made:?} {other:?}");
    assert!(chunks(&delta).0 <= 6, "{:?}", chunks(&delta));
    let (_, delta) = check(&old, &Built::of("2", only_moved));
    assert_eq!(chunks(&delta).1, 12, "{:?}", chunks(&delta));
}

#[test]
fn content_from_several_places_is_found() {
    let old = content(1, 16 * MIB);
    let mut new = old.clone();
    // Chunk 3 of pieces of the old payload from all over, on block boundaries.
    for (piece, from) in [(0, 9), (1, 14), (2, 12), (3, 0)] {
        let (start, from) = (3 * MIB + piece * MIB / 4, from * MIB + 8192);
        new[start..start + MIB / 4].copy_from_slice(&old[from..from + MIB / 4]);
    }
    let (made, delta) = check(&Built::of("1", old), &Built::of("2", new));
    assert_eq!(chunks(&delta), (0, 15, 1));
    assert!(made.fetch < 2000, "{made:?}");
}

#[test]
fn every_kind_of_payload_is_made_again() {
    let small = ChunkSize::new(1000).unwrap();
    let large = ChunkSize::new(2 << 20).unwrap();
    for (encoding, chunk_size, size) in [
        (LayerEncoding::Zstd(3), small, 30_500),
        (LayerEncoding::Uncompressed, small, 30_500),
        (LayerEncoding::Uncompressed, DEFAULT_CHUNK_SIZE, 3 * MIB + 1),
        (LayerEncoding::Zstd(3), large, 5 * MIB),
    ] {
        let system = content(1, size);
        let kernel = content(2, 9000);
        let mut new = system.clone();
        new[7000..7100].copy_from_slice(&content(3, 100));
        new.extend([0; 20_000]);
        let payloads = |system: Vec<u8>, more: &'static str| {
            [("kernel.efi", kernel.clone()), (SYSTEM_PAYLOAD, system), (more, vec![1; 100])]
        };
        let old = Built::with("1", &payloads(system, "old"), encoding, chunk_size);
        let new = Built::with("2", &payloads(new, "new"), encoding, chunk_size);
        let (made, delta) = check(&old, &new);
        // The kernel stays as it is, and its layer is not empty. What is new is no part of it.
        let names: Vec<_> = delta.payloads.iter().map(|payload| payload.name.as_str()).collect();
        assert_eq!(names, ["kernel.efi", SYSTEM_PAYLOAD], "{encoding:?} {chunk_size:?}");
        assert!(delta.payloads.iter().all(|payload| payload.layer.size > 0));
        assert!(made.fetch < 5000, "{made:?}");
    }
}

#[test]
fn chunks_that_are_too_large_and_other_payloads_have_no_delta() {
    let large = ChunkSize::new((2 << 20) + 4096).unwrap();
    let system = content(1, 3 * MIB);
    let mut new = system.clone();
    new[5] ^= 1;
    let build = |version, system| {
        let payloads = [(SYSTEM_PAYLOAD, system)];
        Built::with(version, &payloads, LayerEncoding::Zstd(3), large)
    };
    let (from, to) = (build("1", system.clone()), build("2", new));
    let output = tempfile::tempdir().unwrap();
    let error = make_with(&from, &to, output.path(), 1).unwrap_err();
    assert_eq!(error.code().name(), "delta-too-large", "{error}");
    // Of an old image with larger chunks there is one all the same.
    let mut new = system;
    new[5] ^= 1;
    let (made, _) = check(&from, &Built::of("2", new));
    assert!(made.fetch < 2000, "{made:?}");
}

#[test]
fn a_delta_that_saves_too_little_leaves_nothing_behind() {
    let (from, to) = (Built::of("1", content(1, MIB)), Built::of("2", content(2, MIB)));
    let output = tempfile::tempdir().unwrap();
    let error = make_with(&from, &to, output.path(), 1).unwrap_err();
    assert_eq!(error.code().name(), "delta-too-large");
    let text = error.to_string();
    assert!(text.contains("no delta from 1") && text.contains("more than 60 %"), "{text}");
    assert_eq!(fs::read_dir(output.path().join("blobs/sha256")).unwrap().count(), 0);
    let same = Built::of("3", content(1, MIB));
    let error = make_with(&from, &same, output.path(), 1).unwrap_err();
    assert_eq!(error.code().name(), "argument-invalid");
    assert!(error.to_string().contains("the content of version 3"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_was_changed_the_new_payload_comes_out(
        size in 1_usize..200_000,
        changes in vec((0_u8..4, any::<Index>(), any::<Index>(), 0_usize..20_000), 0..6),
        chunk in prop_oneof![Just(4096_u64), Just(10_000), Just(65_536)],
        uncompressed in any::<bool>(),
    ) {
        let old = content(1, size);
        let mut new = old.clone();
        for (kind, at, from, length) in changes {
            let (at, from) = (at.index(new.len() + 1), from.index(old.len()));
            let piece = &old[from..(from + length).min(old.len())];
            let end = (at + length).min(new.len());
            match kind {
                0 => drop(new.splice(at..at, piece.iter().copied())),
                1 => drop(new.splice(at..end, content(at as u64, length))),
                2 => drop(new.drain(at..end)),
                _ => new[at..end].fill(0),
            }
        }
        let encoding = if uncompressed { LayerEncoding::Uncompressed } else { LayerEncoding::Zstd(1) };
        let build = |version, system| {
            let chunk_size = ChunkSize::new(chunk).unwrap();
            Built::with(version, &[(SYSTEM_PAYLOAD, system)], encoding, chunk_size)
        };
        let (from, to) = (build("1", old), build("2", new));
        let output = tempfile::tempdir().unwrap();
        match make_with(&from, &to, output.path(), 2) {
            Ok(_) => drop(check(&from, &to)),
            Err(PublishError::DeltaTooLarge { .. } | PublishError::DeltaOfSame { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let old = content(1, 8 * MIB);
    let mut new = content(9, 3 * 4096);
    new.extend(&old);
    new[4 * MIB..4 * MIB + 9].copy_from_slice(b"something");
    let (from, to) = (Built::of("1", old), Built::of("2", new));
    let digest = |workers| {
        let output = tempfile::tempdir().unwrap();
        make_with(&from, &to, output.path(), workers).unwrap().manifest.digest
    };
    let one = digest(1);
    assert!([2, 5, 16].into_iter().all(|workers| digest(workers) == one));
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_behind() {
    let (from, to) = (Built::of("1", content(1, MIB)), Built::of("2", content(2, MIB)));
    let output = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::open(output.path()).unwrap();
    let stop = Cancel::new();
    stop.request();
    let settings = DeltaSettings::default();
    let error = make(&from.open(), &to.open(), &layout, settings, &Silent, &stop).unwrap_err();
    assert_eq!(error.code().name(), "stopped");
    assert_eq!(fs::read_dir(output.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn in_a_layout_a_delta_stands_beside_its_image_once() {
    let old = content(1, 2 * MIB);
    let mut new = old.clone();
    new[5] ^= 1;
    let (from, to) = (Built::of("1", old), Built::of("2", new));
    let put = |level| {
        let settings = DeltaSettings { level, workers: None };
        let layout = to.layout();
        let target = DeltaTarget::Layout(&layout);
        publish(&from.open(), &to.open(), target, settings, &options(), &Silent).unwrap()
    };
    let first = put(1);
    assert_eq!(put(1), first);
    let last = put(19);
    assert_ne!(first.manifest.digest, last.manifest.digest);
    // The image is still the only one.
    let source = LayoutSource::open(&to.layout(), None).unwrap();
    assert_eq!(source.resolve().unwrap(), last.to);
    let index = flipside_image::Index::parse(&fs::read(to.layout().join("index.json")).unwrap());
    let entries = index.unwrap().manifests;
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1], last.manifest);
}
