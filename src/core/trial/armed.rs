// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the next reboot boots into, for who reboots.

use crate::error::Error;
use crate::host::esp::InstalledBootFile;
use crate::lock::Lock;
use crate::opened::{Access, Host};
use crate::slot::Slot;
use crate::state::HostState;

/// The slot that boots once at the next boot. It stays so, and no other run of flipside is at work, as
/// long as the value lives.
#[derive(Debug)]
pub struct Armed {
    /// The slot.
    pub slot: Slot,
    /// The version in it.
    pub version: String,
    /// Its boot file, which kexec may start; `None` where only the firmware may.
    pub boot_file: Option<InstalledBootFile>,
    /// Why nobody but a person reboots for it, where that is so.
    pub not_by_itself: Option<&'static str>,
    _lock: Lock,
}

/// What is armed; `None` where nothing is, or where no slots are recognised. `is_trial_due`: an
/// update waits for the trial of what kexec started.
///
/// # Errors
/// [`Error`]; `locked` where another run is at work.
pub fn armed(access: &Access, is_trial_due: bool) -> Result<Option<Armed>, Error> {
    let waits = |host: &Host| -> Result<bool, Error> {
        Ok(host.host_state()?.waits_for_reboot().is_some())
    };
    match Host::open(access)? {
        Some(host) if waits(&host)? => {}
        _ => return Ok(None),
    }
    let lock = Lock::take(&access.root)?;
    // Whoever held it may have changed the disk.
    let Some(host) = Host::open(access)? else { return Ok(None) };
    let host_state = host.host_state()?;
    let Some(slot) = host_state.waits_for_reboot() else { return Ok(None) };
    let boot_file = match slot == host_state.running {
        // By kexec it would only be put off again.
        true => None,
        false => host.esp.open_boot_file(slot)?,
    };
    Ok(Some(Armed {
        slot,
        version: host_state.slot(slot).version().to_owned(),
        boot_file,
        not_by_itself: not_by_itself(&host_state, is_trial_due),
        _lock: lock,
    }))
}

/// Why no reboot is to come by itself.
fn not_by_itself(host_state: &HostState, is_trial_due: bool) -> Option<&'static str> {
    if host_state.is_boot_next_ignored() {
        return Some("the machine did not boot what was armed, and would not at another reboot");
    }
    // Who asked for kexec asked for no boot by the firmware, until something newer waits for it.
    (host_state.awaits_firmware() && !is_trial_due)
        .then_some("kexec started what runs, and no update waits for its trial")
}
