// SPDX-License-Identifier: MIT OR Apache-2.0

//! What must be trusted: the only code that writes a running host's disks, its EFI system
//! partition and its firmware variables. No network, no async, no D-Bus, no settings files, no
//! printing.
//!
//! [`host`] has facts and single steps, [`state`] what the facts mean, [`install`] the order of
//! P4, [`trial`] what comes after the reboot. [`Host::open`] reads a host; [`Access`] says where it
//! is and whom to tell. [`blob_source`], [`cancel`], [`progress`], [`settings`] and
//! [`state::Observer`] are what core needs from above.
//!
//! `README.md` beside this file says what is promised, by which function each promise is kept and
//! tested, and in which order to read.

#![cfg_attr(test, allow(clippy::too_many_lines))]

pub mod blob_source;
pub mod cancel;
pub mod codes;
mod error;
pub mod host;
pub mod install;
mod install_error;
mod lock;
mod opened;
pub mod progress;
pub mod refusal;
pub mod settings;
mod slot;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trial;

pub use error::Error;
pub use lock::Lock;
pub use opened::{Access, Host, architecture};
pub use slot::Slot;
