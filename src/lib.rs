// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside keeps an image-based Linux host up to date: it follows a tag in an
//! OCI registry, writes the new OS into the slot that is not running, boots it
//! once through UEFI, and makes it permanent only after it has proved itself.
//!
//! The modules follow the way of the data: [`source`] → [`policy`] →
//! [`install`] → boot ([`host`]) → [`report`]; [`update`] is the transaction
//! that joins them and the only place that knows their order.

#![cfg_attr(test, allow(clippy::too_many_lines))]

// Until the program names the crate itself.
pub use flipside_image as image;
pub use flipside_image::{code, moment, os_release, pe, printable};

pub mod blob_source;
pub mod cli;
pub mod config;
pub mod health;
pub mod host;
pub mod install;
pub mod overlay;
pub mod policy;
pub mod progress;
#[cfg(feature = "publish")]
pub mod publish;
pub mod reboot;
pub mod refusal;
pub mod report;
pub mod settings;
#[cfg(feature = "sim")]
pub mod sim;
pub mod source;
pub mod stop;
pub mod system;
pub mod update;
pub mod window;
