// SPDX-License-Identifier: MIT OR Apache-2.0

//! When the timer's run is made again on a host with `update.windows`: the daily one may fall
//! outside of all of them for ever.

use std::time::Duration;

use jiff::Timestamp;

use super::spread::Share;
use super::{Bus, RebootError, Timer};
use crate::config::window::Windows;
use crate::config::{Automatic, Update};
use crate::run::Run;
use crate::system::zone_of;

/// What is left of a window, at least, when a run begins in it.
const MARGIN: Duration = Duration::from_secs(60);

/// Sets a timer for this host's place in the next update window, where none is open. Returns when
/// that is.
///
/// # Errors
/// [`RebootError`]: systemd cannot be reached, or refuses.
pub fn schedule(run: &Run) -> Result<Option<Timestamp>, RebootError> {
    let settings = &run.config.update;
    if settings.windows.is_empty() {
        return Ok(None);
    }
    let Some(now) = run.clock().now() else { return Ok(None) };
    let zone = zone_of(&run.root);
    let windows = Windows { windows: &settings.windows, host: &zone };
    let Some(time) = next(settings, windows, Share::of(&run.root), now) else { return Ok(None) };
    let bus = Bus::of(&run.root).map_err(|why| RebootError::NoLogind { why })?;
    Timer::of_update(&bus).set(time)?;
    Ok(Some(time))
}

/// This host's place in the next window; `None` where there is nothing to wait for.
fn next(
    settings: &Update,
    windows: Windows<'_>,
    share: Share,
    now: Timestamp,
) -> Option<Timestamp> {
    if settings.automatic != Automatic::Install || windows.open_until(now).is_some() {
        return None;
    }
    let opening = windows.next(now)?;
    let length = opening.end.duration_since(opening.start).unsigned_abs();
    opening.start.checked_add(share.within(length.saturating_sub(MARGIN))).ok()
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
            let time = next(&settings, windows, Share::half(), now.parse().unwrap());
            assert_eq!(time, expected.map(|text| text.parse().unwrap()), "{now} {automatic:?}");
        }
    }
}
