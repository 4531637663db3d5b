// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a reboot did not come about.

use crate::codes;
use crate::run::Error as RunError;
use flipside_core::refusal::Severity;
use flipside_image::code::{Code, Coded};

/// Why a reboot did not come about. What is armed stays armed: the next reboot tries it, whoever
/// asks for it.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// Nobody to ask for a reboot.
    #[error("cannot reach logind: {why}")]
    NoLogind {
        /// Why not.
        why: String,
    },
    /// Somebody holds a lock that blocks shutdowns.
    #[error("{who} holds off reboots: {why}")]
    Inhibited {
        /// Who.
        who: String,
        /// The reason that they gave.
        why: String,
    },
    /// systemd or logind answered with an error.
    #[error("cannot {action}: {why}")]
    Refused {
        /// What it was asked for.
        action: &'static str,
        /// Its answer.
        why: String,
    },
    /// What is armed is not known.
    #[error(transparent)]
    Update(#[from] RunError),
}

impl RebootError {
    /// Whether to come back by itself.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Inhibited { .. } => Severity::Defer,
            Self::NoLogind { .. } | Self::Refused { .. } => Severity::Error,
            Self::Update(error) => error.severity(),
        }
    }
}

#[cfg(feature = "dbus")]
impl crate::system::bus::CallError {
    /// The same as why `action` was not done.
    pub(super) fn refuses(self, action: &'static str) -> RebootError {
        RebootError::Refused { action, why: self.message }
    }
}

impl Coded for RebootError {
    fn code(&self) -> Code {
        match self {
            Self::NoLogind { .. } => codes::LOGIND_UNAVAILABLE,
            Self::Inhibited { .. } => codes::REBOOT_INHIBITED,
            Self::Refused { .. } => codes::REBOOT_FAILED,
            Self::Update(error) => error.code(),
        }
    }
}
