// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress on a terminal: a bar with rate and time left.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{Event, Phase, Progress, Summary, bytes};

/// The bars of this process, so that messages can be written beside them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Runs `write`, which writes to stderr, without a bar in the way.
pub fn beside_bars<T>(write: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// A rate counts once it was measured for so long.
const MEASURED: Duration = Duration::from_secs(2);

/// Draws bars on stderr.
pub struct Terminal(Mutex<State>);

#[derive(Default)]
struct State {
    summary: Summary,
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
        let closing = state.summary.take(&event);
        match event {
            Event::Phase(Phase::Done) => {
                state.clear();
                if let Some(line) = closing {
                    let _ = beside_bars(|| writeln!(io::stderr(), "flipside: {line}"));
                }
            }
            Event::Phase(phase) => state.begin(phase),
            Event::Installing { .. } => {}
            Event::Ahead { .. } | Event::Payload { .. } | Event::Pushing { .. } => {
                if let Some(phase) = state.summary.tally.phase() {
                    state.begin(phase);
                }
            }
            Event::Fetched(_) | Event::Written(_) | Event::ReadBack(_) => state.show(),
        }
    }
}

impl State {
    fn begin(&mut self, phase: Phase) {
        let Some(bars) = BARS.get() else { return };
        let share = self.summary.tally.share().filter(|(_, total)| *total > 0);
        // The same bar goes on where only the payload or the total is another: so does its rate.
        if let (Some((_, total)), Some((_, bar))) =
            (share, self.bar.as_ref().filter(|(of, bar)| *of == phase && bar.length().is_some()))
        {
            bar.set_length(total);
            bar.set_message(self.message(phase));
            return;
        }
        // Hidden until it is added: nothing is drawn without its style.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style = match share {
            Some((done, total)) => {
                bar.set_length(total);
                bar.set_position(done);
                bar_style(done)
            }
            None => ProgressStyle::with_template("{spinner} {wide_msg}").ok(),
        };
        self.clear();
        if let Some(style) = style {
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
        let payload = self.summary.tally.progress().and_then(|progress| progress.payload.clone());
        match (phase, payload) {
            (Phase::Writing | Phase::ReadingBack, Some(payload)) => {
                format!("{} {payload}", phase.title())
            }
            _ => phase.title().to_owned(),
        }
    }

    fn show(&self) {
        if let (Some((_, bar)), Some((done, _))) = (&self.bar, self.summary.tally.share()) {
            bar.set_position(done);
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar that is as wide as the terminal leaves it. Its rate is that of its own phase, which begins
/// with `before` bytes.
fn bar_style(before: u64) -> Option<ProgressStyle> {
    let rate = move |state: &ProgressState, to: &mut dyn fmt::Write| {
        let done = state.pos().saturating_sub(before);
        let took = state.elapsed();
        if took < MEASURED || done == 0 {
            return;
        }
        let rate = u128::from(done) * 1000 / took.as_millis().max(1);
        let left = state.len().unwrap_or_default().saturating_sub(state.pos());
        let seconds = u128::from(left) / rate.max(1);
        let rate = bytes(u64::try_from(rate).unwrap_or(u64::MAX));
        let _ = match seconds {
            0..120 => write!(to, " {rate}/s, {seconds} s left"),
            _ => write!(to, " {rate}/s, {} min left", seconds / 60),
        };
    };
    let sums = |state: &ProgressState, to: &mut dyn fmt::Write| {
        let (done, total) = (state.pos(), state.len().unwrap_or_default());
        let _ = write!(to, "{} of {}", bytes(done.min(total)), bytes(total));
    };
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {sums}{rate}").ok()?;
    Some(style.progress_chars("=> ").with_key("rate", rate).with_key("sums", sums))
}

impl Drop for State {
    fn drop(&mut self) {
        // An error is said on a line of its own.
        self.clear();
    }
}
