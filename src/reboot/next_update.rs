// SPDX-License-Identifier: MIT OR Apache-2.0

//! When the timer's run is made again before the next day: in the next of `update.windows`, since the
//! daily one may fall outside of all of them for ever, and after a failure that time may mend.

use std::time::Duration;

use jiff::Timestamp;

use super::jitter::Share;
use super::{Bus, RebootError, Timer};
use crate::config::window::Windows;
use crate::config::{Automatic, Update};
use crate::run::{NextRetry, Run, forget_ended_retries, next_retry};
use crate::system::zone_of;

/// What is left of a window, at least, when a run begins in it.
const MARGIN: Duration = Duration::from_secs(60);

/// When the run is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// At this host's place in an update window.
    InWindow(Timestamp),
    /// After a failure.
    AfterFailure(Timestamp),
}

/// Sets the timer for the next run, where it is due before the daily one.
///
/// # Errors
/// [`RebootError`]: systemd cannot be reached, or refuses.
pub fn schedule(run: &Run) -> Result<(), RebootError> {
    let settings = &run.config.update;
    let retry = next_retry(&run.root);
    let failed_until = match &retry {
        NextRetry::At { time, .. } => Some(*time),
        NextRetry::Nothing | NextRetry::Ended => None,
    };
    let zone = zone_of(&run.root);
    let windows = Windows { windows: &settings.windows, host: &zone };
    // Where no window has to be met, the clock need not be right.
    let now = if settings.windows.is_empty() { Some(Timestamp::now()) } else { run.clock().now() };
    let next = match now {
        Some(now) => next(settings, windows, Share::of(&run.root), now, failed_until),
        // By then the clock may have been set, and the run keeps to the windows itself.
        None if settings.automatic != Automatic::Off => failed_until.map(Again::AfterFailure),
        None => None,
    };
    if next.is_none() && retry != NextRetry::Ended {
        return Ok(());
    }
    let bus = Bus::of(&run.root).map_err(|why| RebootError::NoLogind { why })?;
    match (next, &retry) {
        (Some(Again::InWindow(time)), _) => Timer::of_update(&bus).set(time)?,
        (Some(Again::AfterFailure(time)), NextRetry::At { code, .. }) => {
            tracing::warn!("the update is tried again at {time}, because of the failure [{code}]");
            Timer::of_retry(&bus).set(time)?;
        }
        _ => {}
    }
    if retry == NextRetry::Ended {
        Timer::of_retry(&bus).remove()?;
        forget_ended_retries(&run.root);
    }
    Ok(())
}

/// When the run is made again. `failed_until` is when one that failed is due: inside of a window
/// where there are any, and never sooner. `None` where there is nothing to wait for.
fn next(
    settings: &Update,
    windows: Windows<'_>,
    share: Share,
    now: Timestamp,
    failed_until: Option<Timestamp>,
) -> Option<Again> {
    match settings.automatic {
        Automatic::Off => return None,
        // It only looks, and needs no window.
        Automatic::Check => return failed_until.map(Again::AfterFailure),
        Automatic::Install if windows.windows.is_empty() => {
            return failed_until.map(Again::AfterFailure);
        }
        Automatic::Install => {}
    }
    let fits = |time: Timestamp, end: Timestamp| {
        time.checked_add(MARGIN).is_ok_and(|with_margin| with_margin <= end)
    };
    if let Some(end) = windows.open_until(now) {
        let again = failed_until?;
        if fits(again, end) {
            return Some(Again::AfterFailure(again));
        }
    }
    let place = |after: Timestamp| {
        let opening = windows.next(after)?;
        let place = opening
            .start
            .checked_add(share.within(opening.length().saturating_sub(MARGIN)))
            .ok()?;
        Some((place, opening.end))
    };
    let (time, end) = place(now)?;
    let time = match failed_until {
        Some(again) if again <= time => time,
        Some(again) if fits(again, end) => again,
        Some(again) => place(again)?.0,
        None => time,
    };
    Some(Again::InWindow(time))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::config::window::Window;

    #[test]
    fn a_host_comes_back_at_its_place_in_the_next_window() {
        let window: Window = "Sat 22:00 2h UTC".parse().unwrap();
        let one = [window];
        for (windows, automatic, now, expected) in [
            (&one[..], Automatic::Install, "2026-11-21T12:00Z", Some("2026-11-21T22:59:30Z")),
            (&one, Automatic::Install, "2026-11-22T00:00Z", Some("2026-11-28T22:59:30Z")),
            // This run was made inside.
            (&one, Automatic::Install, "2026-11-21T23:00Z", None),
            (&one, Automatic::Check, "2026-11-21T12:00Z", None),
            (&[], Automatic::Install, "2026-11-21T12:00Z", None),
        ] {
            let settings = Update { automatic, ..Update::default() };
            let windows = Windows { windows, host: &TimeZone::UTC };
            let time = next(&settings, windows, Share::half(), now.parse().unwrap(), None);
            let expected = expected.map(|text| Again::InWindow(text.parse().unwrap()));
            assert_eq!(time, expected, "{now} {automatic:?}");
        }
    }

    #[test]
    fn what_failed_is_made_again_where_windows_and_settings_allow() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let window: Window = "Sat 22:00 2h UTC".parse().unwrap();
        let (one, none) = ([window], []);
        let after = |text| Some(Again::AfterFailure(at(text)));
        let inside = |text| Some(Again::InWindow(at(text)));
        use Automatic::{Check, Install, Off};
        for (windows, automatic, now, again, expected) in [
            (
                &none[..],
                Install,
                "2026-11-21T12:00Z",
                "2026-11-21T12:15Z",
                after("2026-11-21T12:15Z"),
            ),
            (&none, Check, "2026-11-21T12:00Z", "2026-11-21T12:15Z", after("2026-11-21T12:15Z")),
            (&none, Off, "2026-11-21T12:00Z", "2026-11-21T12:15Z", None),
            (&one, Off, "2026-11-21T22:10Z", "2026-11-21T22:25Z", None),
            // A check needs no window.
            (&one, Check, "2026-11-21T12:00Z", "2026-11-21T12:15Z", after("2026-11-21T12:15Z")),
            // Inside a window, and still in it.
            (&one, Install, "2026-11-21T22:10Z", "2026-11-21T22:25Z", after("2026-11-21T22:25Z")),
            // Behind its end, or too near to it: the next one.
            (
                &one,
                Install,
                "2026-11-21T23:10Z",
                "2026-11-22T00:10Z",
                inside("2026-11-28T22:59:30Z"),
            ),
            (
                &one,
                Install,
                "2026-11-21T23:10Z",
                "2026-11-21T23:59:30Z",
                inside("2026-11-28T22:59:30Z"),
            ),
            // Before it.
            (
                &one,
                Install,
                "2026-11-21T12:00Z",
                "2026-11-21T12:15Z",
                inside("2026-11-21T22:59:30Z"),
            ),
            // A server wants to be left alone for longer.
            (&one, Install, "2026-11-21T12:00Z", "2026-11-21T23:30Z", inside("2026-11-21T23:30Z")),
            (
                &one,
                Install,
                "2026-11-21T12:00Z",
                "2026-11-22T01:00Z",
                inside("2026-11-28T22:59:30Z"),
            ),
        ] {
            let settings = Update { automatic, ..Update::default() };
            let windows = Windows { windows, host: &TimeZone::UTC };
            let found = next(&settings, windows, Share::half(), at(now), Some(at(again)));
            assert_eq!(found, expected, "{now} {again} {automatic:?}");
        }
    }
}
