// SPDX-License-Identifier: MIT OR Apache-2.0

//! What stands against an install on this host whatever the image is: told before anybody is asked
//! about it, and again in step 2 of P4.

use super::slot;
use crate::cancel::Cancel;
use crate::codes;
use crate::error::Error;
use crate::opened::Host;
use crate::refusal::{Refusal, Severity};
use crate::state::HostState;
use flipside_image::code::{Coded as _, sentence};

impl Host {
    /// Fills in the obstacles of `host_state`. Reads the running slot's boot file; changes nothing.
    ///
    /// # Errors
    /// [`Error`] where that cannot be read.
    pub fn look_for_obstacles(
        &self,
        host_state: &mut HostState,
        stop: &Cancel,
    ) -> Result<(), Error> {
        host_state.obstacles.running_slot = damaged_running_slot(self, host_state, stop)?;
        let check = self.boot().and_then(|boot| Ok(boot.check(host_state.running)?));
        // What only failed here may go better when the update comes to it.
        let is_block = |error: &Error| error.severity() == Severity::Block;
        host_state.obstacles.boot = check
            .err()
            .filter(is_block)
            .map(|error| Refusal::block(error.code(), sentence(&error)));
        Ok(())
    }
}

/// P5, P9: its proof says that the running slot has booted, not that it would again. Where its boot
/// file was damaged since, the target may be all that still boots, and is not written.
pub(super) fn refuse_damaged_running_slot(
    host: &Host,
    host_state: &HostState,
    stop: &Cancel,
) -> Result<(), Error> {
    match damaged_running_slot(host, host_state, stop)? {
        None => Ok(()),
        Some(refusal) => Err(refusal.into()),
    }
}

fn damaged_running_slot(
    host: &Host,
    host_state: &HostState,
    stop: &Cancel,
) -> Result<Option<Refusal>, Error> {
    let running = host_state.running;
    let what = if !host_state.running_slot().has_boot_file() {
        "is missing, or no EFI program"
    } else if slot::has_damaged_boot_file(host, host_state, running, stop)? {
        "does not hold what was installed"
    } else {
        return Ok(None);
    };
    Ok(Some(Refusal::block(
        codes::RUNNING_SLOT_DAMAGED,
        format!("slot {running} runs, and may not boot again: its boot file {what}"),
    )))
}
