// SPDX-License-Identifier: MIT OR Apache-2.0

//! What several tests need. One file per thing.

#[cfg(feature = "dbus")]
pub mod bus;
pub mod certificates;
pub mod delta_stage;
pub mod deltas;
pub mod documents;
pub mod esp;
pub mod example;
pub mod firmware;
pub mod followed;
pub mod graph_server;
pub mod hooks;
pub mod host;
pub mod hostile_delta;
pub mod images;
pub mod initrd;
pub mod journald;
pub mod keys;
#[cfg(feature = "dbus")]
pub mod logind;
pub mod loop_device;
pub mod medium;
pub mod memory;
pub mod nvram;
pub mod patches;
pub mod policy_host;
pub mod program_host;
pub mod proxy;
pub mod put;
pub mod referrers;
pub mod registry;
pub mod registry_host;
pub mod scratch;
pub mod script;
pub mod secure_boot;
pub mod signed;
pub mod sim_machine;
pub mod steps;
pub mod stored;
#[cfg(feature = "dbus")]
pub mod systemd;
pub mod tokens;
#[cfg(feature = "dbus")]
pub mod updater;
