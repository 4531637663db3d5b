// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which systemd-boot may take the place of which.

use super::{is_newer, systemd_boot_version};
use crate::{Architecture, pe};

/// Whether a program is a systemd-boot for `architecture` whose first sector is there, which is written
/// last.
pub fn is_whole(program: &[u8], architecture: Architecture) -> bool {
    let is_for_it = pe::machine_of(program).is_some_and(|machine| machine.is(architecture));
    is_for_it && systemd_boot_version(program).is_some()
}

/// Whether `new` may take the place of `now`, a systemd-boot that is older. Never of another loader,
/// nor of one that Secure Boot takes, unless `new` was signed by the same.
pub fn may_replace(now: &[u8], new: &[u8]) -> bool {
    let versions = (systemd_boot_version(new), systemd_boot_version(now));
    let is_newer = matches!(versions, (Some(new), Some(now)) if is_newer(&new, &now));
    is_newer && (!pe::is_signed(now) || pe::has_signers_of(new, now))
}
