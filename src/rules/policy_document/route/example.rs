// SPDX-License-Identifier: MIT OR Apache-2.0

//! Documents in a few words, for tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use flipside_image::Digest;
use flipside_image::document::{Document, Release};
use flipside_image::graph::Running;
use flipside_image::rollout::Rollout;

pub fn digest(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

pub fn start() -> Timestamp {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

pub fn at(hours: i64) -> Timestamp {
    start() + SignedDuration::from_hours(hours)
}

/// A release from words: `b` barrier, `d` dead end, `w` withdrawn, `r` rolled out within 100 hours.
pub fn release(version: &str, marks: &str) -> Release {
    let reason = |mark: char| marks.contains(mark).then(|| format!("because of {mark}"));
    let rollout =
        Rollout { start: start(), start_share: 0.0, duration: Duration::from_secs(100 * 3600) };
    Release {
        version: version.to_owned(),
        digest: digest(version),
        barrier: reason('b'),
        rollout: marks.contains('r').then_some(rollout),
        dead_end: reason('d'),
        withdrawn: reason('w'),
    }
}

/// Reads `1, 2 b, 3 wr`: versions in ascending order, and their marks.
pub fn document(text: &str) -> Document {
    let releases = text.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
        let (version, marks) = part.trim().split_once(' ').unwrap_or((part.trim(), ""));
        release(version, marks)
    });
    let (issued, expires) = (start(), at(24 * 300));
    Document { issued, expires, releases: releases.collect() }
}

pub fn running(version: &str) -> Running {
    Running { digests: vec![digest(version)], version: version.to_owned() }
}
