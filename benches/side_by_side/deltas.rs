// SPDX-License-Identifier: MIT OR Apache-2.0

//! Updates by delta: what is fetched, how long it takes, and what a kill costs.

use std::time::{Duration, Instant};

use crate::bed::{Bed, Image, MIB};
use crate::host::Host;
use crate::install::IN_FULL;
use crate::link::FAST_ETHERNET;
use crate::measure::{Command, Contestant, in_turn, median, runs};
use crate::medium::Medium;
use crate::subject::Subject;
use crate::table;

/// A host in a directory cannot say whether something on a block device is mounted for writing.
const FROM_A_BLOCK_DEVICE: &str = "[update]\ndeltas = \"writable\"\n";

/// How long a kill is waited for at most.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn figures(bed: &Bed, subjects: &[Subject]) {
    for subject in subjects {
        fetched(bed, subject);
    }
    time(bed, &subjects[0]);
    killed(bed, &subjects[0]);
}

/// Makes the delta from `old` to `new`, beside `new` in the registry.
pub fn make(bed: &Bed, old: &Image, new: &Image) -> Command {
    Command::flipside(&["image", "delta", &bed.reference(old), &bed.reference(new)])
}

/// Everything that comes over the line in one update, beside the layers of the new image.
fn fetched(bed: &Bed, subject: &Subject) {
    let made = make(bed, &subject.old, &subject.new).measure();
    let host = Host::new(bed, "delta", &subject.old, &[], Medium::File);
    let bytes = update_over_the_line(bed, &host, subject, "");
    let name = format!("update by delta, {}: fetched, full layers", subject.pair.name);
    let target = match subject.pair.name {
        "uncompressed" => "0.07",
        "lz4hc" => "0.12",
        "uncompressed, with /boot" => "0.15",
        _ => "",
    };
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    table::compare(&name, mib(bytes), mib(subject.new.full), "MiB", target);
    let took = format!("{:.1} s", made.cpu);
    table::alone(&format!("image delta, {}: CPU", subject.pair.name), &took, "");
    let took = format!("{:.0} MiB", made.peak);
    table::alone(&format!("image delta, {}: peak memory", subject.pair.name), &took, "");
}

/// How many bytes an update of the host fetches, heads, manifests and configs among them.
fn update_over_the_line(bed: &Bed, host: &Host, subject: &Subject, settings: &str) -> u64 {
    host.follow(&bed.over_the_line(&subject.new), settings).reset();
    let before = bed.link.bytes();
    host.update().output();
    bed.link.bytes() - before
}

fn time(bed: &Bed, subject: &Subject) {
    let medium = Medium::best();
    let host = Host::new(bed, "delta", &subject.old, &[], medium);
    let ours = |reference: String, settings: &'static str| {
        let host = &host;
        move || host.follow(&reference, settings).measure()
    };
    let (direct, slow) = (bed.reference(&subject.new), bed.over_the_line(&subject.new));
    for (reference, line, target) in [(direct, "", "0.60"), (slow, " at 100 Mbit/s", "")] {
        bed.link.set_rate(FAST_ETHERNET);
        let rounds = in_turn(&[
            Contestant::new("by delta", ours(reference.clone(), FROM_A_BLOCK_DEVICE)),
            Contestant::new("in full", ours(reference, IN_FULL)),
        ]);
        bed.link.set_rate(0);
        let name = format!("update by delta, {}, against in full{line}", medium.name());
        table::versus(&name, &rounds[0], &rounds[1], target, "");
    }
}

/// An update that is killed when half has come, and then one that goes on from there.
fn killed(bed: &Bed, subject: &Subject) {
    let host = Host::new(bed, "killed", &subject.old, &[], Medium::File);
    for (name, settings, rate, target) in [
        ("killed at half of a delta: fetched in all", "", FAST_ETHERNET, "1.02"),
        ("killed at half of a full install: fetched in all", IN_FULL, 4 * FAST_ETHERNET, "1.02"),
    ] {
        bed.link.set_rate(rate);
        let shares = (0..runs()).map(|_| {
            let whole = update_over_the_line(bed, &host, subject, settings);
            host.reset();
            let before = bed.link.bytes();
            let came = || bed.link.bytes() - before;
            let mut child = host.update().spawn();
            let begun = Instant::now();
            while came() < whole / 2 && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success(), "it ended before it was killed");
            host.update().output();
            came() as f64 / whole as f64
        });
        table::alone(name, &format!("{:.3}", median(shares)), target);
        bed.link.set_rate(0);
    }
}
