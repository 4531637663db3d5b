// SPDX-License-Identifier: MIT OR Apache-2.0

//! The progress of a run, for systemd (sd_notify(3)): one line that `systemctl status` shows, and
//! more time as long as there is progress.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::progress::{Event, Phase, Progress, Tally, bytes};

/// How often what only progressed is told.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a run gets with each step forward. Less than the 71 minutes that the message can hold.
const EXTENSION: Duration = Duration::from_secs(30 * 60);

/// A rate counts once it was measured for so long.
const MEASURED: Duration = Duration::from_secs(2);

/// Tells systemd how far a run is, where it was started by systemd; nobody elsewhere. Nothing that
/// goes wrong here is told: a run must not fail by it.
pub struct Notify(Mutex<State>);

struct State {
    tally: Tally,
    what: String,
    since: Instant,
    /// How much was done when the phase began.
    before: u64,
    told: Option<Instant>,
}

impl Notify {
    /// Begins with nothing to tell.
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            tally: Tally::default(),
            what: String::new(),
            since: now,
            before: 0,
            told: None,
        }))
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Notify {
    fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.tally.take(&event);
        match &event {
            Event::Installing { version, slot, .. } => {
                state.what = format!(" {version} into slot {slot}");
                return;
            }
            Event::Phase(_) => {
                state.since = Instant::now();
                state.before = state.tally.share().map_or(0, |(done, _)| done);
            }
            _ if state.told.is_some_and(|told| told.elapsed() < INTERVAL) => return,
            _ => {}
        }
        let Some(phase) = state.tally.phase() else { return };
        state.told = Some(Instant::now());
        let (before, took) = (state.before, state.since.elapsed());
        let line = line(phase, &state.what, state.tally.share(), before, took);
        let microseconds = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
        let _ = sd_notify::notify(&[
            NotifyState::Status(&line),
            NotifyState::ExtendTimeoutUsec(microseconds),
        ]);
    }
}

/// `writing 2026.11.2 into slot B: 48 % of 592.0 MiB, 31 s left`.
fn line(
    phase: Phase,
    what: &str,
    share: Option<(u64, u64)>,
    before: u64,
    took: Duration,
) -> String {
    let what = match phase {
        Phase::Writing => what.to_owned(),
        _ => String::new(),
    };
    let line = format!("{}{what}", phase.title());
    let Some((done, total)) = share.filter(|(_, total)| *total > 0) else { return line };
    let done = done.min(total);
    let percent = u128::from(done) * 100 / u128::from(total);
    let line = format!("{line}: {percent} % of {}", bytes(total));
    let measured = done.saturating_sub(before);
    if measured == 0 || took < MEASURED {
        return line;
    }
    let left = took.as_secs_f64() * (total - done) as f64 / measured as f64;
    // Beyond that it is a guess that helps nobody.
    match left.ceil() {
        left if left < 120.0 => format!("{line}, {left} s left"),
        left if left < 7200.0 => format!("{line}, {} min left", (left / 60.0).round()),
        left if left < 360_000.0 => format!("{line}, {} h left", (left / 3600.0).round()),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_well() {
        let (what, mib) = (" 2026.11.2 into slot B", 1_u64 << 20);
        for (phase, share, seconds, expected) in [
            (Phase::Checking, None, 0, "looking for an update"),
            (Phase::Writing, None, 0, "writing 2026.11.2 into slot B"),
            (Phase::Writing, Some((0, 0)), 9, "writing 2026.11.2 into slot B"),
            (
                Phase::Writing,
                Some((284 * mib, 592 * mib)),
                29,
                "writing 2026.11.2 into slot B: 47 % of 592.0 MiB, 32 s left",
            ),
            (
                Phase::Writing,
                Some((mib, 592 * mib)),
                1,
                "writing 2026.11.2 into slot B: 0 % of 592.0 MiB",
            ),
            (
                Phase::ReadingBack,
                Some((mib, 61 * mib)),
                10,
                "reading back: 1 % of 61.0 MiB, 10 min left",
            ),
            (
                Phase::ReadingBack,
                Some((mib, 61 * mib)),
                600,
                "reading back: 1 % of 61.0 MiB, 10 h left",
            ),
            (Phase::ReadingBack, Some((1, u64::MAX)), 600, "reading back: 0 % of 16383.9 PiB"),
            (Phase::Arming, None, 5, "writing the boot entries"),
        ] {
            assert_eq!(line(phase, what, share, 0, Duration::from_secs(seconds)), expected);
        }
        // A second payload: its own rate counts.
        let took = Duration::from_secs(10);
        let text = line(Phase::ReadingBack, what, Some((90, 100)), 80, took);
        assert_eq!(text, "reading back: 90 % of 100 B, 10 s left");
    }
}
