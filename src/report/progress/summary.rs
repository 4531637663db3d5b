// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run did, in the line that closes it.

use std::time::Instant;

use super::{Event, Phase, Tally, bytes};

/// Adds up what a run does, from its first event on.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How far it is.
    pub tally: Tally,
    since: Option<Instant>,
    /// What is pushed.
    pushed: Option<String>,
}

impl Summary {
    /// Takes an event. At the end: `fetched 231.0 MiB, wrote 592.0 MiB, read back 592.0 MiB in 14 s`,
    /// or `pushed 37.0 MiB in 3 blobs, 2 were there already, 4 s`, where anything was written.
    pub fn take(&mut self, event: &Event) -> Option<String> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let done = self.tally.progress().cloned();
        self.tally.take(event);
        if let Event::Pushing { blobs, present, size } = event {
            self.pushed = Some(in_blobs(*size, *blobs, *present));
        }
        let (Event::Phase(Phase::Done), Some(done)) = (event, done) else { return None };
        self.since = None;
        let sums =
            [("fetched", done.fetched), ("wrote", done.written), ("read back", done.read_back)];
        let said = sums.iter().filter(|(_, sum)| *sum > 0);
        let said: Vec<String> = said.map(|(what, sum)| format!("{what} {}", bytes(*sum))).collect();
        let took = match since.elapsed().as_secs() {
            seconds if seconds < 120 => format!("{seconds} s"),
            seconds => format!("{} min", seconds / 60),
        };
        (done.written > 0).then(|| match self.pushed.take() {
            Some(pushed) => format!("pushed {pushed}, {took}"),
            None => format!("{} in {took}", said.join(", ")),
        })
    }
}

/// `37.0 MiB in 3 blobs, 2 were there already`.
pub(super) fn in_blobs(size: u64, blobs: u64, present: u64) -> String {
    let blobs = if blobs == 1 { "1 blob".to_owned() } else { format!("{blobs} blobs") };
    let there = match present {
        0 => String::new(),
        1 => ", 1 was there already".to_owned(),
        _ => format!(", {present} were there already"),
    };
    format!("{} in {blobs}{there}", bytes(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_counted_for_people() {
        for (blobs, present, expected) in [
            (3, 2, "37.0 MiB in 3 blobs, 2 were there already"),
            (2, 1, "37.0 MiB in 2 blobs, 1 was there already"),
            (1, 0, "37.0 MiB in 1 blob"),
        ] {
            assert_eq!(in_blobs(37 << 20, blobs, present), expected);
        }
    }
}
