// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a reboot did not come about.

use std::io;

use crate::codes;
use crate::error::Error as RunError;
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
    #[error("{who} blocks reboots: {why}")]
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
    /// The boot file holds no kernel for kexec.
    #[error("{boot_file} is not a unified kernel image: {why}")]
    NoKernel {
        /// The boot file.
        boot_file: String,
        /// What is missing.
        why: &'static str,
    },
    /// The boot file cannot be read, or its parts cannot be kept.
    #[error("cannot read {boot_file}: {source}")]
    Kernel {
        /// The boot file.
        boot_file: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not take the new one, for its signature or for anything else.
    #[error("the running kernel does not load the one in {boot_file}: {source}")]
    KernelRefused {
        /// The boot file.
        boot_file: String,
        /// Why.
        source: io::Error,
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
            Self::Update(error) => error.severity(),
            _ => Severity::Error,
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
            Self::NoKernel { .. } => codes::KEXEC_NO_KERNEL,
            Self::Kernel { .. } => codes::IO_FAILED,
            Self::KernelRefused { .. } => codes::KEXEC_REFUSED,
            Self::Update(error) => error.code(),
        }
    }
}
