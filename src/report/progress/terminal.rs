// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress on a terminal: a bar with rate and time left.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Event, Phase, Progress, Tally, bytes};

/// The bars of this process, so that messages can be written beside them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Runs `write`, which writes to stderr, without a bar in the way.
pub fn beside_bars<T>(write: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Draws bars on stderr.
pub struct Terminal(Mutex<State>);

#[derive(Default)]
struct State {
    tally: Tally,
    /// The bar that is drawn, and the phase that it is of.
    bar: Option<(Phase, ProgressBar)>,
}

impl Terminal {
    /// Draws on stderr, which is a terminal.
    pub fn new() -> Self {
        let _ = BARS.get_or_init(MultiProgress::new);
        Self(Mutex::default())
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Terminal {
    fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.tally.take(&event);
        match event {
            Event::Phase(phase) => state.begin(phase),
            Event::Installing { .. } => {}
            Event::Ahead { .. } | Event::Payload { .. } => {
                if let Some(phase) = state.tally.phase() {
                    state.begin(phase);
                }
            }
            Event::Fetched(_) | Event::Written(_) | Event::ReadBack(_) => state.show(),
        }
    }
}

impl State {
    fn begin(&mut self, phase: Phase) {
        if phase == Phase::Done {
            self.clear();
            return;
        }
        let Some(bars) = BARS.get() else { return };
        let hidden = ProgressDrawTarget::hidden;
        let (bar, style) = match self.tally.share() {
            Some((done, total)) => {
                // The same bar goes on where only the total grew: so does its rate.
                if let Some((_, bar)) = self.bar.as_ref().filter(|(of, _)| *of == phase) {
                    bar.set_length(total);
                    bar.set_message(self.message(phase));
                    return;
                }
                let bar = ProgressBar::with_draw_target(Some(total), hidden());
                bar.set_position(done);
                let line = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                (bar, ProgressStyle::with_template(line).map(|style| style.progress_chars("=> ")))
            }
            None => (
                ProgressBar::with_draw_target(None, hidden()),
                ProgressStyle::with_template("{spinner} {msg}"),
            ),
        };
        self.clear();
        // Hidden until it is added: nothing is drawn without its style.
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(self.message(phase));
        let bar = bars.add(bar);
        // At once, however soon the phase ends.
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some((phase, bar));
    }

    fn message(&self, phase: Phase) -> String {
        let payload = self.tally.progress().and_then(|progress| progress.payload.clone());
        match (phase, payload) {
            (Phase::Writing, Some(payload)) => {
                let fetch = self.tally.progress().map_or(0, |progress| progress.fetch_total);
                match fetch {
                    0 => format!("{}: {payload}", phase.title()),
                    _ => format!("{}: {payload}, {} to fetch", phase.title(), bytes(fetch)),
                }
            }
            _ => phase.title().to_owned(),
        }
    }

    fn show(&self) {
        if let (Some((_, bar)), Some((done, _))) = (&self.bar, self.tally.share()) {
            bar.set_position(done);
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // An error is said on a line of its own.
        self.clear();
    }
}
