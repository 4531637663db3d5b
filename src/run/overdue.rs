// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the daily run is overdue: a machine that is on for two hours a day never gets to the
//! end of a delay of five. Its run is then made some time after the boot.

use std::time::{Duration, SystemTime};

use flipside_core::host::Root;

/// When the daily timer has elapsed last: systemd touches this file (systemd.timer(5), `Persistent=`).
const STAMP: &str = "/var/lib/systemd/timers/stamp-flipside-update.timer";
/// The timer that starts the run after a boot.
const BOOT_TIMER: &str = "flipside-update-boot.timer";
/// A machine that is always on gets its daily run every 24 hours.
const DAY: Duration = Duration::from_secs(20 * 3600);

/// Whether the timer that started this run, `trigger` as systemd names it since version 252
/// (systemd.exec(5), `$TRIGGER_UNIT`), is the one after a boot, and the daily run is not overdue at
/// `now`.
pub fn is_daily_run_enough(root: &Root, trigger: Option<&str>, now: SystemTime) -> bool {
    if trigger != Some(BOOT_TIMER) {
        return false;
    }
    // Without a stamp, or with one of the future, nobody knows: a run too many does no harm.
    let stamp = std::fs::metadata(root.path(STAMP)).and_then(|metadata| metadata.modified());
    let age = stamp.ok().and_then(|stamp| now.duration_since(stamp).ok());
    age.is_some_and(|age| age <= DAY)
}
