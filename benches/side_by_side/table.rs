// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rows that are printed.

use crate::measure::{Usage, median};

/// The head of the table.
pub fn head() {
    row("figure", "flipside", "other", "ratio", "target");
}

pub fn row(name: &str, ours: &str, theirs: &str, ratio: &str, target: &str) {
    println!("{name:<60} {ours:>10} {theirs:>10} {ratio:>7}   {target}");
}

/// A figure that has nothing beside it.
pub fn alone(name: &str, ours: &str, target: &str) {
    row(name, ours, "", "", target);
}

/// A figure that cannot be had here.
pub fn skipped(name: &str, why: &str) {
    println!("{name:<60} skipped: {why}");
}

/// Two figures in one unit, and their ratio.
pub fn compare(name: &str, ours: f64, theirs: f64, unit: &str, target: &str) {
    let text = |value: f64| format!("{value:.2} {unit}");
    row(name, &text(ours), &text(theirs), &format!("{:.3}", ours / theirs), target);
}

/// Wall time and CPU of two contestants: medians, and the medians of the ratios of each round.
pub fn versus(name: &str, ours: &[Usage], theirs: &[Usage], wall: &str, cpu: &str) {
    part(&format!("{name}: wall"), ours, theirs, |usage| usage.wall, wall);
    part(&format!("{name}: CPU"), ours, theirs, |usage| usage.cpu, cpu);
}

/// One of both.
pub fn part(
    name: &str,
    ours: &[Usage],
    theirs: &[Usage],
    of: impl Fn(&Usage) -> f64,
    target: &str,
) {
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs));
    let seconds = |usages: &[Usage]| format!("{:.2} s", median(usages.iter().map(&of)));
    let ratio = format!("{:.3}", median(ratios));
    row(name, &seconds(ours), &seconds(theirs), &ratio, target);
}
