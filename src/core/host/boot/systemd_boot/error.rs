// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with a loader that is to count tries.

use std::path::PathBuf;

use crate::codes;
use crate::host::Slot;
use flipside_image::code::{Code, Coded};

/// Why systemd-boot could not boot a trial and come back from it.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The loader is missing, or another.
    #[error("{} is missing or no systemd-boot, and boot.backend is systemd-boot", file.display())]
    Missing {
        /// The loader, relative to the ESP.
        file: PathBuf,
    },
    /// A loader that sorts and counts otherwise.
    #[error("{} is systemd-boot {version}; entries are sorted and counted from 252 on", file.display())]
    TooOld {
        /// The loader, relative to the ESP.
        file: PathBuf,
        /// What it says of itself.
        version: String,
    },
    /// Somebody chose what boots, whatever the entries say.
    #[error(
        "{place} says that {pattern:?} boots, so that systemd-boot does not look at the order of its \
         entries; {remedy}"
    )]
    DefaultSet {
        /// Where it is said.
        place: &'static str,
        /// The entry, or a pattern.
        pattern: String,
        /// What lifts that.
        remedy: &'static str,
    },
    /// A slot that the loader could not boot.
    #[error("systemd-boot has no usable entry for slot {slot}, or its boot file cannot boot")]
    EntryMissing {
        /// The slot.
        slot: Slot,
    },
}

impl Coded for LoaderError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => codes::LOADER_NOT_SYSTEMD_BOOT,
            Self::TooOld { .. } => codes::LOADER_TOO_OLD,
            Self::DefaultSet { .. } => codes::LOADER_DEFAULT_SET,
            Self::EntryMissing { .. } => codes::BOOT_ENTRY_MISSING,
        }
    }
}
