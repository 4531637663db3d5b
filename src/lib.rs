// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside keeps an image-based Linux host up to date: it follows a tag in an
//! OCI registry, writes the new OS into the slot that is not running, boots it
//! once through UEFI, and makes it permanent only after it has proved itself.
//!
//! The modules follow the way of the data: [`source`] → [`rules`] →
//! [`install`] → boot ([`host`]) → [`report`]; [`update`] is the transaction
//! that joins them and the only place that knows their order.

#![cfg_attr(test, allow(clippy::too_many_lines))]

// Until the program names the crate itself.
pub use flipside_core::{blob_source, host, install, progress, refusal, settings, stop};
pub use flipside_image as image;
pub use flipside_image::{code, moment, os_release, pe, printable};
#[cfg(feature = "publish")]
pub use flipside_publish as publish;
#[cfg(feature = "sim")]
pub use flipside_sim as sim;
pub use flipside_source as source;

pub mod cli;
pub mod config;
pub mod health;
pub mod hooks;
pub mod reboot;
pub mod report;
pub mod rules;
pub mod system;
pub mod update;
