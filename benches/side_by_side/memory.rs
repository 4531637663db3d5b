// SPDX-License-Identifier: MIT OR Apache-2.0

//! The most memory that an update takes, of small and of large images.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::bed::{Bed, Image, MIB};
use crate::deltas;
use crate::host::Host;
use crate::install::IN_FULL;
use crate::measure::{median, runs};
use crate::medium::Medium;
use crate::pair::Pair;
use crate::plain_stream;
use crate::subject::Subject;
use crate::table;

/// One MiB of so many has content.
const SPREAD: u64 = 8;

pub fn figures(bed: &Bed, subject: &Subject, gibibytes: u64) {
    let small = peaks(bed, subject, runs());
    let large = {
        let pair = large_pair(bed, &subject.pair, gibibytes * 1024 * MIB);
        let large = Subject::publish(bed, pair);
        deltas::make(bed, &large.old, &large.new).output();
        peaks(bed, &large, runs().min(3))
    };
    let kinds = [("full", "24 MiB"), ("delta", "32 MiB"), ("one stream", "32 MiB")];
    for (((kind, target), small), large) in kinds.iter().zip(small).zip(large) {
        let name = format!("peak memory, {kind}: {gibibytes} GiB image, 600 MiB image");
        table::compare(&name, large, small, "MiB", &format!("{target}, within 10 %"));
    }
}

/// The peak of a full install, of an update by delta, and of an install of one stream, in MiB.
fn peaks(bed: &Bed, subject: &Subject, runs: usize) -> [f64; 3] {
    let stream = plain_stream::publish(bed, &subject.new, &subject.pair.new);
    let host = Host::new(bed, "memory", &subject.old, &[], Medium::File);
    host.dig_holes();
    let peak = |image: &Image, settings: &str| {
        host.follow(&bed.reference(image), settings);
        median((0..runs).map(|_| {
            host.reset_sparse();
            host.update().measure().peak
        }))
    };
    [peak(&subject.new, IN_FULL), peak(&subject.new, ""), peak(&stream, IN_FULL)]
}

/// Payloads of `size` bytes that have what `pair` has, again and again, with seven zero chunks after
/// each: so large and no larger on the disk.
fn large_pair(bed: &Bed, pair: &Pair, size: u64) -> Pair {
    let large = |version| bed.directory.join(format!("large-{version}.img"));
    let (old, new) = (large(1), large(2));
    spread(&pair.old, &old, size);
    spread(&pair.new, &new, size);
    Pair { name: "large", old, new }
}

fn spread(from: &Path, to: &Path, size: u64) {
    let (from, mut to) = (File::open(from).unwrap(), File::create(to).unwrap());
    to.set_len(size).unwrap();
    let chunks = from.metadata().unwrap().len() / MIB;
    let mut chunk = vec![0; MIB as usize];
    for nth in 0..size / MIB / SPREAD {
        from.read_exact_at(&mut chunk, nth % chunks * MIB).unwrap();
        to.write_all_at(&chunk, nth * SPREAD * MIB).unwrap();
    }
    to.flush().unwrap();
}
