// SPDX-License-Identifier: MIT OR Apache-2.0

//! The removable-media loader, kept as new as the systemd-boot of the OS that runs and is proven.
//!
//! Firmware knows it by one name, and FAT cannot exchange what has a name at once: while it is
//! rewritten it is no program. So it is replaced only where the slots boot without it, the new one
//! stands whole beside it before it is touched, and a replacement that was cut off is finished
//! by the next promote.

use flipside_image::systemd_boot::{self, is_whole, systemd_boot_version};
use flipside_image::{Architecture, pe};

use crate::error::Error;
use crate::host::Root;
use crate::host::boot::Next;
use crate::opened::Host;

/// Replaces the loader where a newer one is there and nothing speaks against it; otherwise
/// writes nothing (P10).
///
/// # Errors
/// What cannot be read or written; the promotion before it stands.
pub(super) fn keep_up_to_date(root: &Root, host: &Host) -> Result<(), Error> {
    let esp = &host.esp;
    let copy = esp.loader_copy()?;
    let Some(new) = copy.filter(|copy| is_whole(copy, esp.architecture())).or_else(|| {
        let of_os = of_os(root, esp.architecture())?;
        is_whole(&of_os, esp.architecture()).then_some(of_os)
    }) else {
        return remove_copy(host);
    };
    let Some(now) = esp.removable_loader()? else { return remove_copy(host) };
    if now == new || !may_replace(&now, &new, host)? {
        return remove_copy(host);
    }
    let host_state = host.host_state()?;
    let is_settled = host_state.running_slot().is_proven() && host_state.next == Next::Nothing;
    // One that cannot boot cannot get worse.
    let boots_without =
        is_cut_off(&now) || host.boot()?.boots_without_loader(host_state.running)?;
    if !is_settled || !boots_without {
        return Ok(());
    }
    if esp.loader_copy()?.as_ref() != Some(&new) {
        host.refuse_untrusted(
            "the new loader",
            &host.secure_boot()?,
            new.len() as u64,
            &|to, at| pe::copy_from(&new, to, at),
        )?;
        // One that was cut off must not take the room of the one that is to come.
        remove_copy(host)?;
        esp.check_loader_room(&now, &new)?;
        host.durable.phase("loader-copy")?;
        esp.write_loader_copy(&new)?;
    }
    host.durable.phase("loader")?;
    esp.write_removable_loader(&new)?;
    host.durable.phase("loader-done")?;
    esp.remove_loader_copy()?;
    let version = systemd_boot_version(&new).unwrap_or_default();
    tracing::info!("the removable-media loader is systemd-boot {version} now");
    Ok(())
}

/// A copy that is of no use any more, or was cut off.
fn remove_copy(host: &Host) -> Result<(), Error> {
    if host.esp.loader_copy()?.is_none() {
        return Ok(());
    }
    host.durable.phase("loader-done")?;
    Ok(host.esp.remove_loader_copy()?)
}

/// Whether `new` may take the place of `now`: of a systemd-boot that is older, or of what a cut-off
/// replacement left.
fn may_replace(now: &[u8], new: &[u8], host: &Host) -> Result<bool, Error> {
    match is_cut_off(now) {
        // By a replacement, where its copy is whole.
        true => Ok(host.esp.loader_copy()?.as_deref() == Some(new)),
        false => Ok(systemd_boot::may_replace(now, new)),
    }
}

/// Whether firmware would not start the loader.
fn is_cut_off(now: &[u8]) -> bool {
    pe::machine_of(now).is_none()
}

/// The systemd-boot of the OS, the signed one where there is one, as `bootctl` chooses.
fn of_os(root: &Root, architecture: Architecture) -> Option<Vec<u8>> {
    let suffix = match architecture {
        Architecture::X86_64 => "x64",
        Architecture::Aarch64 => "aa64",
    };
    let file = format!("/usr/lib/systemd/boot/efi/systemd-boot{suffix}.efi");
    [format!("{file}.signed"), file].iter().find_map(|file| std::fs::read(root.path(file)).ok())
}
