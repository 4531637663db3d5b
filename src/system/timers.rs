// SPDX-License-Identifier: MIT OR Apache-2.0

//! When systemd's timers elapse next (org.freedesktop.systemd1(5)).

use std::time::Duration;

use jiff::Timestamp;
use zbus::OwnedObjectPath;

use super::bus::{Bus, Object};
use flipside_core::host::Root;

const SERVICE: &str = "org.freedesktop.systemd1";
/// What units are asked of.
pub const MANAGER: Object<'static> = Object {
    service: SERVICE,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Nobody waits longer than this to be told when.
const PATIENCE: Duration = Duration::from_secs(2);

/// When the first of these timers of the host below `root` elapses after `now`; `None` also where
/// nobody tells.
pub fn next_elapse(root: &Root, timers: &[&str], now: Timestamp) -> Option<Timestamp> {
    let bus = Bus::patient(root, PATIENCE);
    let bus = bus.inspect_err(|why| tracing::debug!("no timer can be asked for: {why}")).ok()?;
    let times = timers.iter().filter_map(|timer| elapse(&bus, timer));
    times.filter(|time| *time > now).min()
}

/// When the timer elapses next, or has elapsed last while what it started is still at work; `None`
/// also where there is no such timer.
pub fn elapse(bus: &Bus, timer: &str) -> Option<Timestamp> {
    let path: OwnedObjectPath = bus.call(MANAGER, "GetUnit", &timer).ok()?;
    let unit = Object {
        service: SERVICE,
        path: path.as_str(),
        interface: "org.freedesktop.systemd1.Timer",
    };
    let microseconds: u64 = bus.property(unit, "NextElapseUSecRealtime").ok()?;
    Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
}
