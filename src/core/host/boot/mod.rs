// SPDX-License-Identifier: MIT OR Apache-2.0

//! How slots are booted: what a boot loader or firmware has to be told, whichever it is.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::Slot;
use super::efi::{BootNumber, EfiError};
use super::esp::EspError;
use crate::codes;
use crate::refusal::Severity;
use flipside_image::code::{Code, Coded};

mod systemd_boot;
mod uefi;

pub use systemd_boot::SystemdBoot;
pub use uefi::UefiBoot;

pub use super::efi::EntryKind;

/// Why slots cannot be booted, or not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The firmware's variables.
    #[error(transparent)]
    Efi(#[from] EfiError),
    /// The loader's entries.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The loader is missing, or another.
    #[error("{} is missing or no systemd-boot, and boot.backend is systemd-boot", file.display())]
    LoaderMissing {
        /// The loader, relative to the ESP.
        file: PathBuf,
    },
    /// A loader that sorts and counts otherwise.
    #[error("{} is systemd-boot {version}; entries are sorted and counted from 252 on", file.display())]
    LoaderTooOld {
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
    LoaderDefaultSet {
        /// Where it is said.
        place: &'static str,
        /// The entry, or a pattern.
        pattern: String,
        /// What lifts that.
        remedy: &'static str,
    },
    /// A slot that the loader could not boot.
    #[error("systemd-boot has no usable entry for slot {slot}, or its boot file cannot boot")]
    LoaderEntryMissing {
        /// The slot.
        slot: Slot,
    },
}

impl BootError {
    /// Whether trying again later, with nothing changed by a person, may help.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Efi(error) => error.severity(),
            Self::Esp(_) => Severity::Error,
            _ => self.code().severity(),
        }
    }
}

impl Coded for BootError {
    fn code(&self) -> Code {
        match self {
            Self::Efi(error) => error.code(),
            Self::Esp(error) => error.code(),
            Self::LoaderMissing { .. } => codes::LOADER_NOT_SYSTEMD_BOOT,
            Self::LoaderTooOld { .. } => codes::LOADER_TOO_OLD,
            Self::LoaderDefaultSet { .. } => codes::LOADER_DEFAULT_SET,
            Self::LoaderEntryMissing { .. } => codes::BOOT_ENTRY_MISSING,
        }
    }
}

/// What the next boot was reserved for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// Nothing: the order decides. Also where it was reserved for an entry that does not
    /// exist, which the firmware passes over.
    Nothing,
    /// This slot.
    Slot(Slot),
    /// Something that is not flipside's.
    Foreign {
        /// The entry.
        number: BootNumber,
        /// What it calls itself.
        description: String,
    },
}

/// Whether NVRAM still holds what flipside wrote there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nvram {
    /// Nothing is written there.
    Unused,
    /// Some of it stands.
    Kept,
    /// Neither an entry of a slot nor a number in the boot order that could be one's.
    Lost,
}

/// How a boot entry is named where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EntryName {
    /// In NVRAM.
    Number(BootNumber),
    /// In the loader's directory: the file's name.
    File(String),
}

/// Four hex digits, or the file's name.
impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{:04X}", number.0),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// A boot entry, as a person sees it in the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootEntry {
    /// Its name.
    pub name: EntryName,
    /// What it calls itself.
    pub description: String,
    /// What it is.
    pub kind: EntryKind,
    /// Whether the firmware would boot it in its turn.
    pub is_active: bool,
    /// Whether it stands in the boot order; what boots once does not.
    pub is_listed: bool,
}

/// Whether a slot has its proof: whether what it holds has booted to success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotProof {
    /// It has.
    Present,
    /// It has not.
    Absent,
}

/// A way to boot slots. Each call reads what stands there now and trusts no earlier answer;
/// each change is durable and read back when the call returns.
pub trait Backend: Send + Sync {
    /// Whether an update could be booted on this host, changing nothing.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, running: Slot) -> Result<(), BootError>;

    /// What the next boot is reserved for.
    ///
    /// # Errors
    /// What cannot be read.
    fn next(&self) -> Result<Next, BootError>;

    /// Whether NVRAM still holds what flipside wrote there.
    ///
    /// # Errors
    /// What cannot be read.
    fn nvram(&self) -> Result<Nvram, BootError>;

    /// The slot that the order boots first, of the two.
    ///
    /// # Errors
    /// What cannot be read.
    fn first(&self) -> Result<Option<Slot>, BootError>;

    /// P5: sees to it that the running slot boots before the other one, and before the
    /// removable-media loader.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn secure(&self, running: Slot) -> Result<(), BootError>;

    /// Makes `target` bootable, behind the running slot, which has to be secured: right behind
    /// it where what it holds is proven, last of all where it is not. Should the running slot's
    /// entry be lost, everything else is tried before an OS that never booted to success.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn add(&self, target: Slot, proof: SlotProof) -> Result<(), BootError>;

    /// Reserves the next boot for `target`, which was added.
    ///
    /// # Errors
    /// What cannot be read or changed; a next boot that somebody else has reserved.
    fn arm(&self, target: Slot) -> Result<(), BootError>;

    /// Lifts a reservation of the next boot for `target`; any other stands.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn disarm(&self, target: Slot) -> Result<(), BootError>;

    /// Boots `slot` first from now on, then the other one where it is known already and proven.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn set_default(&self, slot: Slot, other: SlotProof) -> Result<(), BootError>;

    /// Whether the running slot boots by itself, as it did this time, also while the
    /// removable-media loader cannot: only then may that be replaced.
    ///
    /// # Errors
    /// What cannot be read.
    fn boots_without_loader(&self, running: Slot) -> Result<bool, BootError>;

    /// All entries in their order, then those of flipside's that the order does not list.
    ///
    /// # Errors
    /// What cannot be read.
    fn order(&self) -> Result<Vec<BootEntry>, BootError>;
}
