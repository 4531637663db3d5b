// SPDX-License-Identifier: MIT OR Apache-2.0

//! What systemd-boot goes by (boot.c of systemd 260).

mod counted_entry;
mod entry;
mod loader;
mod pattern;
mod program;
mod setting;

pub use counted_entry::{starts, tries_left};
pub use entry::{LoaderEntry, counted_entry, efi_path};
pub use loader::{is_whole, may_replace};
pub use pattern::{matches, uncounted};
pub use program::{is_newer, systemd_boot_version};
pub use setting::setting;
