// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas where there are mirrors, and what a search for them leaves as it was.

use std::time::{Duration, Instant};

use flipside_image::code::Coded;
use flipside_image::{Descriptor, Digest};
use flipside_source::{Location, open};

use crate::support::delta_stage::{Stage, page, some, status};
use crate::support::deltas::labelled;
use crate::support::proxy::{Fault, Proxy};

#[test]
fn a_mirror_without_the_delta_leaves_it_to_the_registry() {
    let stage = Stage::mirrored("delta/registry");
    let (_, artifact) = stage.pair.delta("1");
    stage.tag(&[artifact.put(&stage.repository())]);
    let sha = format!("sha256-{}", stage.pair.new.digest.hex());
    for fault in [
        None,
        Some(status(401)),
        Some(status(403)),
        Some(status(429)),
        Some(status(500)),
        Some(Fault::Cut(0)),
        Some(page(&[labelled(artifact.entry(), &stage.pair.from())], None)),
    ] {
        stage.mirror.calm();
        // What is no delta stays in use at a mirror that has no word on deltas.
        let there = stage.at_mirror().bundle(&stage.pair.new.digest, b"an image's blob");
        if let Some(fault) = &fault {
            stage.mirror.fault("/referrers/", 100, fault.clone());
            stage.mirror.fault(&sha, 100, fault.clone());
        }
        let source = stage.source();
        assert_eq!(stage.found_by(&*source).unwrap(), some("1"), "{fault:?}");
        stage.mirror.forget();
        source.manifest(&there.digest).unwrap();
        assert_eq!(stage.mirror.count("manifests/"), 1, "{fault:?}");
        // The registry's own error counts, where no mirror has it.
        stage.proxy.fault("/referrers/", 100, status(500));
        let error = stage.found().unwrap_err();
        assert_eq!(error.code().name(), "registry-error", "{fault:?}");
        stage.proxy.calm();
    }
}

#[test]
fn a_mirror_brings_a_delta_that_the_registry_has_not() {
    let mut stage = Stage::mirrored("delta/mirror");
    let (_, artifact) = stage.pair.delta("1");
    let repository = stage.at_mirror();
    repository.referrers(&stage.pair.new.digest, &[artifact.put(&repository)]);
    assert_eq!(stage.found().unwrap(), some("1"));
    assert!(stage.proxy.seen().is_empty(), "{:?}", stage.proxy.seen());
    // Also where nobody answers at the registry's address, ...
    let gone: Location = format!("127.0.0.1:9/{}:1", stage.name).parse().unwrap();
    let source = open(&gone, &stage.options).unwrap();
    assert_eq!(stage.found_by(&*source).unwrap(), some("1"));
    // ... and at a second mirror, behind one that is down and one that lies.
    let liar = Proxy::start(stage.proxy.address());
    liar.fault("/referrers/", 100, page(&[artifact.entry()], None));
    stage.options.mirrors.insert(0, liar.address().to_owned());
    stage.options.mirrors.insert(0, "127.0.0.1:9".to_owned());
    assert_eq!(stage.found().unwrap(), some("1"));
    assert_eq!(liar.count(&Digest::of(&artifact.bytes()).to_string()), 1);
}

#[test]
fn a_search_takes_no_longer_than_one_question_may() {
    let mut stage = Stage::mirrored("delta/slow");
    let (_, artifact) = stage.pair.delta("1");
    let entry = artifact.put(&stage.repository());
    stage.tag(std::slice::from_ref(&entry));
    stage.options.timing.total = Duration::from_secs(2);
    stage.mirror.fault("/referrers/", 100, Fault::Trickle(1, 50));
    stage.mirror.fault("sha256-", 100, Fault::Trickle(1, 50));
    let begun = Instant::now();
    let source = stage.source();
    assert_eq!(stage.found_by(&*source).unwrap(), some("1"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // A registry that is slow with its deltas is an error, and stays in use.
    stage.proxy.fault("sha256-", 100, Fault::Trickle(1, 50));
    let begun = Instant::now();
    let error = stage.found_by(&*source).unwrap_err();
    assert_eq!(error.code().name(), "registry-unreachable");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    stage.proxy.forget();
    source.manifest(&entry.digest).unwrap();
    assert_eq!(stage.proxy.count("manifests/"), 1);
}

#[test]
fn a_wish_to_stop_ends_the_search() {
    let stage = Stage::mirrored("delta/stop");
    for (host, path) in [(&stage.mirror, "/referrers/"), (&stage.proxy, "sha256-")] {
        let mut options = stage.options.clone();
        options.stop = flipside_core::cancel::Cancel::new();
        host.fault(path, 100, Fault::Silence);
        let location: Location =
            format!("{}/{}:1", stage.proxy.address(), stage.name).parse().unwrap();
        let source = open(&location, &options).unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let search = scope.spawn(|| source.delta(&stage.pair.new, &stage.pair.from()));
            std::thread::sleep(Duration::from_millis(100));
            options.stop.request();
            let error = search.join().unwrap().unwrap_err();
            assert!(error.is_stopped(), "{error}");
        });
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        stage.mirror.calm();
    }
}

#[test]
fn the_frames_come_from_whoever_has_them_and_mirrors_stay_in_use() {
    let stage = Stage::mirrored("delta/frames");
    let (delta, artifact) = stage.pair.delta("1");
    artifact.put(&stage.repository());
    let bytes = b"a layer of the image";
    stage.at_mirror().blob("application/octet-stream", bytes);
    let (frames, layer) =
        (&delta.payloads[0].layer, Descriptor::of("application/octet-stream", bytes));
    for fault in [status(404), status(403), status(500), Fault::Corrupt(500)] {
        stage.mirror.calm();
        stage.mirror.fault(&format!("blobs/{}", frames.digest), 100, fault.clone());
        let source = stage.source();
        let stream = |blob: &Descriptor, start: u64| {
            let mut bytes = Vec::new();
            let streamed = source.stream(blob, start..blob.size, &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            });
            streamed.unwrap();
            bytes
        };
        assert_eq!(stream(frames, 0), artifact.frames, "{fault:?}");
        assert_eq!(stream(frames, 4), artifact.frames[4..], "{fault:?}");
        stage.mirror.forget();
        assert_eq!(stream(&layer, 2), bytes[2..]);
        assert_eq!(stage.mirror.count("blobs/"), 1, "{fault:?}");
    }
}
