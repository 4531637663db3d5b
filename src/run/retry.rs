// SPDX-License-Identifier: MIT OR Apache-2.0

//! When a run of the timer is made again that failed in a way that time alone may mend: after
//! 15 minutes, an hour, four hours, and then every four hours, until a run succeeds or the next
//! day's begins to count anew. A run notes the time in `/run`; the unit behind it, which may set
//! timers, reads it.
//!
//! A time that a server named (`Retry-After`) holds for every run of the timer, not only for the
//! one that is made again. A person's run asks at any time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Error, Run};
use crate::codes;
use crate::config::Initiative;
use crate::report::file::replace_in_run;
use flipside_core::host::Root;
use flipside_core::host::open::read_at_most;
use flipside_core::refusal::Refusal;
use flipside_image::code::{Coded as _, Transient};
use flipside_source::jitter;

/// Where it stands. It goes with the boot, as the timer does that is set by it.
const PATH: &str = "/run/flipside/retry.json";
/// More than the file ever has, in bytes.
const LIMIT: u64 = 64 << 10;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// How long after each failure in a row the next run is made; the last of them repeats.
const DELAYS: [Duration; 3] = [MINUTE.saturating_mul(15), HOUR, HOUR.saturating_mul(4)];
/// The share of a delay that is added to it at random, at most: what failed for a whole site is
/// not asked again by all of it at once.
const JITTER: u32 = 4;
/// A failure that comes so long after the first one is the next day's. Less than 24 hours: a
/// timer may be a little early.
const DAY: Duration = HOUR.saturating_mul(20);
/// The longest `Retry-After` that is obeyed: no server keeps a host from its daily run for long.
const LONGEST: Duration = HOUR.saturating_mul(24);

/// What the unit behind a run is to do about the timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextRetry {
    /// Nothing has failed.
    Nothing,
    /// What had failed has not failed again: a timer that is left is removed.
    Ended,
    /// The run is made again.
    At {
        /// When.
        time: Timestamp,
        /// The code of the last failure.
        code: String,
    },
}

/// Failures in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failures {
    /// What was followed.
    image: Option<String>,
    /// The first of them.
    since: Timestamp,
    /// How many there were.
    count: usize,
    /// When the run is made again; `None` once one has succeeded.
    next: Option<Timestamp>,
    /// Until when a server wants to be left alone.
    not_before: Option<Timestamp>,
    /// The code of the last one.
    code: String,
}

impl Failures {
    /// One more failure at `now`, which `code` and `transient` tell of. `jitter` takes a random
    /// part of a duration.
    fn add(
        before: Option<&Self>,
        image: Option<String>,
        now: Timestamp,
        (code, transient): (&str, Transient),
        jitter: impl Fn(Duration) -> Duration,
    ) -> Self {
        let is_same_day = |before: &&Self| {
            let age = Duration::try_from(now.duration_since(before.since)).ok();
            before.next.is_some() && before.image == image && age.is_some_and(|age| age < DAY)
        };
        let before = before.filter(is_same_day);
        let count = before.map_or(0, |before| before.count);
        let delay = DELAYS.get(count).or(DELAYS.last()).copied().unwrap_or(HOUR);
        let asked = transient.retry_after.map(|wait| wait.min(LONGEST));
        let wait = delay.max(asked.unwrap_or_default()).saturating_add(jitter(delay / JITTER));
        let after = |wait: Duration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        Self {
            image,
            since: before.map_or(now, |before| before.since),
            count: count.saturating_add(1),
            next: Some(after(wait)),
            not_before: asked.map(after),
            code: code.to_owned(),
        }
    }

    /// How long a server still wants to be left alone by who follows `image`. A time that no server
    /// can have named is the clock's fault.
    fn wait(&self, image: Option<&str>, now: Timestamp) -> Option<Duration> {
        let wait = self.not_before?.duration_since(now);
        let wait = Duration::try_from(wait).ok().filter(|wait| !wait.is_zero() && *wait <= LONGEST);
        wait.filter(|_| self.image.as_deref() == image)
    }
}

/// Refuses a run of the timer that comes before the time at which a server wants to be asked again.
///
/// # Errors
/// The refusal, a deferral.
pub(super) fn obey_retry_after(run: &Run, initiative: Initiative) -> Result<(), Error> {
    let image = run.config.track.image.as_deref();
    let failures = read(&run.root).filter(|_| initiative == Initiative::Automatic);
    let now = Timestamp::now();
    let Some(wait) = failures.and_then(|failures| failures.wait(image, now)) else {
        return Ok(());
    };
    let minutes = wait.as_secs().div_ceil(60);
    let why = format!(
        "the registry or its graph server wants to be left alone for another {minutes} min"
    );
    let transient = Transient { retry_after: Some(wait) };
    Err(Refusal::defer(codes::REGISTRY_RATE_LIMITED, why).passing(transient).into())
}

