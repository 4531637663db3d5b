// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why the service cannot run.

use super::NAME;
use crate::codes;
use crate::report::ReportError;
use flipside_image::code::{Code, Coded};

/// Why the service cannot run, or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no bus, or it does not speak with us.
    #[error("cannot reach the system bus")]
    Unreachable(#[source] zbus::Error),
    /// The bus went away.
    #[error("the system bus closed the connection")]
    Closed,
    /// Another process serves the name.
    #[error("the bus name {NAME} is taken: another dbus-service runs")]
    NameTaken,
    /// The policy of the bus does not let this user own the name.
    #[error("the system bus does not let this user own the name {NAME}")]
    NameRefused(#[source] zbus::Error),
    /// The status file cannot be watched.
    #[error(transparent)]
    Watch(#[from] ReportError),
    /// The kernel has nothing left to run it with.
    #[error("cannot run the D-Bus service")]
    Runtime(#[source] std::io::Error),
}

impl Coded for ServiceError {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable(_) | Self::Closed => codes::DBUS_UNAVAILABLE,
            Self::Runtime(_) => codes::RESOURCES_EXHAUSTED,
            Self::NameTaken => codes::DBUS_NAME_TAKEN,
            Self::NameRefused(_) => codes::DBUS_NAME_REFUSED,
            Self::Watch(error) => error.code(),
        }
    }
}
