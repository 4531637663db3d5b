// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress as plain lines: one for each phase and each tenth of it.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{Event, Phase, Progress, Tally, bytes};

/// Writes lines. What cannot be written is dropped.
pub struct Lines<W>(Mutex<State<W>>);

struct State<W> {
    to: W,
    tally: Tally,
    tenth: u64,
    since: Instant,
}

impl<W: Write + Send> Lines<W> {
    /// Lines to `to`.
    pub fn new(to: W) -> Self {
        let (tally, since) = (Tally::default(), Instant::now());
        Self(Mutex::new(State { to, tally, tenth: 0, since }))
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.tally.take(&event);
        match event {
            Event::Phase(phase) => state.begin(phase),
            Event::Installing { .. } => {}
            Event::Payload { name, size, kept, fetch } => {
                state.tenth = 0;
                let mut line = format!("payload {name}: {}", bytes(size));
                if kept > 0 {
                    line.push_str(&format!(", of which {} stand there already", bytes(kept)));
                }
                if fetch > 0 {
                    line.push_str(&format!("; {} to fetch", bytes(fetch)));
                }
                state.say(&line);
            }
            Event::Ahead { name, fetch } => {
                state.tenth = 0;
                if fetch > 0 {
                    state.say(&format!("payload {name}: {} to fetch", bytes(fetch)));
                }
            }
            Event::Fetched(_) | Event::Written(_) | Event::ReadBack(_) => state.count(),
        }
    }
}

impl<W: Write> State<W> {
    fn begin(&mut self, phase: Phase) {
        self.tenth = 0;
        self.since = Instant::now();
        if phase != Phase::Done {
            self.say(phase.title());
        }
    }

    fn count(&mut self) {
        let (Some((done, total)), Some(phase)) = (self.tally.share(), self.tally.phase()) else {
            return;
        };
        let tenth = match total {
            0 => 0,
            _ => u64::try_from(u128::from(done.min(total)) * 10 / u128::from(total)).unwrap_or(10),
        };
        if tenth <= self.tenth {
            return;
        }
        self.tenth = tenth;
        let milliseconds = self.since.elapsed().as_millis().max(1);
        let rate = u64::try_from(u128::from(done) * 1000 / milliseconds).unwrap_or(u64::MAX);
        let line = format!(
            "{}: {} % ({} of {}, {}/s)",
            phase.title(),
            tenth * 10,
            bytes(done),
            bytes(total),
            bytes(rate)
        );
        self.say(&line);
    }

    fn say(&mut self, line: &str) {
        let _ = writeln!(self.to, "flipside: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_is_said_once() {
        let lines = Lines::new(Vec::new());
        lines.event(Event::Phase(Phase::Writing));
        let name = "system".to_owned();
        lines.event(Event::Payload { name, size: 2000, kept: 1000, fetch: 500 });
        for _ in 0..1000 {
            lines.event(Event::Fetched(1));
            lines.event(Event::Written(1));
        }
        lines.event(Event::Phase(Phase::Done));
        let text = String::from_utf8(lines.0.into_inner().unwrap().to).unwrap();
        let text: Vec<&str> = text.lines().collect();
        assert_eq!(text[0], "flipside: writing");
        let payload =
            "payload system: 1.9 KiB, of which 1000 B stand there already; 500 B to fetch";
        assert_eq!(text[1], format!("flipside: {payload}"));
        assert_eq!(text.len(), 12, "{text:?}");
        assert!(text[2].starts_with("flipside: writing: 10 % (100 B of 1000 B, "));
        assert!(text[11].contains(" 100 % "));
    }

    #[test]
    fn a_broken_reader_and_an_empty_payload_are_no_trouble() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::new(Broken);
        lines.event(Event::Phase(Phase::Writing));
        lines.event(Event::Payload { name: "x".into(), size: 0, kept: 0, fetch: 0 });
        lines.event(Event::Written(1));
        lines.event(Event::ReadBack(u64::MAX));
        lines.event(Event::ReadBack(u64::MAX));
    }
}
