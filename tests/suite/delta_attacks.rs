// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hostile deltas at a real registry. Whatever they are, the real program updates the host to the
//! image, byte for byte, at a bounded cost.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use flipside_image::{Descriptor, Digest, EMPTY_TYPE};
use serde_json::json;

use crate::support::delta_stage::status;
use crate::support::deltas::labelled;
use crate::support::hostile_delta::{CHUNK, DeltaStage, Parts, SYSTEM, place_of};
use crate::support::patches::{bomb, frame_of_window, patch, skippable, with_content_size};
use crate::support::proxy::Fault;
use crate::support::put::oci_manifest;

/// A case: what it is called, and how it changes a right delta.
type Case = (&'static str, fn(&mut Parts));

fn all_survive(stage: &DeltaStage, cases: &[Case]) {
    for (case, change) in cases {
        stage.survives(case, change);
    }
}

#[test]
fn a_right_delta_costs_little_and_frames_may_be_of_any_form() {
    let stage = DeltaStage::new("attack/right");
    let cases: [Case; 4] = [
        ("right", |_| {}),
        ("one stored as it is", |parts| {
            parts.set_frame(3, frame_of_window(20, &parts.new[3 * CHUNK..][..CHUNK]))
        }),
        ("a huge window", |parts| {
            parts.set_frame(3, frame_of_window(30, &parts.new[3 * CHUNK..][..CHUNK]))
        }),
        ("windows that overlap", |parts| {
            for nth in 1..parts.chunks.len() {
                let at = (nth - 1) * CHUNK;
                let windows =
                    [at..at + 2 * CHUNK, at + 9..at + CHUNK, at..at, at + CHUNK..at + 2 * CHUNK];
                let prefix = windows.each_ref().map(|range| &parts.old[range.clone()]).concat();
                let frame = patch(&prefix, &parts.new[nth * CHUNK..][..CHUNK]);
                let windows = windows.map(|range| [range.start, range.len()]);
                parts.chunks[nth] = json!({"windows": windows});
                parts.set_frame(nth, frame);
            }
        }),
    ];
    for (case, change) in cases {
        let cost = stage.survives(case, change);
        assert!(cost.bytes * 2 < stage.full.bytes, "{case}: {cost:?}, {:?}", stage.full);
    }
}

#[test]
fn p3_frames_that_lie_give_nothing() {
    let stage = DeltaStage::new("attack/frames");
    all_survive(
        &stage,
        &[
            ("bombs", |parts| parts.set_frames(|_, _, _| bomb(256 << 20))),
            ("more than the chunk", |parts| {
                parts.set_frames(|old, new, _| patch(old, &[new, b"x"].concat()))
            }),
            ("less than the chunk", |parts| parts.set_frames(|old, new, _| patch(old, &new[1..]))),
            ("content sizes of 2^60", |parts| {
                parts.set_frames(|_, new, _| with_content_size(1 << 60, new));
            }),
            ("content sizes of nothing", |parts| {
                parts.set_frames(|_, new, _| with_content_size(0, new))
            }),
            ("windows of 2^41", |parts| parts.set_frames(|_, new, _| frame_of_window(41, new))),
            ("a second frame", |parts| parts.set_frames(|_, _, good| [good, good].concat())),
            ("skippable frames behind", |parts| {
                parts.set_frames(|_, _, good| [good, &skippable(90)].concat());
            }),
            ("skippable frames before", |parts| {
                parts.set_frames(|_, _, good| [&skippable(90), good].concat());
            }),
            ("skippable frames alone", |parts| parts.set_frames(|_, _, _| skippable(9000))),
            ("no frames", |parts| parts.set_frames(|_, _, _| b"no frame".to_vec())),
            ("patches of zeroes", |parts| {
                parts.set_frames(|old, new, _| patch(old, &vec![0; new.len()]))
            }),
            ("from other bytes", |parts| {
                parts.set_frames(|_, new, _| patch(&new.repeat(2)[..CHUNK], new))
            }),
            ("a third of them wrong", |parts| {
                for nth in (0..40).step_by(3) {
                    parts.set_frame(nth, b"no frame".to_vec());
                }
            }),
            ("larger than the image", |parts| {
                parts.set_frames(|_, new, _| frame_of_window(20, new))
            }),
        ],
    );
}

#[test]
fn sizes_and_places_that_lie_give_nothing() {
    let stage = DeltaStage::new("attack/sizes");
    all_survive(
        &stage,
        &[
            ("a window outside", |parts| parts.chunks[3]["windows"] = json!([[SYSTEM - 10, 11]])),
            ("a window at 2^64", |parts| parts.chunks[3]["windows"] = json!([[u64::MAX, 1]])),
            ("windows of an old payload that is larger", |parts| {
                parts.config["payloads"][0]["from_size"] = (1_u64 << 50).into();
                parts.chunks[3]["windows"] = json!([[1_u64 << 49, 4096]]);
            }),
            ("copies from one byte on", |parts| {
                parts.set_chunks(|nth| json!({"copy": (nth * CHUNK).saturating_sub(1)}))
            }),
            ("copies of one chunk", |parts| parts.set_chunks(|_| json!({"copy": 0}))),
            ("copies from the end", |parts| parts.set_chunks(|_| json!({"copy": SYSTEM}))),
            ("the widest windows, over and over", |parts| {
                let windows = [[0, SYSTEM]; 4];
                parts.chunks.iter_mut().for_each(|chunk| chunk["windows"] = json!(windows));
            }),
            ("frames that do not sum up", |parts| parts.chunks[3]["frame"] = 5.into()),
            ("a frame of 2^64", |parts| parts.chunks[3]["frame"] = u64::MAX.into()),
            ("frames that are moved", |parts| parts.frames.rotate_left(7)),
            ("a layer that is said to be larger", |parts| {
                let size = parts.frames.concat().len();
                parts.chunks[39]["frame"] = (parts.frames[39].len() + 999).into();
                parts.lies.push(("/layers/0/size", (size + 999).into()));
            }),
            ("a layer that is said to be smaller", |parts| {
                let size = parts.frames.concat().len();
                parts.chunks[39]["frame"] = 1.into();
                parts.lies.push(("/layers/0/size", (size + 1 - parts.frames[39].len()).into()));
            }),
            ("a layer that is said to be endless", |parts| {
                parts.lies.push(("/layers/0/size", i64::MAX.into()))
            }),
            ("a layer that ends", |parts| parts.faults.push(("layer", Fault::ShortBody(9000)))),
            ("a layer that breaks off", |parts| parts.faults.push(("layer", Fault::Cut(3000)))),
            ("no layer", |parts| parts.faults.push(("layer", status(404)))),
            ("another layer", |parts| {
                parts.faults.push(("layer", Fault::Status(200, vec![], "x".repeat(1 << 20))))
            }),
        ],
    );
}

#[test]
fn configs_that_lie_give_nothing() {
    let stage = DeltaStage::new("attack/configs");
    let other = json!(Digest::of(b"other"));
    all_survive(
        &stage,
        &[
            ("a million entries", |parts| parts.chunks = vec![json!(null); 1_000_000]),
            ("a million windows", |parts| {
                parts.chunks[3]["windows"] = vec![json!([0, 1]); 1_000_000].into();
            }),
            ("a million fields", |parts| {
                let field = |nth| (format!("{nth}"), json!([]));
                parts.chunks[3] = serde_json::Value::Object((0..500_000).map(field).collect());
            }),
            ("50 MiB, as is said", |parts| parts.config_bytes = Some(vec![b' '; 50 << 20])),
            ("one byte more than is said", |parts| parts.lies.push(("/config/size", 100.into()))),
            ("a byte less than is said", |parts| parts.lies.push(("/config/size", 90_000.into()))),
            ("nothing", |parts| parts.config_bytes = Some(Vec::new())),
            ("not there", |parts| parts.faults.push(("config", status(404)))),
            ("a web page", |parts| {
                let head = vec![("content-type", "text/html".to_owned())];
                parts.faults.push(("config", Fault::Status(200, head, "<html>".to_owned())));
            }),
            ("of no payload of the image", |parts| {
                parts.config["payloads"][0]["name"] = "other".into()
            }),
            ("of a payload that the host has no place for", |parts| {
                parts.config["payloads"].as_array_mut().unwrap().push(json!({
                    "name": "unmapped", "from_size": 100_000,
                    "chunks": vec![json!({"frame": 9, "windows": [[0, 100_000]]}); 7],
                }));
                parts.more.push(vec![b'x'; 63]);
            }),
            ("of a payload twice", |parts| {
                let twice =
                    json!({"name": "system", "from_size": SYSTEM, "chunks": vec![json!(null); 40]});
                parts.config["payloads"].as_array_mut().unwrap().push(twice);
                parts.more.push(Vec::new());
            }),
        ],
    );
    // The proxy counts what it was about to send: of this, no more than 1 MiB is read.
    stage.proxy.calm();
    let mut parts = stage.parts();
    parts.config_bytes = Some(vec![b' '; 50 << 20]);
    parts.lies.push(("/config/size", (1 << 20).into()));
    stage.list(&[stage.put(parts).0]);
    stage.updates("50 MiB, said to be one", &stage.host());
    for (case, pointer) in
        [("to another image", "/to/manifest"), ("from another image", "/from/config")]
    {
        stage.survives(case, |parts| *parts.config.pointer_mut(pointer).unwrap() = other.clone());
    }
    for (case, pointer) in [
        ("of another subject", "/subject/digest"),
        ("annotated as from another image", "/annotations/org.flipside.delta.from"),
        ("of another kind", "/artifactType"),
    ] {
        stage.survives(case, |parts| parts.lies.push((pointer, other.clone())));
    }
}

#[test]
fn candidates_without_number_cost_no_more_than_some_of_them() {
    let stage = DeltaStage::new("attack/candidates");
    let repository = stage.repository();
    let from = Digest::of(&stage.old.image.config_bytes);
    let junk = |nth: usize| {
        let config = repository.blob(EMPTY_TYPE, b"{}");
        let mut manifest = oci_manifest(config, vec![]);
        manifest["annotations"] = json!({"nth": nth.to_string()});
        labelled(repository.manifest(None, &manifest), &from)
    };
    let absent = |nth: usize| {
        let entry = junk(nth);
        stage.proxy.fault(&format!("manifests/{}", entry.digest), usize::MAX, status(404));
        entry
    };
    // Each matches, and has the largest config that there may be.
    let large = |nth: usize| {
        let mut parts = stage.parts();
        let mut config = vec![b' '; 8 << 20];
        config[nth] = b'x';
        parts.config_bytes = Some(config);
        stage.put(parts).0
    };
    let (good, _) = stage.put(stage.parts());
    let with = |count: usize, bad: &dyn Fn(usize) -> Descriptor| {
        stage.proxy.calm();
        let entries = (0..count).map(bad).chain([good.clone()]).collect::<Vec<_>>();
        stage.list(&entries);
        stage.updates("candidates", &stage.host())
    };
    for bad in [&junk as &dyn Fn(usize) -> Descriptor, &absent] {
        assert!(with(20, bad).bytes < stage.full.bytes / 2);
        let cost = with(40, bad);
        assert!(cost.bytes < stage.full.bytes + 200_000, "{cost:?}");
        assert!(cost.requests <= stage.full.requests + 40, "{cost:?}");
    }
    let cost = with(1, &large);
    assert!(cost.bytes < stage.full.bytes / 2 + (8 << 20) + 100_000, "{cost:?}");
    let cost = with(10, &large);
    assert!(cost.bytes < stage.full.bytes + (17 << 20), "{cost:?}");
}

#[test]
fn a_base_whose_chunk_hashes_are_lost_everywhere_is_left_alone() {
    let stage = DeltaStage::new("attack/hashes");
    let (entry, layer) = stage.put(stage.parts());
    stage.list(&[entry]);
    let host = stage.host();
    let kept = host.file("var/lib/flipside/configs");
    if kept.exists() {
        std::fs::remove_dir_all(kept).unwrap();
    }
    stage.proxy.fault(&format!("manifests/{}", stage.old.digest), 1, status(404));
    let cost = stage.updates("lost", &host);
    assert_eq!(stage.proxy.count(&layer.to_string()), 0);
    assert!(cost.bytes <= stage.full.bytes + 100_000, "{cost:?}");
}

#[test]
fn p3_a_running_slot_that_is_written_meanwhile_gives_no_wrong_byte() {
    let stage = DeltaStage::new("attack/overwritten");
    let (entry, _) = stage.put(stage.parts());
    stage.list(&[entry]);
    let host = stage.host();
    let path = host.file("disk.img");
    let system = stage.old.payload("system");
    let at = place_of(&std::fs::read(&path).unwrap(), system) as u64;
    let disk = std::fs::File::options().write(true).open(&path).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for start in (0..SYSTEM).step_by(4096) {
                    disk.write_all_at(&[0x5a; 2048], at + start as u64).unwrap();
                    disk.write_all_at(&system[start..start + 2048], at + start as u64).unwrap();
                }
            }
        });
        let output = host.program(["update"]);
        is_over.store(true, Ordering::Relaxed);
        assert!(output.status.success(), "{output:?}");
    });
    let found = flipside::run::verify(&host.0.run(), &[flipside_core::host::Slot::B]).unwrap();
    assert_eq!(found[0].1, flipside_core::install::SlotContents::Whole);
    assert_eq!(host.0.boot(), "B 2 promoted");
}
