// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress as plain lines: one for each phase, and one that closes the run.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::summary::in_blobs;
use super::{Event, Phase, Progress, Summary, bytes};

/// Writes lines. What cannot be written is dropped.
pub struct Lines<W>(Mutex<State<W>>);

struct State<W> {
    to: W,
    summary: Summary,
}

impl<W: Write + Send> Lines<W> {
    /// Lines to `to`.
    pub fn new(to: W) -> Self {
        Self(Mutex::new(State { to, summary: Summary::default() }))
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let closing = state.summary.take(&event);
        match event {
            Event::Phase(Phase::Done) => closing.iter().for_each(|line| state.say(line)),
            // What is written or pushed is said with its figures.
            Event::Phase(Phase::Writing | Phase::Pushing) => {}
            Event::Phase(phase) => state.say(phase.title()),
            Event::Pushing { blobs, present, size } => {
                let blobs = in_blobs(size, blobs, present);
                state.say(&format!("{} {blobs}", Phase::Pushing.title()));
            }
            Event::Payload { name, size, kept, fetch } => {
                let mut line = format!("{} {name}: {}", Phase::Writing.title(), bytes(size));
                if kept > 0 {
                    line.push_str(&format!(", of which {} stand there already", bytes(kept)));
                }
                if fetch > 0 {
                    line.push_str(&format!("; {} to fetch", bytes(fetch)));
                }
                state.say(&line);
            }
            _ => {}
        }
    }
}

impl<W: Write> State<W> {
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.to, "flipside: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_a_line_and_the_last_one_sums_up() {
        let lines = Lines::new(Vec::new());
        let payload = |name: &str, size, kept, fetch| Event::Payload {
            name: name.to_owned(),
            size,
            kept,
            fetch,
        };
        lines.event(Event::Phase(Phase::Comparing));
        lines.event(Event::Phase(Phase::Writing));
        lines.event(payload("system", 2000, 1000, 500));
        for _ in 0..1000 {
            lines.event(Event::Fetched(1));
            lines.event(Event::Written(1));
        }
        lines.event(Event::Phase(Phase::ReadingBack));
        lines.event(Event::ReadBack(2000));
        lines.event(Event::Phase(Phase::Done));
        let text = String::from_utf8(lines.0.into_inner().unwrap().to).unwrap();
        let (begin, took) = text.rsplit_once(" in ").unwrap();
        let expected = "\
flipside: comparing with what is there
flipside: writing system: 1.9 KiB, of which 1000 B stand there already; 500 B to fetch
flipside: reading back
flipside: fetched 1000 B, wrote 1000 B, read back 1.9 KiB";
        assert_eq!(begin, expected);
        assert!(took.trim_end().ends_with('s'), "{took}");
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
