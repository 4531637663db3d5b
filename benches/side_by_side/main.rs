// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures of `docs/performance.md`: flipside beside what a person would do by hand,
//! on this machine, in turn, medians of five. `make bench` runs it.
//!
//! It keeps its payload, image and slots in `FLIPSIDE_BENCH_DIR` (default: a directory
//! below `target`), which needs 6 GiB. `FLIPSIDE_BENCH_RUNS` changes the number of runs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::too_many_lines, dead_code)]

mod bed;
#[path = "../../tests/support/certificates.rs"]
mod certificates;
mod child;
mod host;
mod image;
mod measure;
#[path = "../../tests/support/medium.rs"]
mod medium;
#[path = "../../tests/support/registry.rs"]
mod registry;

use bed::{Bed, Kind};
use measure::{Command, median, pairs, peak_memory};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == child::INSTALL) {
        return child::install(&arguments[1..]);
    }
    if arguments.first().is_some_and(|argument| argument == child::BUILD) {
        return child::build(&arguments[1..]);
    }
    let bed = Bed::make();
    println!("{}", bed.describe());
    println!("\n{:<58} {:>9} {:>9} {:>7}   target", "figure", "flipside", "by hand", "ratio");
    for (name, kind, read_back, target) in [
        ("fetch, verify, write, fsync: block device", Kind::BlockDevice, false, "0.40"),
        ("the same with read-back", Kind::BlockDevice, true, "0.60"),
        ("fetch, verify, write, fsync: file", Kind::File, false, "0.40"),
        ("the same with read-back", Kind::File, true, "0.60"),
    ] {
        if bed.has(kind) {
            install(&bed, name, kind, read_back, target);
        } else {
            println!("{name:<58} skipped: only root can make a loop device");
        }
    }
    memory(&bed);
    build(&bed);
    killed_at_half(&bed);
    host::idle(&bed.directory);
    host::disks(&bed.directory);
}

fn install(bed: &Bed, name: &str, kind: Kind, read_back: bool, target: &str) {
    let ours = bed.install(kind, &bed.large, read_back, &[]);
    let figure = pairs(&ours, &bed.by_hand(kind), || bed.spoil_slots(kind));
    figure.print(name, target);
}

/// Peak memory of the whole process, whatever the image's size.
fn memory(bed: &Bed) {
    let peaks: Vec<f64> = [&bed.small, &bed.huge]
        .map(|image| {
            let ours = bed.install(Kind::File, image, true, &[]);
            bed.spoil_slots(Kind::File);
            median((0..measure::runs()).map(|_| peak_memory(&ours)))
        })
        .to_vec();
    println!(
        "{:<58} {:>9.1} {:>9.1} {:>7.3}   32 MiB, within 10 %",
        "peak memory, MiB: 128 MiB and 1 GiB image",
        peaks[0],
        peaks[1],
        peaks[1] / peaks[0]
    );
}

/// `image build` beside `zstd -3`.
fn build(bed: &Bed) {
    let ours = bed.build();
    let zstd = Command::shell(format!(
        "zstd -q -3 -f --single-thread {} -o {}",
        bed.large.payload.display(),
        bed.directory.join("payload.zst").display()
    ));
    pairs(&ours, &zstd, || bed.remove_built())
        .print("image build at level 3, beside zstd -3", "0.60");
}

/// What is fetched again after the process was killed when half was fetched.
fn killed_at_half(bed: &Bed) {
    let half = (bed.large.stored / 2).to_string();
    let shares = (0..measure::runs()).map(|_| {
        bed.spoil_slots(Kind::File);
        bed.install(Kind::File, &bed.large, true, &["--killed-at", &half]).run_killed();
        let output = bed.install(Kind::File, &bed.large, true, &[]).output();
        let fetched: f64 = output.trim().parse().unwrap();
        fetched / bed.large.stored as f64
    });
    let share = median(shares);
    println!(
        "{:<58} {share:>9.3} {:>17}   0.52",
        "download after a kill at half, of the layer", ""
    );
}
