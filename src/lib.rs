// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside keeps an image-based Linux host up to date: it follows a tag in an
//! OCI registry, writes the new OS into the slot that is not running, boots it
//! once through UEFI, and makes it permanent only after it has proved itself.
//!
//! The modules follow the way of the data: [`source`] → [`rules`] →
//! [`install`] → boot ([`host`]) → [`report`]; [`update`] is the transaction
//! that joins them and the only place that knows their order.

#![cfg_attr(test, allow(clippy::too_many_lines))]

pub mod cli;
pub mod config;
pub mod health;
pub mod hooks;
pub mod reboot;
pub mod report;
pub mod rules;
pub mod run;
pub mod system;
