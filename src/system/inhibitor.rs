// SPDX-License-Identifier: MIT OR Apache-2.0

//! A lock that keeps the machine from being shut down while a slot is written, so that the work is not
//! lost. Nothing rests on it: power cuts know no locks (P9).

use std::os::fd::OwnedFd;

use flipside_core::host::Root;

/// Held as long as the value lives.
#[derive(Debug)]
pub struct Inhibitor {
    _lock: Option<OwnedFd>,
}

impl Inhibitor {
    /// Takes the lock for `why`. A host without logind, such as one in a directory, goes without.
    pub fn take(root: &Root, why: &str) -> Self {
        Self { _lock: take(root, why) }
    }
}

#[cfg(feature = "dbus")]
fn take(root: &Root, why: &str) -> Option<OwnedFd> {
    let reached = super::bus::Bus::of(root);
    let bus =
        reached.inspect_err(|why| tracing::debug!("shutdowns are not held off: {why}")).ok()?;
    let locked: Result<zbus::OwnedFd, _> =
        bus.call(super::bus::LOGIND, "Inhibit", &("shutdown", "flipside", why, "block"));
    // Without polkit logind asks for a capability that an update does without.
    let lock = locked.inspect_err(|error| {
        tracing::warn!("logind does not let shutdowns be held off: {}", error.message);
    });
    Some(lock.ok()?.into())
}

#[cfg(not(feature = "dbus"))]
fn take(_: &Root, _: &str) -> Option<OwnedFd> {
    None
}
