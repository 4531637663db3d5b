// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with a host's disks, or with what is known of its slots.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::fat::FatError;
use super::gpt::{EditError, Repair, TableError};
use crate::codes;
use flipside_image::code::{Code, Coded};

/// Why something of this host is not used. Nothing was changed, except where an
/// identity was being set.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file or a device gave an error.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was being done: `open`, `read`.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A disk without a GPT, or with a damaged one.
    #[error("the partition table of {} cannot be used: {source}{remedy}", disk.display())]
    Table {
        /// The disk.
        disk: PathBuf,
        /// What is wrong.
        source: TableError,
        /// How to repair it, or to look at it; empty where the disk has no table to repair.
        remedy: String,
    },
    /// The kernel knows a partition otherwise than the table on the disk describes it.
    #[error(
        "partition {number} of {} is not where the kernel has it: the table was changed since \
         it was last read",
        disk.display()
    )]
    TableNotReread {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
    },
    /// There is no such disk.
    #[error("there is no disk with an EFI system partition in {}", directory.display())]
    DiskMissing {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// No partition has the label.
    #[error("no partition of {} has the label {label}{seen}", disk.display())]
    SlotMissing {
        /// The disk.
        disk: PathBuf,
        /// The GPT label; both of them where neither slot is there.
        label: String,
        /// What says that this is a host, and the nearest labels that the disk has.
        seen: String,
    },
    /// Two partitions have the label.
    #[error("partitions {one} and {other} of {} both have the label {label}", disk.display())]
    LabelAmbiguous {
        /// The disk.
        disk: PathBuf,
        /// The GPT label.
        label: String,
        /// A partition's number.
        one: u32,
        /// Another's.
        other: u32,
    },
    /// Two labels of the configuration are one.
    #[error("{one} and {other} are both partition {number} ({label}) of {}", disk.display())]
    SlotsIdentical {
        /// The disk.
        disk: PathBuf,
        /// A use of it: `slot A of system`.
        one: String,
        /// Another.
        other: String,
        /// The partition's number.
        number: u32,
        /// Its label.
        label: String,
    },
    /// Mounted, or claimed by device mapper or the like.
    #[error("cannot open {partition} for writing: it is in use, mounted or claimed by another")]
    TargetInUse {
        /// The partition.
        partition: String,
    },
    /// P1 was about to be broken.
    #[error("refused to open {partition} for writing: it belongs to the running slot")]
    TargetIsRunning {
        /// The partition.
        partition: String,
    },
    /// An identity could not be set.
    #[error("cannot set the identity of partition {number} of {}: {source}", disk.display())]
    Identity {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
        /// Why.
        source: EditError,
    },
    /// Somebody else holds the disk's lock.
    #[error("cannot lock {}: another program has been working on its partition table", disk.display())]
    DiskLocked {
        /// The disk.
        disk: PathBuf,
    },
    /// No EFI system partition is there to be written to.
    #[error("the EFI system partition is not mounted at {}", points.join(", "))]
    EspNotMounted {
        /// Where it was looked for.
        points: Vec<String>,
    },
    /// More than one partition could be meant.
    #[error("the EFI system partition {uuid} is ambiguous: {reason}")]
    EspAmbiguous {
        /// Its GUID.
        uuid: Uuid,
        /// Where else it is.
        reason: String,
    },
    /// It is not the one that this system was booted from.
    #[error(
        "the EFI system partition at {} is {found}, but this system was booted from {expected}",
        point.display()
    )]
    EspMismatch {
        /// Where it is mounted.
        point: PathBuf,
        /// Its GUID.
        found: Uuid,
        /// The GUID that the boot loader told.
        expected: Uuid,
    },
    /// It is on something that the firmware would not see as the kernel does.
    #[error("the EFI system partition at {} is on {device}, which is no partition of a disk", point.display())]
    EspNotOnDisk {
        /// Where it is mounted.
        point: PathBuf,
        /// The device.
        device: String,
    },
    /// Its file system is not to be trusted.
    #[error("the EFI system partition cannot be trusted: {source}")]
    EspDamaged {
        /// What is wrong.
        source: FatError,
    },
    /// Linux found damage while it was mounted.
    #[error(
        "the EFI system partition at {} has become read-only after an error in its file system",
        point.display()
    )]
    EspFailed {
        /// Where it is mounted.
        point: PathBuf,
    },
    /// Somebody mounted it so.
    #[error("the EFI system partition at {} is mounted read-only", point.display())]
    EspReadOnly {
        /// Where it is mounted.
        point: PathBuf,
    },
    /// Two facts name different slots.
    #[error("it is unclear which slot runs: {one}, but {other}")]
    RunningSlotUnclear {
        /// A fact, and what it says.
        one: String,
        /// Another.
        other: String,
    },
    /// No fact names a slot.
    #[error("cannot tell which slot is running{}", heard.as_ref().map(|heard| format!(": {heard}")).unwrap_or_default())]
    RunningSlotUnknown {
        /// What was looked at, in vain.
        heard: Option<String>,
    },
    /// P8: it would be overwritten.
    #[error(
        "the state directory {} lies on partition {label}, which belongs to slot {slot}",
        directory.display()
    )]
    StateInsideSlot {
        /// The state directory.
        directory: PathBuf,
        /// The partition's label.
        label: String,
        /// The slot.
        slot: super::Slot,
    },
}

