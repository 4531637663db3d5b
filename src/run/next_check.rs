// SPDX-License-Identifier: MIT OR Apache-2.0

//! When the timer's run is made next.

use jiff::Timestamp;

use super::Run;
use crate::config::Automatic;

/// The timers that start it at a time that is known: daily, in an update window, after a failure.
#[cfg(feature = "dbus")]
const TIMERS: [&str; 3] =
    ["flipside-update.timer", "flipside-update-window.timer", "flipside-update-retry.timer"];

/// When the source is asked next by itself; `None` where that is not known.
pub fn next_check(run: &Run, now: Timestamp) -> Option<Timestamp> {
    let is_followed = run.config.track.image.is_some();
    let is_asked = is_followed && run.config.update.automatic != Automatic::Off;
    is_asked.then(|| next_elapse(run, now)).flatten()
}

#[cfg(feature = "dbus")]
fn next_elapse(run: &Run, now: Timestamp) -> Option<Timestamp> {
    crate::system::timers::next_elapse(&run.root, &TIMERS, now)
}

#[cfg(not(feature = "dbus"))]
fn next_elapse(_: &Run, _: Timestamp) -> Option<Timestamp> {
    None
}
