// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tag names another manifest of what runs: that is noted, and nothing else changes.

use crate::error::Error;
use crate::host::Record;
use crate::lock::Lock;
use crate::opened::Host;
use crate::state::adopted::Adopted;
use crate::state::transition::Held;
use crate::state::{HostState, Transition};

/// Notes that what runs is `release`. Where that note is lost, the next run finds it out again (P8).
///
/// # Errors
/// [`Error`] where the state directory does not take it.
pub fn adopt(
    _lock: &Lock,
    host: &Host,
    host_state: &HostState,
    release: Record,
) -> Result<(), Error> {
    let slot = host_state.running;
    let recorded = host_state.running_slot().digest();
    host.durable.phase("adopt")?;
    host.check_state_directory()?;
    let adopted = Adopted { slot, recorded, release };
    host.journal.write_adopted(&adopted)?;
    let Record { digest, version, .. } = &adopted.release;
    host.tell(&Transition::Adopted(&Held { slot, digest: *digest, version }));
    Ok(())
}
