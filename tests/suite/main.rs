// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integration tests: the library and the program against real registries, GPT
//! images, and hosts in directories. One binary, one module per topic.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::too_many_lines)]

#[path = "../support/mod.rs"]
mod support;

mod adopted;
mod attacks;
mod bad_input_host;
mod bad_input_image;
mod bad_input_registry;
mod bad_input_state;
mod boot_entries;
mod cli_image;
mod command_line;
mod config;
#[cfg(feature = "dbus")]
mod dbus;
#[cfg(feature = "dbus")]
mod dbus_calls;
#[cfg(feature = "dbus")]
mod dbus_files;
mod delta_attacks;
mod delta_chunks;
mod delta_faults;
mod delta_hosts;
mod delta_mirrors;
mod delta_search;
mod deltas;
mod disk_build;
mod disk_device;
mod efi_variables;
mod error_codes;
mod esp_boot_file;
mod esp_files;
mod esp_mounted;
mod fails_closed;
mod health;
mod hook_examples;
mod hook_examples_services;
mod hooks;
mod hooks_container;
mod hooks_image;
mod hooks_run;
#[cfg(feature = "dbus")]
mod hooks_units;
mod image_build;
mod image_container;
mod image_delta;
mod image_format;
mod image_move;
mod image_sign;
mod initrd;
mod initrd_disks;
mod initrd_machine_id;
mod install;
mod install_faults;
mod journal;
mod local_sources;
mod memory;
mod memory_deltas;
mod mirrors;
mod not_a_host;
mod notify;
mod nvram;
mod nvram_kept;
mod packages;
mod policy_asks;
mod policy_commands;
mod policy_document;
mod policy_explain;
mod policy_graph;
mod policy_publish;
mod policy_route;
mod policy_time;
mod policy_versions;
mod policy_waypoints;
#[cfg(feature = "dbus")]
mod progress;
mod read_behind;
mod reboot;
mod registry;
mod registry_faults;
mod registry_logins;
mod registry_proxies;
mod registry_push;
mod registry_reasons;
mod registry_tls;
mod registry_uploads;
mod removable_loader;
mod returns;
mod running_slot;
mod schema;
mod schema_cases;
mod schema_commands;
mod secrets;
mod secure_boot;
mod settings_in_var;
mod signature_forms;
mod signature_junk;
mod signature_keys;
mod signature_update;
mod signatures_found;
mod sim;
mod sim_images;
mod sim_quirks;
mod status;
mod status_states;
mod status_watch;
mod switch;
mod systemd_boot;
mod transaction;
mod trial_deadline;
mod trial_log;
mod two_versions;
mod unarmed;
mod unbootable;
mod units;
mod update_faults;
mod update_processes;
mod update_tags;
mod update_timers;
mod web_pages;
