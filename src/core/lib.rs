// SPDX-License-Identifier: MIT OR Apache-2.0

//! What must be trusted: the only code that writes a running host's disks, its EFI system
//! partition and its firmware variables. No network, no async, no D-Bus, no settings files.

#![cfg_attr(test, allow(clippy::too_many_lines))]

pub mod blob_source;
pub mod host;
pub mod install;
pub mod progress;
pub mod refusal;
pub mod settings;
pub mod stop;
