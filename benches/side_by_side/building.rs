// SPDX-License-Identifier: MIT OR Apache-2.0

//! `image build` beside the `zstd` command: how long it takes, and how large the layer is.

use std::path::Path;

use crate::bed::{Bed, MIB, build, read};
use crate::measure::{Command, Contestant, in_turn};
use crate::pair::Pair;
use crate::table;

/// The level by which the reference writer's layers are told from flipside's.
const ZSTD: &str = "zstd -q -3 --single-thread -f";

pub fn figures(bed: &Bed, pair: &Pair) {
    let (layout, other) = (bed.directory.join("built"), bed.directory.join("built.zst"));
    let zstd = Command::shell(&format!("{ZSTD} {} -o {}", pair.new.display(), other.display()));
    let rounds = in_turn(&[
        Contestant::new("flipside", || build(&layout, "2", &pair.new, &[]).measure()),
        Contestant::new("zstd", || zstd.measure()),
    ]);
    table::versus("image build, beside zstd -3", &rounds[0], &rounds[1], "", "");
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let size = read(&layout, "built").layer_size;
    let theirs = other.metadata().unwrap().len();
    table::compare("image build: layer, beside zstd -3", mib(size), mib(theirs), "MiB", "1.00");
    std::fs::remove_dir_all(&layout).unwrap();
    std::fs::remove_file(&other).unwrap();
}

/// Size and time at every level that somebody may choose as the default.
pub fn levels(bed: &Bed, pairs: &[Pair]) {
    for pair in pairs {
        let zstd = bed.directory.join("built.zst");
        let theirs = |options: &str| {
            let (from, to) = (pair.new.display(), zstd.display());
            let usage = Command::shell(&format!("{ZSTD} {options} {from} -o {to}")).measure();
            level(pair, &format!("zstd -3 {options}"), zstd.metadata().unwrap().len(), usage.cpu);
        };
        theirs("");
        theirs("--zstd=wlog=23");
        std::fs::remove_file(&zstd).unwrap();
        for number in 3..=12 {
            let layout = bed.directory.join("built");
            let usage = build_at(&layout, pair, number).measure();
            let size = read(&layout, "built").layer_size;
            level(pair, &format!("image build --level {number}"), size, usage.cpu);
            std::fs::remove_dir_all(&layout).unwrap();
        }
    }
}

fn build_at(layout: &Path, pair: &Pair, level: i32) -> Command {
    build(layout, "2", &pair.new, &["--level", &level.to_string()])
}

fn level(pair: &Pair, name: &str, bytes: u64, cpu: f64) {
    let (size, cpu) = (format!("{:.1} MB", bytes as f64 / 1e6), format!("{cpu:.1} s"));
    table::row(&format!("{}: {name}: layer, CPU", pair.name), &size, &cpu, "", "");
}
