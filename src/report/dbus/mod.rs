// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status on D-Bus, and the way from there to a run. `docs/dbus.md` is the reference.
//!
//! The service has no privilege: it reads the status file that the runs of root write, and what it
//! is asked for it asks of systemd, as one of a few fixed units and after polkit agreed. No string of
//! a caller goes any further than here.

mod call_error;
mod callers;
mod document;
mod error;
mod interface;
mod operation;
mod polkit;
mod properties;
mod service;

pub use error::ServiceError;
pub use operation::Operation;
pub use service::serve;

/// The name on the bus.
pub const NAME: &str = "org.flipside.Updater1";
/// The one object.
pub const OBJECT: &str = "/org/flipside/Updater1";
/// Its interface, called as the name is.
pub const INTERFACE: &str = NAME;
