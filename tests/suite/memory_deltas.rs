// SPDX-License-Identifier: MIT OR Apache-2.0

//! What hostile deltas take of a host's memory: no more than other documents that it is handed.

use flipside_image::Architecture;
use serde_json::{Value, json};

use crate::memory::LIMIT_KIB;
use crate::support::hostile_delta::{DeltaStage, Parts};
use crate::support::images::{ImageBuilder, content, kernel};
use crate::support::memory::run;
use crate::support::patches::patch;

/// Of an image with as many chunks as fit a config.
const CHUNK: usize = 32;
const CHUNKS: usize = 180_000;
const CONFIG: usize = 8 << 20;

fn version(name: &str) -> ImageBuilder {
    let mut system = content(7, CHUNKS * CHUNK);
    if name != "1" {
        system.chunks_mut(CHUNK).for_each(|chunk| chunk[5] ^= 0x55);
    }
    let boot = kernel(Architecture::X86_64, u64::from(name.as_bytes()[0]), 4096);
    ImageBuilder::new(name)
        .chunk_size(CHUNK as u64)
        .uncompressed()
        .payload("system", system)
        .payload("kernel.efi", boot)
}

/// A config of 8 MiB whose list of chunks is this entry again and again.
fn full_of(parts: &mut Parts, entry: &str) {
    let head = parts.config.to_string();
    let head = head.replace("\"payloads\":[{", "\"payloads\":[{\"chunks\":[");
    let (head, tail) = head.split_once("\"chunks\":[").unwrap();
    let mut text = format!("{head}\"chunks\":[{entry}");
    while text.len() + entry.len() + tail.len() + 3 < CONFIG {
        text.push(',');
        text.push_str(entry);
    }
    text.push_str("],");
    text.push_str(tail);
    parts.config_bytes = Some(text.into_bytes());
}

/// As many patches as a config holds, and all of their windows.
fn maximal(parts: &mut Parts) {
    let mut size = 1 << 20;
    for (nth, (old, new)) in parts.old.chunks(CHUNK).zip(parts.new.chunks(CHUNK)).enumerate() {
        let (entry, frame): (Value, Vec<u8>) = if size < CONFIG {
            let at = nth * CHUNK;
            let windows = [[at, 8], [at + 8, 8], [at + 16, 8], [at + 24, 8]];
            let frame = patch(old, new);
            (json!({"frame": frame.len(), "windows": windows}), frame)
        } else {
            (json!(null), Vec::new())
        };
        size += entry.to_string().len() + 1;
        parts.chunks[nth] = entry;
        parts.frames[nth] = frame;
    }
}

/// What makes a case of a delta.
type Change = fn(&mut Parts);

/// What an update takes, in KiB, that finds this delta.
fn peak_kib(stage: &DeltaStage, case: &str, change: Option<Change>) -> u64 {
    let entries = change.map(|change| {
        let mut parts = stage.parts();
        change(&mut parts);
        stage.put(parts).0
    });
    stage.list(entries.as_slice());
    let run = run(&stage.host(), "memory::the_process_that_is_measured", &["update"]);
    println!("{case}: {} KiB, {}", run.peak_kib, run.text);
    assert_eq!(run.code, "", "{case}: {}", run.text);
    run.peak_kib
}

#[test]
fn of_a_hostile_delta() {
    let stage = DeltaStage::new("memory/deltas");
    let cases: [(&str, Change); 6] = [
        ("nulls", |parts| full_of(parts, "null")),
        ("copies", |parts| full_of(parts, "{\"copy\":0}")),
        ("windows", |parts| full_of(parts, "{\"frame\":9,\"windows\":[[0,1],[0,1],[0,1],[0,1]]}")),
        ("objects", |parts| full_of(parts, "{}")),
        ("lists", |parts| full_of(parts, "[]")),
        ("unknown", |parts| full_of(parts, "{\"copy\":0,\"x\":[[[[]]]]}")),
    ];
    for (case, change) in cases {
        let peak = peak_kib(&stage, case, Some(change));
        assert!(peak <= LIMIT_KIB, "{case}: {peak} KiB");
    }
}

#[test]
fn of_the_largest_delta() {
    let stage = DeltaStage::of("memory/largest", 8 << 20, version);
    // Two images with configs of this size take more than 48 MiB without any delta.
    let without = peak_kib(&stage, "none", None);
    let with = peak_kib(&stage, "largest", Some(maximal));
    assert!(with <= without + (24 << 10), "{with} KiB, {without} without");
}
