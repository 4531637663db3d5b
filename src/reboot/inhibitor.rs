// SPDX-License-Identifier: MIT OR Apache-2.0

//! A lock that keeps the machine from being shut down while a slot is written, so that the work is not
//! lost. Nothing rests on it: power cuts know no locks (P9).

use std::os::fd::OwnedFd;

use crate::host::Root;

/// Held as long as the value lives.
#[derive(Debug)]
pub struct Inhibitor {
    _lock: Option<OwnedFd>,
}

impl Inhibitor {
    /// Takes the lock for `why`. A host without logind, such as one in a directory, goes without.
    pub fn take(root: &Root, why: &str) -> Self {
        let lock = take(root, why).inspect_err(|why| {
            tracing::debug!("shutdowns are not held off: {why}");
        });
        Self { _lock: lock.ok() }
    }
}

#[cfg(feature = "dbus")]
fn take(root: &Root, why: &str) -> Result<OwnedFd, String> {
    let bus = crate::host::bus::Bus::of(root)?;
    let lock = super::logind::Logind(&bus).block_shutdown(why).map_err(|error| error.message)?;
    Ok(lock.into())
}

#[cfg(not(feature = "dbus"))]
fn take(_: &Root, _: &str) -> Result<OwnedFd, String> {
    Err("this flipside was built without D-Bus".to_owned())
}
