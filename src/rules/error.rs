// SPDX-License-Identifier: MIT OR Apache-2.0

//! What keeps a rule from being asked.

use flipside_core::cancel::Stopped;
use flipside_core::install::InstallError;
use flipside_core::refusal::Refusal;
use flipside_source::SourceError;

/// Why a rule could not be asked. That one refuses is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was allowed before is refused by now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A source does not answer, or a setting names none.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The image's own hook cannot be had whole.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
