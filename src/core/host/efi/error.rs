// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with the firmware's variables.

use std::io;
use std::path::PathBuf;

use super::BootNumber;
use crate::codes;
use crate::host::Slot;
use crate::refusal::Severity;
use flipside_image::code::{Code, Coded};

/// Why a firmware variable could not be read or changed, or must not be.
#[derive(Debug, thiserror::Error)]
pub enum EfiError {
    /// A machine without variables at run time.
    #[error(
        "this host has no EFI variables in {}: it was not booted by UEFI, its firmware gives none \
         to a running system, or efivarfs is not mounted",
        directory.display()
    )]
    Missing {
        /// Where they were looked for.
        directory: PathBuf,
    },
    /// Variables that may be read only.
    #[error("the EFI variables in {} are read-only", directory.display())]
    ReadOnly {
        /// Where they are.
        directory: PathBuf,
    },
    /// NVRAM refused a write for want of room.
    #[error(
        "cannot write firmware variable {variable} ({size} bytes): NVRAM is full{}",
        about_dumps(*dumps)
    )]
    Full {
        /// The variable's name.
        variable: String,
        /// Its size in bytes, without its name and the firmware's own header.
        size: usize,
        /// How many kernel crash dumps lie in NVRAM.
        dumps: usize,
    },
    /// NVRAM has less room than the boot entries need.
    #[error(
        "NVRAM has {free} bytes free, {needed} are needed for boot entries{}",
        about_dumps(*dumps)
    )]
    NoRoom {
        /// In bytes.
        free: u64,
        /// In bytes.
        needed: u64,
        /// How many kernel crash dumps lie in NVRAM.
        dumps: usize,
    },
    /// A write that seemed to succeed and did not happen.
    #[error(
        "firmware variable {variable} was written but has another value when read back: the \
         firmware undoes changes (a boot order lock in its setup does that)"
    )]
    WriteLost {
        /// The variable's name.
        variable: String,
    },
    /// Variables that are gone after a reset.
    #[error(
        "the firmware keeps no variables over a reset, so that no trial would start: {why}; set \
         boot.backend = \"systemd-boot\", which needs none"
    )]
    NotKept {
        /// Why nobody else can keep them.
        why: String,
    },
    /// A variable, or their list, that cannot be read.
    #[error("cannot read firmware variable {variable}: {source}")]
    Read {
        /// The variable's name, or the directory.
        variable: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A variable that cannot be written or removed.
    #[error("cannot change firmware variable {variable}: {source}")]
    Write {
        /// The variable's name.
        variable: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Somebody else wants the next boot.
    #[error("the next boot is reserved for {number} ({description:?}), which is not flipside's")]
    BootNextTaken {
        /// The entry that `BootNext` names.
        number: BootNumber,
        /// What the entry calls itself.
        description: String,
    },
    /// A slot that the firmware could not boot.
    #[error("the firmware has no usable boot entry for slot {slot} in BootOrder")]
    EntryMissing {
        /// The slot.
        slot: Slot,
    },
    /// 65536 boot entries.
    #[error("there is no free number for a new boot entry")]
    NumbersExhausted,
}

fn about_dumps(dumps: usize) -> String {
    match dumps {
        0 => String::new(),
        1 => "; 1 crash dump of the kernel (dump-type0-*) lies there and may be removed".to_owned(),
        n => {
            format!("; {n} crash dumps of the kernel (dump-type0-*) lie there and may be removed")
        }
    }
}

impl EfiError {
    /// Whether trying again later, with nothing changed by a person, may help.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoRoom { .. } => Severity::Block,
            _ => self.code().severity(),
        }
    }
}

impl Coded for EfiError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => codes::EFI_VARIABLES_MISSING,
            Self::ReadOnly { .. } => codes::EFI_VARIABLES_READ_ONLY,
            Self::Full { .. } | Self::NoRoom { .. } | Self::NumbersExhausted => codes::NVRAM_FULL,
            Self::WriteLost { .. } => codes::NVRAM_WRITE_LOST,
            Self::NotKept { .. } => codes::NVRAM_NOT_KEPT,
            Self::Read { .. } => codes::NVRAM_READ_FAILED,
            Self::Write { .. } => codes::NVRAM_WRITE_FAILED,
            Self::BootNextTaken { .. } => codes::BOOTNEXT_TAKEN,
            Self::EntryMissing { .. } => codes::BOOT_ENTRY_MISSING,
        }
    }
}
