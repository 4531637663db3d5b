// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures of `docs/performance.md`: the program as it is, beside what a person would do by hand
//! and beside RAUC and `SWUpdate`, on this machine, in turn, medians of five. `make bench` runs it.
//!
//! - `PAIR=1`: on two Debian root file systems that it makes, and on images of 8 GiB, as root. Otherwise
//!   on a pair from this machine's `/usr`, and on images of 2 GiB.
//! - `FLIPSIDE_BENCH_DIR`: where payloads, images and slots are kept, up to 12 GiB; by default a
//!   directory below `target`. `FLIPSIDE_BENCH_RUNS`: the number of runs.
//! - Arguments name the parts that are run, if not all are; `levels` only runs if it is named.
//!
//! What it is made of:
//!
//! - `pair`, `usr`: payloads; `subject`, `plain_stream`: images of them; `bed`: the registry they are in
//! - `host`, `medium`: what is updated; `peers`: others who do the same; `link`: a slow line
//! - `install`, `deltas`, `memory`, `idle`, `disks`, `building`: the figures
//! - `measure`, `table`: how they are taken and printed

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, dead_code)]

mod bed;
mod building;
#[path = "../../tests/support/certificates.rs"]
mod certificates;
mod deltas;
mod disks;
mod host;
mod idle;
mod install;
mod link;
mod measure;
mod medium;
mod memory;
mod pair;
mod peers;
mod plain_stream;
#[path = "../../tests/support/registry.rs"]
mod registry;
mod subject;
mod table;
mod usr;

use bed::Bed;
use subject::Subject;

/// In the order in which they run.
const PARTS: [&str; 6] = ["install", "deltas", "build", "idle", "disks", "memory"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == measure::MEASURE) {
        return measure::measure(&arguments[1..]);
    }
    // Cargo adds options of its own.
    let named: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    let is_wanted =
        |part| if named.is_empty() { PARTS.contains(&part) } else { named.contains(&part) };

    let bed = Bed::make();
    let is_debian = std::env::var_os("PAIR").is_some_and(|pair| pair == "1");
    let pairs = match is_debian {
        true => pair::debian(&bed.directory).unwrap_or_else(|why| panic!("PAIR=1: {why}")),
        false => vec![usr::pair(&bed.directory)],
    };
    println!("{}\n", Bed::describe());
    table::head();
    if is_wanted("levels") {
        building::levels(&bed, &pairs);
    }
    if is_wanted("build") {
        building::figures(&bed, &pairs[0]);
    }
    if is_wanted("idle") {
        idle::figures(&bed);
    }
    if is_wanted("disks") {
        disks::figures(&bed);
    }
    if ["install", "deltas", "memory"].into_iter().any(is_wanted) {
        let publish = |pair| Subject::publish(&bed, pair);
        let most = if is_wanted("deltas") { pairs.len() } else { 1 };
        let subjects: Vec<Subject> = pairs.into_iter().take(most).map(publish).collect();
        if is_wanted("install") {
            install::figures(&bed, &subjects[0]);
        }
        if is_wanted("deltas") {
            deltas::figures(&bed, &subjects);
        }
        if is_wanted("memory") {
            memory::figures(&bed, &subjects[0], if is_debian { 8 } else { 2 });
        }
    }
    println!("\nload at the end: {}", bed::load());
}
