// SPDX-License-Identifier: MIT OR Apache-2.0

//! The time zone of a host.

use jiff::tz::TimeZone;

use flipside_core::host::Root;

/// The zone of the host below `root`, as `/etc/localtime` links to it; UTC without one.
pub fn zone_of(root: &Root) -> TimeZone {
    let name = std::fs::read_link(root.path("etc/localtime")).ok().and_then(|target| {
        let target = target.into_os_string().into_string().ok()?;
        target.split_once("zoneinfo/").map(|(_, name)| name.to_owned())
    });
    name.and_then(|name| TimeZone::get(&name).ok()).unwrap_or(TimeZone::UTC)
}
