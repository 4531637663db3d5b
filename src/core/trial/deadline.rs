// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether this boot is a trial that has to end, told without anything that a broken OS may lack:
//! no disk, no ESP, no settings (P8).

use crate::error::Error;
use crate::host::cmdline;
use crate::host::durable::Durable;
use crate::host::efi::{self, Variables};
use crate::host::{Marker, Root};
use crate::opened::{Access, Host, architecture};
use crate::settings::BootBackend;
use crate::slot::Slot;

/// A boot of a slot that is not the one that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialBoot {
    /// The slot that runs.
    pub running: Slot,
    /// The slot that comes first, and boots next.
    pub back_to: Slot,
}

/// What the firmware says of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByFirmware {
    /// It is a trial.
    Trial(TrialBoot),
    /// It is none; or what the firmware says does not tell.
    None,
    /// Only the ESP tells, once it is mounted: the slot that runs comes first, which firmware also
    /// brings about that moves what it boots to the front; or the firmware gives no variables to
    /// a running system, and flipside may need none, by the settings or since they say nothing.
    AskEsp,
}

/// Where it stands that this boot has got to its success.
const BOOT_SUCCESS: Marker = Marker("boot-success");

/// Whether this boot is a trial, as the boot manager's own facts have it: by an entry of
/// systemd-boot's with a count, or of the slot that is not the first of flipside's in `BootOrder`.
/// Settings that cannot be read name no `backend`.
///
/// # Errors
/// What cannot be read.
pub fn trial_by_firmware(
    root: &Root,
    backend: Option<BootBackend>,
    durable: &Durable,
) -> Result<ByFirmware, Error> {
    let Ok(variables) = Variables::open(root, durable) else {
        return Ok(match backend {
            Some(BootBackend::Uefi) => ByFirmware::None,
            Some(BootBackend::SystemdBoot) | None => ByFirmware::AskEsp,
        });
    };
    let facts = efi::boot_facts(&variables, architecture()?)?;
    // Loader variables survive kexec and name the slot before it.
    let command_line = cmdline::read(root)?;
    let by_kexec: Option<Option<Slot>> =
        command_line.last("flipside.slot").map(|slot| slot.parse().ok());
    let running = by_kexec.unwrap_or(facts.running);
    let back_to = match (facts.counted, backend.unwrap_or_default()) {
        // Only a trial has an entry with a count.
        (Some(trial), _) if Some(trial) == running => Some(trial.other()),
        (_, BootBackend::Uefi) => facts.first,
        // What BootOrder says of the slots counts only where flipside writes it.
        (_, BootBackend::SystemdBoot) => None,
    };
    Ok(match (running, back_to) {
        (Some(running), Some(first)) if running == first => ByFirmware::AskEsp,
        (Some(running), Some(back_to)) => ByFirmware::Trial(TrialBoot { running, back_to }),
        _ => ByFirmware::None,
    })
}

/// Whether this boot is a trial, by the records and proofs on the ESP.
///
/// # Errors
/// [`Error`]; also where the ESP is not mounted.
pub fn trial_by_esp(access: &Access) -> Result<Option<TrialBoot>, Error> {
    let Some(host) = Host::open(access)? else { return Ok(None) };
    let host_state = host.host_state()?;
    let trial = TrialBoot { running: host_state.running, back_to: host_state.target() };
    Ok(Some(trial).filter(|_| host_state.is_trial_with_a_way_back()))
}

/// Whether the ESP speaks against ending this boot at its deadline: it would come back.
///
/// # Errors
/// [`Error`]; also where the ESP is not mounted.
pub fn has_nowhere_to_go(access: &Access) -> Result<bool, Error> {
    let Some(host) = Host::open(access)? else { return Ok(false) };
    Ok(host.host_state()?.has_nowhere_to_go())
}

/// Says to [`has_boot_success`] that this boot needs no deadline any more. Kept in `/run` for the
/// boots that are right where they are though the other slot comes first: by kexec, by the
/// firmware's menu, and by a firmware that undid a promotion; and for a trial that failed before,
/// runs, and cannot be left.
pub(super) fn note_no_deadline(root: &Root) {
    if BOOT_SUCCESS.is_set(root) {
        return;
    }
    if let Err(error) = BOOT_SUCCESS.set(root) {
        tracing::warn!("the deadline of a trial may not see that this is none: {error}");
    }
}

/// Whether this boot needs no deadline any more: a promotion went through, whatever it came to, or
/// there is no way back from it.
pub fn has_boot_success(root: &Root) -> bool {
    BOOT_SUCCESS.is_set(root)
}
