// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tag names another manifest of what runs: that is noted, and nothing else changes.

use crate::error::Error;
use crate::host::Record;
use crate::lock::Lock;
use crate::opened::Host;
use crate::state::adopted::Adopted;
use crate::state::transition::Held;
use crate::state::{HostState, Transition};

/// Notes that what runs is called `release` by now. Where that cannot be kept, the next run finds it
/// out again (P8).
///
/// # Errors
/// [`Error`] where the run was stopped.
pub fn adopt(
    _lock: &Lock,
    host: &Host,
    host_state: &HostState,
    release: Record,
) -> Result<(), Error> {
    let slot = host_state.running;
    let Some(recorded) = host_state.running_slot().digest() else { return Ok(()) };
    host.durable.phase("adopt")?;
    let (digest, version) = (release.digest, release.version.clone());
    let adopted = Adopted { slot, recorded, release };
    let written =
        host.check_state_directory().and_then(|()| Ok(host.journal.write_adopted(&adopted)?));
    match written {
        Ok(()) => host.tell(&Transition::Adopted(&Held { slot, digest, version: &version })),
        Err(error) => tracing::warn!("{error}"),
    }
    Ok(())
}
