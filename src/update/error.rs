// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a transaction did not do what it was asked to.

use std::io;
use std::path::PathBuf;

use crate::code::Coded;
use crate::host::HostError;
use crate::host::boot::BootError;
use crate::host::efi::EfiError;
use crate::host::esp::EspError;
use crate::image::ImageError;
use crate::install::InstallError;
use crate::policy::signature::KeyError;
use crate::refusal::{Refusal, Severity};
use crate::source::SourceError;
use crate::stop::Stopped;

/// Why a transaction stopped. The host boots as before.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
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
    /// A second flipside.
    #[error("another flipside is at work on this host")]
    Locked,
    /// The state directory does not take what has to be written.
    #[error("cannot write state to {}: {source}", path.display())]
    State {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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
        code: &'static str,
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
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The keys that images have to be signed with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The health checks.
    #[error(transparent)]
    Health(#[from] crate::health::HealthError),
    /// A directory of hooks.
    #[error("{0}: {source}", source = .0.source)]
    Hooks(#[from] crate::overlay::Unreadable),
    /// A kernel that is loaded for kexec.
    #[error(transparent)]
    Kexec(#[from] crate::host::kexec::KernelLoaded),
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

impl UpdateError {
    /// Whether a question to the source failed: nobody knows what the tag names.
    pub fn is_of_source(&self) -> bool {
        matches!(self, Self::Source(_))
    }

    /// Whether to come back by itself.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Refused(refusal) => refusal.severity,
            Self::Locked | Self::Stopped(_) | Self::Kexec(_) => Severity::Defer,
            Self::Install(error) if error.is_stopped() => Severity::Defer,
            Self::Health(error) if error.is_stopped() => Severity::Defer,
            Self::Source(error) if error.is_stopped() => Severity::Defer,
            Self::NoBootManager { .. } => Severity::Block,
            Self::Efi(error) => error.severity(),
            Self::Boot(error) => error.severity(),
            _ => Severity::Error,
        }
    }
}

impl Coded for UpdateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::LockFile { .. } => "lock-unusable",
            Self::Locked => "locked",
            Self::State { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "state-full"
            }
            Self::State { .. } => "state-unwritable",
            Self::Step(_) => "step-failed",
            Self::Host(error) => error.code(),
            Self::NoBootManager { code, .. } => code,
            Self::Efi(error) => error.code(),
            Self::Boot(error) => error.code(),
            Self::Esp(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Health(error) => error.code(),
            Self::Hooks(error) => error.code(),
            Self::Kexec(error) => error.code(),
            Self::Image(error) => error.code(),
            Self::Install(error) => error.code(),
            Self::Stopped(_) => "stopped",
        }
    }
}
