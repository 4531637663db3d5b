// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the firmware remembers: EFI variables, boot entries and their order
//! (UEFI specification 2.10, chapter 3).
//!
//! NVRAM is hostile: nothing read from it is trusted, everything written to it
//! is read back, and what already stands there is not written again.

pub(super) mod entries;
mod error;
pub mod evidence;
mod secure_boot;
mod trial;
pub(super) mod var_file;
mod variables;

pub use entries::EntryKind;
pub use error::EfiError;
pub use evidence::{esp_hint, evidence, own_entry};
pub use flipside_image::efi::boot_order::{BootNumber, BootOrder};
pub use secure_boot::secure_boot;
pub use trial::{BootFacts, boot_facts};
pub use var_file::Keeper;
pub use variables::{GLOBAL_VARIABLE, LOADER_VARIABLE, Room, Variable, Variables};

/// The boot file of `slot` as the firmware writes paths.
pub const fn boot_file_path(slot: super::Slot) -> &'static str {
    match slot {
        super::Slot::A => "\\EFI\\flipside\\boot-a.efi",
        super::Slot::B => "\\EFI\\flipside\\boot-b.efi",
    }
}
