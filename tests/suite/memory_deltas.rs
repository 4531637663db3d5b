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

#[test]
fn of_a_hostile_delta() {
    let stage = DeltaStage::of("memory/deltas", 8 << 20, version);
    let measured = |case: &str| {
        let host = stage.host();
        let run = run(&host, "memory::the_process_that_is_measured", &["update"]);
        println!("{case}: {} KiB, {}", run.peak_kib, run.text);
        assert_eq!(run.code, "", "{case}: {}", run.text);
        run.peak_kib
    };
    stage.list(&[]);
    // What two images of this size take is another matter.
    let without = measured("none").max(LIMIT_KIB);
    let cases: [(&str, fn(&mut Parts)); 7] = [
        ("nulls", |parts| full_of(parts, "null")),
        ("copies", |parts| full_of(parts, "{\"copy\":0}")),
        ("windows", |parts| full_of(parts, "{\"frame\":9,\"windows\":[[0,1],[0,1],[0,1],[0,1]]}")),
        ("objects", |parts| full_of(parts, "{}")),
        ("lists", |parts| full_of(parts, "[]")),
        ("unknown", |parts| full_of(parts, "{\"copy\":0,\"x\":[[[[]]]]}")),
        ("maximal", maximal),
    ];
    for (case, change) in cases {
        let mut parts = stage.parts();
        change(&mut parts);
        let (entry, _) = stage.put(parts);
        stage.list(&[entry]);
        let peak_kib = measured(case);
        assert!(peak_kib <= without, "{case}: {peak_kib} KiB of {without}");
    }
}