impl HostError {
    /// The table of `disk`, with the command that repairs it.
    pub(super) fn table(disk: &Path, is_block_device: bool, source: TableError) -> Self {
        let remedy = match &source {
            TableError::Damaged { copy, repair: Some(repair), .. } => format!(
                "; to restore it from the {} copy, run: {}",
                if *copy == "primary" { "backup" } else { "primary" },
                repair.command(disk, is_block_device)
            ),
            TableError::Damaged { .. } | TableError::BothDamaged { .. } => {
                format!("; to see what is left, run: {}", Repair::look(disk))
            }
            TableError::Missing | TableError::Unclear { .. } => String::new(),
        };
        Self::Table { disk: disk.to_owned(), source, remedy }
    }

    pub(super) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

impl Coded for HostError {
    fn code(&self) -> Code {
        match self {
            Self::Io { .. } => codes::IO_FAILED,
            Self::Table { source, .. } => table_code(source),
            Self::TableNotReread { .. } => codes::GPT_STALE,
            Self::DiskMissing { .. } => codes::DISK_MISSING,
            Self::SlotMissing { .. } => codes::SLOT_MISSING,
            Self::LabelAmbiguous { .. } => codes::LABEL_AMBIGUOUS,
            Self::SlotsIdentical { .. } => codes::SLOTS_IDENTICAL,
            Self::TargetInUse { .. } => codes::TARGET_IN_USE,
            Self::TargetIsRunning { .. } => codes::TARGET_IS_RUNNING,
            Self::Identity { source, .. } => match source {
                EditError::Table(table) => table_code(table),
                EditError::Changed(_) => codes::GPT_STALE,
                EditError::Nil(_) => codes::PARTITION_IDENTITY_INVALID,
                EditError::Duplicate { .. } => codes::PARTITION_UUID_DUPLICATE,
                EditError::Io { .. } => codes::DISK_FAILED,
                EditError::ReadBack => codes::READ_BACK_MISMATCH,
            },
            Self::DiskLocked { .. } => codes::DISK_LOCKED,
            Self::EspNotMounted { .. } => codes::ESP_NOT_MOUNTED,
            Self::EspAmbiguous { .. } => codes::ESP_AMBIGUOUS,
            Self::EspMismatch { .. } => codes::ESP_MISMATCH,
            Self::EspNotOnDisk { .. } => codes::ESP_NOT_ON_DISK,
            Self::EspDamaged { .. } | Self::EspFailed { .. } => codes::ESP_DAMAGED,
            Self::EspReadOnly { .. } => codes::ESP_READ_ONLY,
            Self::RunningSlotUnclear { .. } => codes::RUNNING_SLOT_UNCLEAR,
            Self::RunningSlotUnknown { .. } => codes::RUNNING_SLOT_UNKNOWN,
            Self::StateInsideSlot { .. } => codes::STATE_INSIDE_SLOT,
        }
    }
}

fn table_code(error: &TableError) -> Code {
    match error {
        TableError::Missing => codes::GPT_MISSING,
        TableError::Damaged { .. } | TableError::BothDamaged { .. } => codes::GPT_DAMAGED,
        TableError::Unclear { .. } => codes::GPT_UNCLEAR,
    }
}
