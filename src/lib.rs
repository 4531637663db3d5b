// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside keeps an image-based Linux host up to date: it follows a tag in an
//! OCI registry, writes the new OS into the slot that is not running, boots it
//! once through UEFI, and makes it permanent only after it has proved itself.
//!
//! This is the program's library, for the program itself, its tests and its man pages. It
//! promises nothing to others. [`run`] has a run, from the tag to an armed slot; [`rules`] decide
//! whether it may be. Images come by [`flipside_source`], and [`flipside_core`] alone writes the
//! disks, the EFI system partition and the firmware variables of a running host.
//!
//! `docs/architecture.md` has the crates, the folders and the way of the data.

#![cfg_attr(test, allow(clippy::too_many_lines))]

pub mod cli;
// Without a feature, nothing uses the codes that it alone raises.
#[cfg_attr(
    not(all(feature = "dbus", feature = "publish", feature = "sim")),
    allow(dead_code, unused_imports)
)]
pub mod codes;
pub mod config;
pub mod error;
pub mod health;
pub mod hooks;
pub mod reboot;
pub mod report;
pub mod rules;
pub mod run;
pub mod system;
