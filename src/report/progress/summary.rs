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
}

impl Summary {
    /// Takes an event. At the end: `fetched 231.0 MiB, wrote 592.0 MiB, read back 592.0 MiB in 14 s`,
    /// where anything was written.
    pub fn take(&mut self, event: &Event) -> Option<String> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let done = self.tally.progress().cloned();
        self.tally.take(event);
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
        (done.written > 0).then(|| format!("{} in {took}", said.join(", ")))
    }
}
