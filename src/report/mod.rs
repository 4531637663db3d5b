// SPDX-License-Identifier: MIT OR Apache-2.0

//! What flipside says: status, progress, history, the system's journal, the login message.

pub mod ago;
#[cfg(feature = "dbus")]
pub mod dbus;
mod error;
#[cfg(test)]
mod example;
pub mod file;
pub mod history;
pub mod journal;
mod known_code;
mod live_status;
pub mod motd;
pub mod named;
mod notify;
pub mod progress;
pub mod reboot_required;
pub mod status;
mod text;
pub mod trial_log;
pub mod watch;
pub mod wrap;

pub use error::ReportError;
pub use file::StatusFile;
pub use known_code::KnownCode;
pub use live_status::LiveStatus;
pub use notify::Notify;
pub use status::Status;
pub use text::{PageStyle, status_text};
pub use watch::Watch;
