// SPDX-License-Identifier: MIT OR Apache-2.0

//! What systemd-boot goes by (boot.c of systemd 260).

mod pattern;
mod program;
mod setting;

pub use pattern::{matches, uncounted};
pub use program::{is_newer, systemd_boot_version};
pub use setting::setting;
