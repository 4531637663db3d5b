// SPDX-License-Identifier: MIT OR Apache-2.0

//! Back to the other slot, if it is proven and whole, and the digest that is left is refused.

use flipside_image::code::Coded as _;

use super::locked::open_locked;
use super::promote::without_journal;
use crate::codes;
use crate::error::Error;
use crate::host::boot::Next;
use crate::install::{FetchConfig, SlotContents, contents, secure};
use crate::lock::Lock;
use crate::opened::{Access, Host};
use crate::refusal::Refusal;
use crate::slot::Slot;
use crate::state::journal::{Entry, State};
use crate::state::transition::Held;
use crate::state::{HostState, Transition};

/// Where a rollback goes at the next reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The slot.
    pub slot: Slot,
    /// The version in it.
    pub version: String,
}

/// Arms the other slot: `BootNext`, then promote, as after an update.
///
/// # Errors
/// A [`Refusal`] where the other slot is being written (`rollback-overwritten`, also while another
/// run holds the lock for it), is not proven (`slot-not-proven`), damaged (`slot-damaged`), or cannot be verified (`slot-unverifiable`, unless `unverified` is
/// accepted); any other [`Error`]. `fetch` gives the chunk hashes where this host has not kept them.
pub fn rollback(
    access: &Access,
    unverified: bool,
    fetch: &FetchConfig<'_>,
) -> Result<Rollback, Error> {
    let no_host = || Refusal::block(codes::NOT_A_HOST, "this host has no slots to roll back to");
    let take = || Lock::take(&access.root);
    let (_lock, host) = match open_locked(access, take) {
        Err(locked) if locked.code() == codes::LOCKED => {
            return Err(refuse_locked(access, locked)?);
        }
        opened => opened?.ok_or_else(no_host)?,
    };
    let host_state = host.host_state()?;
    if is_being_written(&host_state) && !host_state.target_slot().is_installed() {
        return Err(overwritten(&host_state).into());
    }
    let target = host_state.target();
    let slot = host_state.target_slot();
    if !slot.is_proven() || !slot.is_installed() {
        return Err(Refusal::block(
            codes::SLOT_NOT_PROVEN,
            format!("slot {target} holds nothing that has booted to success"),
        )
        .into());
    }
    if let Next::Foreign { number, description } = &host_state.next {
        return Err(Refusal::defer(
            codes::BOOTNEXT_TAKEN,
            format!("BootNext names {number} ({description:?}), which is not flipside's"),
        )
        .into());
    }
    refuse_damaged(access, &host, &host_state, unverified, fetch)?;
    let backend = host.boot()?;
    backend.check(host_state.running)?;
    access.stop.check()?;

    let running = host_state.running_slot();
    if running.is_proven() && running.has_boot_file() {
        secure(&host, &host_state)?;
        backend.add(target, host_state.target_slot().proof())?;
    } else {
        // P5: from a trial, or from what would not boot again, it is the slot to go back to that is
        // proven and comes first.
        backend.secure(target)?;
    }
    // The hold is durable before the reboot: it is what tells promote, on the other side,
    // that a person wanted to be there.
    host.durable.phase("hold")?;
    let mut failed = host_state.failed.clone();
    failed.left_by_rollback = running.digest();
    failed.returning_to = slot.digest();
    host.write_failed(&failed)?;
    host.durable.phase("arm")?;
    without_journal(host.note(State::RollingBack, target, slot));
    backend.arm(target)?;
    host.tell(&Transition::RollbackArmed(&Held::of(target, slot)));
    Ok(Rollback { slot: target, version: slot.version().to_owned() })
}

/// Why not, where another run holds the lock: it may be writing what a rollback would go to.
fn refuse_locked(access: &Access, locked: Error) -> Result<Error, Error> {
    let host_state = match Host::open(access)? {
        Some(host) => host.host_state()?,
        None => return Ok(locked),
    };
    match is_being_written(&host_state) {
        true => Ok(overwritten(&host_state).into()),
        false => Ok(locked),
    }
}

/// Whether an update has begun to write the target, as the journal has it.
fn is_being_written(host_state: &HostState) -> bool {
    let is_written = |entry: &Entry| {
        entry.slot == host_state.target() && matches!(entry.state, State::Writing | State::Arming)
    };
    !host_state.target_slot().is_proven() && host_state.journal.as_ref().is_some_and(is_written)
}

fn overwritten(host_state: &HostState) -> Refusal {
    let why = format!(
        "slot {} is being overwritten by an update: there is nothing to go back to until the \
         version in it has booted to success",
        host_state.target()
    );
    Refusal::block(codes::ROLLBACK_OVERWRITTEN, why)
}

/// Refuses a target that does not hold what its record says, or that nobody can verify.
fn refuse_damaged(
    access: &Access,
    host: &Host,
    host_state: &HostState,
    unverified: bool,
    fetch: &FetchConfig<'_>,
) -> Result<(), Error> {
    let target = host_state.target();
    let refusal = match contents(access, host, host_state, target, fetch)? {
        SlotContents::Whole => return Ok(()),
        SlotContents::Unverifiable(why) if unverified => {
            tracing::warn!("slot {target} is not verified: {why}");
            return Ok(());
        }
        SlotContents::Unverifiable(why) => Refusal::block(
            codes::SLOT_UNVERIFIABLE,
            format!("slot {target} cannot be verified: {why}; --unverified accepts that"),
        ),
        SlotContents::Damaged(payloads) => Refusal::block(
            codes::SLOT_DAMAGED,
            format!("slot {target} is damaged: {}", payloads.join(", ")),
        ),
        SlotContents::Empty => {
            Refusal::block(codes::SLOT_NOT_PROVEN, format!("slot {target} is empty"))
        }
    };
    Err(refusal.into())
}
