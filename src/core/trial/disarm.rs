// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is armed does not boot any more: the tag went back to what runs, or its publisher withdrew
//! it.

use super::promote::without_journal;
use crate::error::Error;
use crate::install::note_unarmed;
use crate::lock::Lock;
use crate::opened::Host;
use crate::state::failed::FailedDigests;
use crate::state::journal::State;
use crate::state::transition::{Held, Reason};
use crate::state::{HostState, Transition};

/// Disarms the target, because of `reason`.
///
/// The journal first: a slot that is no longer armed must not count as fallen back. Where the journal
/// takes nothing (P8), that is better than that it boots.
///
/// # Errors
/// [`Error`].
pub fn disarm(
    _lock: &Lock,
    host: &Host,
    host_state: &HostState,
    reason: &Reason,
) -> Result<(), Error> {
    let target = host_state.target();
    let slot = host_state.target_slot();
    without_journal(host.note(State::Superseded, target, slot));
    if !slot.is_proven() {
        note_unarmed(host, host_state, slot.digest());
    }
    host.boot()?.disarm(target)?;
    // Whoever arrives there all the same is not wanted there any more.
    if slot.is_proven() && host_state.failed.returning_to == slot.digest() {
        let failed = FailedDigests { returning_to: None, ..host_state.failed.clone() };
        host.write_failed(&failed)?;
    }
    host.tell(&Transition::Superseded(&Held::of(target, slot), reason));
    Ok(())
}