/// Ends a run: one of the timer's that failed in a way that time alone may mend is to be made again,
/// and one that did not ends the failures before it.
pub(super) fn note_failure(run: &Run, initiative: Initiative, error: Option<&Error>) {
    let before = read(&run.root);
    let (now, image) = (Timestamp::now(), run.config.track.image.as_deref());
    let is_waiting = before.as_ref().is_some_and(|before| before.wait(image, now).is_some());
    let is_by_timer = initiative == Initiative::Automatic;
    let noted = match (error, before) {
        // It asked nobody, and says nothing about the next one.
        (Some(error), _) if error.code() == codes::STOPPED => return,
        (Some(_), _) if !is_by_timer || is_waiting => return,
        (Some(error), before) => match error.transient() {
            Some(transient) => {
                let failure = (error.code().name(), transient);
                Failures::add(before.as_ref(), image.map(str::to_owned), now, failure, jitter)
            }
            None => match before {
                Some(before) => Failures { next: None, not_before: None, ..before },
                None => return,
            },
        },
        (None, Some(before)) => Failures { next: None, not_before: None, ..before },
        (None, None) => return,
    };
    if let Err(error) = write(&run.root, &noted) {
        let path = path(&run.root);
        tracing::warn!(
            "the run is made again by the daily timer only: {}: {error}",
            path.display()
        );
    }
}

/// What was noted last.
pub fn next_retry(root: &Root) -> NextRetry {
    match read(root) {
        None => NextRetry::Nothing,
        Some(Failures { next: None, .. }) => NextRetry::Ended,
        Some(Failures { next: Some(time), code, .. }) => NextRetry::At { time, code },
    }
}

/// Forgets failures that have ended.
pub fn forget_ended_retries(root: &Root) {
    if next_retry(root) == NextRetry::Ended {
        let _ = fs::remove_file(path(root));
    }
}

/// Whether the timer's run is made again because of such a failure.
pub(super) fn is_made_again(run: &Run, error: &Error) -> bool {
    error.transient().is_some() && matches!(next_retry(&run.root), NextRetry::At { .. })
}

fn path(root: &Root) -> PathBuf {
    root.path(PATH)
}

/// `None` also where what stands there is damaged: the daily timer comes anyway.
fn read(root: &Root) -> Option<Failures> {
    serde_json::from_slice(&read_at_most(&path(root), LIMIT).ok()?).ok()
}

fn write(root: &Root, failures: &Failures) -> io::Result<()> {
    replace_in_run(&path(root), &serde_json::to_vec(failures)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "r.example/os:stable";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A failure at `now` behind `before`, without jitter.
    fn fails(before: Option<&Failures>, now: Timestamp, retry_after: Option<u64>) -> Failures {
        let transient = Transient { retry_after: retry_after.map(Duration::from_secs) };
        let failure = ("registry-error", transient);
        Failures::add(before, Some(IMAGE.into()), now, failure, |_| Duration::ZERO)
    }

    #[test]
    fn a_run_that_fails_again_and_again_is_made_again_less_and_less_often() {
        let mut now = at("2026-11-21T03:10Z");
        let mut failures = None;
        let mut times = Vec::new();
        while times.len() < 8 {
            let noted = fails(failures.as_ref(), now, None);
            now = noted.next.unwrap();
            times.push(now.strftime("%d %H:%M").to_string());
            failures = Some(noted);
        }
        // After 20 hours it is the next day's failure, and counted from the start.
        let day = ["21 03:25", "21 04:25", "21 08:25", "21 12:25", "21 16:25", "21 20:25"];
        assert_eq!(times, [&day[..], &["22 00:25", "22 00:40"]].concat());
    }

    #[test]
    fn a_time_that_a_server_names_is_waited_for() {
        let now = at("2026-11-21T03:00Z");
        let day = 24 * 3600;
        for (asked, next) in [
            (None, "2026-11-21T03:15Z"),
            (Some(30), "2026-11-21T03:15Z"),
            (Some(7200), "2026-11-21T05:00Z"),
            (Some(day), "2026-11-22T03:00Z"),
            (Some(u64::MAX), "2026-11-22T03:00Z"),
        ] {
            let noted = fails(None, now, asked);
            assert_eq!(noted.next, Some(at(next)), "{asked:?}");
            let wait = noted.wait(Some(IMAGE), now).map(|wait| wait.as_secs());
            assert_eq!(wait, asked.map(|asked| asked.min(day)));
            assert_eq!(noted.wait(Some("r.example/os:next"), now), None);
            assert_eq!(noted.wait(Some(IMAGE), at(next)), None);
        }
        // A clock that was ahead keeps nobody waiting.
        assert_eq!(fails(None, now, Some(60)).wait(Some(IMAGE), at("2020-01-01T00:00Z")), None);
    }

    #[test]
    fn no_failure_of_another_time_or_tag_counts() {
        let before = fails(None, at("2026-11-21T03:00Z"), None);
        let count = |before: &Failures, now| fails(Some(before), at(now), None).count;
        assert_eq!(count(&before, "2026-11-21T03:15Z"), 2);
        assert_eq!(count(&before, "2026-11-21T22:59Z"), 2);
        assert_eq!(count(&before, "2026-11-21T23:00Z"), 1);
        assert_eq!(count(&before, "2026-11-20T23:00Z"), 1);
        assert_eq!(count(&Failures { next: None, ..before.clone() }, "2026-11-21T03:15Z"), 1);
        assert_eq!(count(&Failures { image: None, ..before }, "2026-11-21T03:15Z"), 1);
    }

    #[test]
    fn no_retry_is_early_and_none_is_late_by_more_than_a_quarter() {
        let now = at("2026-11-21T03:00Z");
        let transient = Transient { retry_after: Some(Duration::from_secs(3600)) };
        let mut waits = Vec::new();
        for _ in 0..100 {
            let noted = Failures::add(None, None, now, ("x", transient), jitter);
            waits.push(noted.next.unwrap().duration_since(now).as_secs());
        }
        assert!(waits.iter().all(|wait| (3600..=3600 + 225).contains(wait)), "{waits:?}");
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
