// SPDX-License-Identifier: MIT OR Apache-2.0

//! Steps 3, 7 and 8 of P4 for what an earlier run installed, and step 3 for every other.

use crate::codes;
use crate::error::Error;
use crate::lock::Lock;
use crate::opened::Host;
use crate::refusal::Refusal;
use crate::slot::Slot;
use crate::state::failed::FailedDigests;
use crate::state::journal::State;
use crate::state::transition::Held;
use crate::state::{HostState, Transition};
use flipside_image::Digest;

/// Arms a target that an earlier run installed: steps 3, 7 and 8 alone.
///
/// # Errors
/// Whatever stopped it. The running slot boots as before.
pub fn arm_installed(_lock: &Lock, host: &Host, host_state: &HostState) -> Result<(), Error> {
    refuse_unproven_running_slot(host_state)?;
    let target = host_state.target();
    let backend = host.boot()?;
    backend.check(host_state.running)?;
    secure(host, host_state)?;
    host.durable.phase("list")?;
    backend.add(target, host_state.target_slot().proof())?;
    host.durable.phase("arm")?;
    let slot = host_state.target_slot();
    let mut failed = host_state.failed.clone();
    if slot.is_proven() {
        failed.returning_to = slot.digest();
    }
    failed.unarmed.take_if(|unarmed| Some(*unarmed) == slot.digest());
    if failed != host_state.failed {
        host.write_failed(&failed)?;
    }
    host.note(State::Arming, target, slot)?;
    backend.arm(target)?;
    let state = if slot.is_proven() { State::Returning } else { State::Armed };
    host.tell(&Transition::Armed(&Held::of(target, slot)));
    host.note(state, target, slot)
}

/// P7: from now on `digest`, in the target, may be tried: what follows is no trial that was not
/// armed. Durable before it is.
pub(super) fn forget_unarmed(
    host: &Host,
    host_state: &HostState,
    digest: Digest,
) -> Result<(), Error> {
    let mut failed = host_state.failed.clone();
    match failed.unarmed.take_if(|unarmed| *unarmed == digest) {
        Some(_) => host.write_failed(&failed),
        None => Ok(()),
    }
}

/// P8: says on the ESP that what the target holds was not armed, which is the journal's word where
/// the state directory lasts. A host that cannot keep it may count a trial that never was.
pub(crate) fn note_unarmed(host: &Host, host_state: &HostState, digest: Option<Digest>) {
    if digest.is_none() || host_state.failed.unarmed == digest {
        return;
    }
    let failed = FailedDigests { unarmed: digest, ..host_state.failed.clone() };
    if let Err(error) = host.write_failed(&failed) {
        tracing::warn!("{error}");
    }
}

/// P6: while the running slot is on trial, the other one is what there is to go back to.
pub(super) fn refuse_unproven_running_slot(host_state: &HostState) -> Result<(), Error> {
    if host_state.running_slot().is_proven() {
        return Ok(());
    }
    let why = format!("slot {} runs, and has not proved itself yet", host_state.running);
    Err(Refusal::defer(codes::TRIAL_RUNNING, why).into())
}

/// Step 3, P5: the running slot comes before the target, in the firmware and in the loader.
pub(crate) fn secure(host: &Host, host_state: &HostState) -> Result<(), Error> {
    let running = host_state.running;
    host.durable.phase("secure")?;
    let backend = host.boot()?;
    backend.secure(running)?;
    put_first_in_loader(host, running)
}

/// The running slot's entry sorts first in the removable-media loader, the other's does not.
pub(crate) fn put_first_in_loader(host: &Host, running: Slot) -> Result<(), Error> {
    Ok(host.esp.put_loader_entry_first(running, &host.title(running))?)
}
