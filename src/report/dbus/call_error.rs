// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a caller gets instead of a reply.

use zbus::message::Header;
use zbus::names::ErrorName;
use zbus::{DBusError, Message};

use super::Operation;

/// Why a method did nothing. The first two have the names that every D-Bus library knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// polkit says no.
    #[error("{} is not allowed: polkit action {}", .0.method(), .0.action())]
    AccessDenied(Operation),
    /// polkit says yes to somebody who authenticates, which the caller did not offer.
    #[error("{} needs authentication: polkit action {}", .0.method(), .0.action())]
    InteractiveAuthorizationRequired(Operation),
    /// polkit cannot be asked.
    #[error("polkit cannot be asked whether {method} is allowed: {1}", method = .0.method())]
    AuthorityUnavailable(Operation, String),
    /// Too many calls wait for an answer already.
    #[error("too many calls wait for an answer already: {} is not started", .0.unit())]
    TooMany(Operation),
    /// The caller has left the bus, and hears nothing of this.
    #[error("the caller of {} has left", .0.method())]
    CallerLeft(Operation),
    /// systemd does not start the unit.
    #[error("systemd does not start {unit}: {1}", unit = .0.unit())]
    NotStarted(Operation, String),
}

impl DBusError for CallError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        // A string on D-Bus ends at the first NUL.
        Message::error(call, self.name()).build(&self.to_string().replace('\0', " "))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(match self {
            Self::AccessDenied(_) => "org.freedesktop.DBus.Error.AccessDenied",
            Self::InteractiveAuthorizationRequired(_) => {
                "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
            }
            Self::TooMany(_) => "org.freedesktop.DBus.Error.LimitsExceeded",
            Self::CallerLeft(_) => "org.freedesktop.DBus.Error.Disconnected",
            Self::AuthorityUnavailable(..) => "org.flipside.Updater1.Error.AuthorityUnavailable",
            Self::NotStarted(..) => "org.flipside.Updater1.Error.NotStarted",
        })
    }

    fn description(&self) -> Option<&str> {
        None
    }
}
