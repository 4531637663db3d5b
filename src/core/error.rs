// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why core did not do what it was asked to.

use std::io;
use std::path::PathBuf;

use flipside_image::ImageError;
use flipside_image::code::{Code, Coded, Transient};

use crate::cancel::Stopped;
use crate::codes;
use crate::host::HostError;
use crate::host::boot::BootError;
use crate::host::efi::EfiError;
use crate::host::esp::EspError;
use crate::host::kexec::KernelLoaded;
use crate::install_error::InstallError;
use crate::refusal::{Refusal, Severity};
use crate::state::journal::JournalError;

/// Why a transaction stopped. The host boots as before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A decision against it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The lock file cannot be made.
    #[error("cannot make the lock file {}: {source}", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A lock file, or its directory, that others than root could use.
    #[error("cannot take the lock {}: {what}", path.display())]
    LockPlace {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// A second flipside.
    #[error("another flipside is running on this host{}", holder.map(|pid| format!(" (PID {pid})")).unwrap_or_default())]
    Locked {
        /// Its process, where that can be told.
        holder: Option<u32>,
    },
    /// The state directory does not take what has to be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A step was not done.
    #[error("cannot make a durable step: {0}")]
    Step(#[from] io::Error),
    /// The machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The firmware has no variables for the OS: what its error said, and its code.
    #[error("{what}")]
    NoBootManager {
        /// The sentence.
        what: String,
        /// The code.
        code: Code,
    },
    /// The firmware.
    #[error(transparent)]
    Efi(#[from] EfiError),
    /// The way to boot slots.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The ESP.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// A kernel that is loaded for kexec.
    #[error(transparent)]
    Kexec(#[from] KernelLoaded),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The write path.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The run was asked to stop.
    #[error("stopped by request; the running slot boots as before, and the next run goes on")]
    Stopped(#[from] Stopped),
}

impl Error {
    /// Whether to come back by itself.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Refused(refusal) => refusal.severity,
            Self::Locked { .. } | Self::Stopped(_) | Self::Kexec(_) => Severity::Defer,
            Self::Install(error) if error.is_stopped() => Severity::Defer,
            Self::NoBootManager { .. } => Severity::Block,
            Self::Efi(error) => error.severity(),
            Self::Boot(error) => error.severity(),
            _ => Severity::Error,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::LockFile { .. } | Self::LockPlace { .. } => codes::LOCK_UNUSABLE,
            Self::Locked { .. } => codes::LOCKED,
            Self::Journal(error) => error.code(),
            Self::Step(_) => codes::IO_FAILED,
            Self::Host(error) => error.code(),
            Self::NoBootManager { code, .. } => *code,
            Self::Efi(error) => error.code(),
            Self::Boot(error) => error.code(),
            Self::Esp(error) => error.code(),
            Self::Kexec(error) => error.code(),
            Self::Image(error) => error.code(),
            Self::Install(error) => error.code(),
            Self::Stopped(_) => codes::STOPPED,
        }
    }

    fn transient(&self) -> Option<Transient> {
        match self {
            Self::Refused(refusal) => refusal.transient,
            Self::Install(error) => error.transient(),
            _ => None,
        }
    }
}
