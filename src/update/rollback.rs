// SPDX-License-Identifier: MIT OR Apache-2.0

//! Back to the other slot, if it is proven and whole, and the digest that is left is held.

use super::announce;
use super::journal::State;
use super::lock::Lock;
use super::machine::Machine;
use super::promote::without_journal;
use super::transaction::secure;
use super::verify::{self, SlotContents};
use super::{Run, UpdateError};
use crate::host::Slot;
use crate::host::boot::Next;
use crate::refusal::Refusal;

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
/// A [`Refusal`] where the other slot is not proven (`slot-not-proven`), damaged
/// (`slot-damaged`), or cannot be verified (`slot-unverifiable`, unless `unverified` is
/// accepted); any other [`UpdateError`].
pub fn rollback(run: &Run, unverified: bool) -> Result<Rollback, UpdateError> {
    let no_host = || Refusal::block("not-a-host", "this host has no slots to roll back to");
    // A machine that is no host of ours gets no lock file.
    Machine::open(run)?.ok_or_else(no_host)?;
    let _lock = Lock::take(&run.root)?;
    // Whoever held it may have changed the disk.
    let machine = Machine::open(run)?.ok_or_else(no_host)?;
    let situation = machine.situation()?;
    let target = situation.target();
    let slot = situation.target_slot();
    if !slot.is_proven() || !slot.is_installed() {
        return Err(Refusal::block(
            "slot-not-proven",
            format!("slot {target} holds nothing that has booted to success"),
        )
        .into());
    }
    if let Next::Foreign { number, description } = &situation.next {
        return Err(Refusal::defer(
            "bootnext-taken",
            format!("BootNext names {number} ({description}), which is not flipside's"),
        )
        .into());
    }
    match verify::slot(run, &machine, &situation, target)? {
        SlotContents::Whole => {}
        SlotContents::Unverifiable(why) if unverified => {
            tracing::warn!("slot {target} is not verified: {why}");
        }
        SlotContents::Unverifiable(why) => {
            return Err(Refusal::block(
                "slot-unverifiable",
                format!("slot {target} cannot be verified: {why}; --unverified accepts that"),
            )
            .into());
        }
        SlotContents::Damaged(payloads) => {
            return Err(Refusal::block(
                "slot-damaged",
                format!("slot {target} is damaged: {}", payloads.join(", ")),
            )
            .into());
        }
        SlotContents::Empty => {
            return Err(Refusal::block("slot-not-proven", format!("slot {target} is empty")).into());
        }
    }
    let backend = machine.boot()?;
    backend.check(situation.running)?;
    run.stop.check()?;

    let running = situation.running_slot();
    if running.is_proven() && running.has_boot_file() {
        secure(&machine, &situation)?;
        backend.add(target, situation.target_slot().standing())?;
    } else {
        // P5: from a trial, or from what would not boot again, it is the slot to go back to that is
        // proven and comes first.
        backend.secure(target)?;
    }
    // The hold is durable before the reboot: it is what tells promote, on the other side,
    // that a person wanted to be there.
    machine.durable.phase("hold")?;
    let mut failed = situation.failed.clone();
    failed.held = situation.running_slot().digest();
    failed.wanted = slot.digest();
    machine.write_failed(&failed)?;
    machine.durable.phase("arm")?;
    without_journal(machine.note(State::RollingBack, target, slot));
    backend.arm(target)?;
    let rollback = Rollback { slot: target, version: slot.version().to_owned() };
    announce::rollback(&rollback, slot.digest());
    Ok(rollback)
}
