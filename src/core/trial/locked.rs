// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host, opened for a change.

use crate::error::Error;
use crate::lock::Lock;
use crate::opened::{Access, Host};

/// Takes the lock by `take`, and reads the host under it. `None` where no slots are recognised: such
/// a machine gets no lock file.
///
/// # Errors
/// [`Error`]; also that of `take`.
pub(super) fn open_locked(
    access: &Access,
    take: impl FnOnce() -> Result<Lock, Error>,
) -> Result<Option<(Lock, Host)>, Error> {
    if Host::open(access)?.is_none() {
        return Ok(None);
    }
    let lock = take()?;
    // Whoever held it may have changed the disk.
    Ok(Host::open(access)?.map(|host| (lock, host)))
}
