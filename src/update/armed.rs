// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the next reboot boots into, for who reboots.

use super::lock::Lock;
use super::machine::Machine;
use super::{Run, UpdateError};
use crate::host::Slot;
use crate::host::esp::InstalledBootFile;

/// The slot that boots once at the next boot. It stays so, and no other run of flipside is at work, as
/// long as the value lives.
#[derive(Debug)]
pub struct Armed {
    /// The slot.
    pub slot: Slot,
    /// The version in it.
    pub version: String,
    /// Its boot file.
    pub boot_file: Option<InstalledBootFile>,
    _lock: Lock,
}

/// What is armed; `None` where nothing is, or where no slots are recognised.
///
/// # Errors
/// [`UpdateError`]; `locked` where another run is at work.
pub fn armed(run: &Run) -> Result<Option<Armed>, UpdateError> {
    let is_armed = |machine: &Machine| Ok::<_, UpdateError>(machine.situation()?.is_armed());
    match Machine::open(run)? {
        Some(machine) if is_armed(&machine)? => {}
        _ => return Ok(None),
    }
    let lock = Lock::take(&run.root)?;
    // Whoever held it may have changed the disk.
    let Some(machine) = Machine::open(run)? else { return Ok(None) };
    let situation = machine.situation()?;
    if !situation.is_armed() {
        return Ok(None);
    }
    let slot = situation.target();
    Ok(Some(Armed {
        slot,
        version: situation.target_slot().version().to_owned(),
        boot_file: machine.esp.open_boot_file(slot)?,
        _lock: lock,
    }))
}
