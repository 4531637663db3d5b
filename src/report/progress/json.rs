// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress for programs: one JSON event per line, described in `docs/status.md`.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError, bounded};
use jiff::Timestamp;
use serde::Serialize;

use super::{Event, Phase, Progress, RunProgress, Tally};

/// Version of the events; grows only where a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// The shortest time between two `progress` events: five a second.
const INTERVAL: Duration = Duration::from_millis(200);

/// How many lines wait for a slow reader; later ones are dropped.
const WAITING: usize = 256;

/// How long the end of a run, and of what is said about it, waits for a slow reader.
const FAREWELL: Duration = Duration::from_secs(1);

/// Writes events from a thread of its own: a reader that is slow, stuck or gone loses
/// events, and never holds up or fails the run.
pub struct Json(Mutex<State>);

enum Message {
    Line(String),
    /// Everything before this is written.
    Flush(Sender<()>),
}

struct State {
    /// `None` once nothing more can be said.
    lines: Option<Sender<Message>>,
    tally: Tally,
    last: Option<Instant>,
}

#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    time: Timestamp,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum What<'a> {
    Phase { phase: Phase },
    Payload { name: &'a str, size: u64, kept: u64, fetch: u64 },
    Progress(&'a RunProgress),
}

impl Json {
    /// Events to `to`.
    pub fn new(mut to: impl Write + Send + 'static) -> Self {
        let (lines, queue) = bounded(WAITING);
        let write = move || {
            for message in queue {
                match message {
                    Message::Line(line) => {
                        if to.write_all(line.as_bytes()).and_then(|()| to.flush()).is_err() {
                            break;
                        }
                    }
                    Message::Flush(done) => {
                        let _ = done.send(());
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(write);
        let lines = thread.is_ok().then_some(lines);
        Self(Mutex::new(State { lines, tally: Tally::default(), last: None }))
    }
}

impl Progress for Json {
    fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_none() {
            return;
        }
        match &event {
            Event::Phase(phase) => {
                // The sums of the phase that ends, exact.
                state.sums(true);
                state.tally.take(&event);
                state.say(What::Phase { phase: *phase });
                if *phase == Phase::Done {
                    // What the command prints comes behind it.
                    state.flush();
                }
            }
            Event::Installing { .. } => {}
            Event::Ahead { .. } | Event::Pushing { .. } => state.tally.take(&event),
            Event::Payload { name, size, kept, fetch } => {
                state.tally.take(&event);
                state.say(What::Payload { name, size: *size, kept: *kept, fetch: *fetch });
            }
            Event::Fetched(_) | Event::Written(_) | Event::ReadBack(_) => {
                state.tally.take(&event);
                state.sums(false);
            }
        }
    }
}

impl State {
    fn sums(&mut self, is_end: bool) {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        let has_counted = self.tally.share().is_some();
        let Some(progress) = self.tally.progress().filter(|_| has_counted && (is_end || is_due))
        else {
            return;
        };
        let progress = progress.clone();
        self.say(What::Progress(&progress));
        self.last = Some(Instant::now());
    }

    fn say(&mut self, what: What<'_>) {
        let line = Line { version: VERSION, time: Timestamp::now(), what };
        let (Some(lines), Ok(mut line)) = (&self.lines, serde_json::to_string(&line)) else {
            return;
        };
        line.push('\n');
        if let Err(TrySendError::Disconnected(_)) = lines.try_send(Message::Line(line)) {
            self.lines = None;
        }
    }

    /// Waits until everything is written. A reader that keeps it waiting gets nothing more.
    fn flush(&mut self) {
        let Some(lines) = &self.lines else { return };
        let (done, written) = bounded(1);
        let has_ended = lines.send_timeout(Message::Flush(done), FAREWELL).is_ok()
            && written.recv_timeout(FAREWELL).is_ok();
        if !has_ended {
            self.lines = None;
        }
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn a_run(progress: &dyn Progress, steps: u64) {
        progress.event(Event::Phase(Phase::Writing));
        progress.event(Event::Payload { name: "system".into(), size: steps, kept: 0, fetch: 7 });
        for _ in 0..steps {
            progress.event(Event::Written(1));
        }
        progress.event(Event::Phase(Phase::Done));
    }

    #[test]
    fn events_are_few_versioned_and_end_with_exact_sums() {
        let shared = Shared::default();
        let json = Json::new(shared.clone());
        a_run(&json, 100_000);
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let events: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.iter().all(|event| event["version"] == 1 && event["time"].is_string()));
        let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types[..2], ["phase", "payload"]);
        assert_eq!(types[types.len() - 2..], ["progress", "phase"]);
        assert!(types.len() < 30, "{}", types.len());
        assert_eq!(events[events.len() - 2]["written"], 100_000);
        assert_eq!(events[events.len() - 1]["phase"], "done");
    }

    #[test]
    fn a_reader_that_is_gone_or_stuck_does_not_hold_up_the_run() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        struct Stuck;
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                std::thread::sleep(Duration::from_secs(3600));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let begun = Instant::now();
        for json in [Json::new(Gone), Json::new(Stuck)] {
            for _ in 0..WAITING {
                a_run(&json, 10);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
