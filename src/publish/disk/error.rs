// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a disk could not be built.

use std::io;
use std::path::PathBuf;

use flipside_core::install::InstallError;
use flipside_image::code::{Code, Coded};
use flipside_image::{Architecture, ImageError};
use flipside_source::SourceError;

use super::size::Size;
use crate::PublishError;
use crate::codes;

/// Why a disk could not be built. An output file does not exist then; a block device has
/// no partition table.
#[derive(Debug, thiserror::Error)]
pub enum DiskBuildError {
    /// The image is none, or is for another machine.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The layout does not hold it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It cannot be found in the layout.
    #[error(transparent)]
    Find(#[from] PublishError),
    /// A payload cannot be written, or is damaged.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// An image whose architecture flipside does not know.
    #[error("the image's variant {variant:?} begins with no architecture that flipside knows")]
    ArchitectureUnknown {
        /// The variant, shortened.
        variant: String,
    },
    /// An image without something that has a place on the disk.
    #[error("the image has no payload {name}")]
    PayloadMissing {
        /// The payload.
        name: String,
    },
    /// No boot loader to put on the ESP.
    #[error("cannot read the boot loader {path}: {source}", path = path.display())]
    LoaderMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A boot loader that the firmware will not start.
    #[error("the boot loader {path} is not an EFI program for {architecture}", path = path.display())]
    LoaderInvalid {
        /// The file.
        path: PathBuf,
        /// What the image is for.
        architecture: Architecture,
    },
    /// Text that is no size.
    #[error("{text:?} is not a size: a number, with KiB, MiB, GiB or TiB, or without for bytes")]
    SizeInvalid {
        /// The text, shortened.
        text: String,
    },
    /// A label that GPT does not take, or that stands there already.
    #[error("{label:?} cannot be a partition's label: {reason}")]
    LabelInvalid {
        /// The label.
        label: String,
        /// Why not.
        reason: &'static str,
    },
    /// Two partitions with one GUID, which hosts refuse.
    #[error("partitions {first} and {second} would have the same GUID")]
    GuidTwice {
        /// One partition's label.
        first: String,
        /// The other's.
        second: String,
    },
    /// An ESP without room for the boot files of both slots.
    #[error(
        "an ESP of {} is too small: the loader and two boot files need {}, {} are free in it",
        Size(*size), Size(*needed), Size(*free)
    )]
    EspTooSmall {
        /// The partition's size in bytes.
        size: u64,
        /// What is needed, in bytes.
        needed: u64,
        /// What there is for files, in bytes.
        free: u64,
    },
    /// A slot partition without room for its payload.
    #[error(
        "partition {label} of {} is too small for payload {payload} of {}",
        Size(*size), Size(*needed)
    )]
    SlotTooSmall {
        /// The partition.
        label: String,
        /// Its payload.
        payload: String,
        /// The partition's size in bytes.
        size: u64,
        /// The payload's, in bytes.
        needed: u64,
    },
    /// A block device without room for the partitions.
    #[error(
        "{path} of {} is too small: the partitions need {}",
        Size(*size), Size(*needed), path = path.display()
    )]
    DiskTooSmall {
        /// The device.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// What is needed, in bytes.
        needed: u64,
    },
    /// An output file that is there already.
    #[error("{path} exists already; --force replaces it", path = path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// An output that is neither a file nor a block device.
    #[error("{path} is neither a file nor a block device", path = path.display())]
    OutputInvalid {
        /// The path.
        path: PathBuf,
    },
    /// A block device with a mounted file system, or otherwise claimed.
    #[error("{path} is in use: it or one of its partitions is mounted or claimed", path = path.display())]
    DeviceInUse {
        /// The device.
        path: PathBuf,
    },
    /// A block device that somebody may miss.
    #[error("{path} is not empty: it holds {found}; --force overwrites it", path = path.display())]
    DeviceNotEmpty {
        /// The device.
        path: PathBuf,
        /// What was found on it.
        found: &'static str,
    },
    /// A sector size that is not the device's.
    #[error("{path} has sectors of {device} bytes, not {asked}", path = path.display())]
    SectorSizeMismatch {
        /// The device.
        path: PathBuf,
        /// Its logical sectors, in bytes.
        device: u32,
        /// What was asked for, in bytes.
        asked: u32,
    },
    /// The output cannot be written or read back.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Output {
        /// What was being done.
        operation: &'static str,
        /// The output.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `--verify` found other bytes than were written.
    #[error("{what} reads back differently from what was written")]
    ReadBackDiffers {
        /// What differs.
        what: String,
    },
}

impl Coded for DiskBuildError {
    fn code(&self) -> Code {
        match self {
            Self::Image(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::Find(error) => error.code(),
            Self::Install(error) => error.code(),
            Self::ArchitectureUnknown { .. } => codes::ARCHITECTURE_UNKNOWN,
            Self::PayloadMissing { .. } => codes::PAYLOAD_MISSING,
            Self::LoaderMissing { .. } => codes::LOADER_MISSING,
            Self::LoaderInvalid { .. } => codes::LOADER_INVALID,
            Self::SizeInvalid { .. }
            | Self::LabelInvalid { .. }
            | Self::OutputInvalid { .. }
            | Self::SectorSizeMismatch { .. } => codes::ARGUMENT_INVALID,
            Self::GuidTwice { .. } => codes::PARTITION_UUID_DUPLICATE,
            Self::EspTooSmall { .. } => codes::ESP_TOO_SMALL,
            Self::SlotTooSmall { .. } => codes::SLOT_TOO_SMALL,
            Self::DiskTooSmall { .. } => codes::DISK_TOO_SMALL,
            Self::OutputExists { .. } | Self::DeviceNotEmpty { .. } => codes::OUTPUT_EXISTS,
            Self::DeviceInUse { .. } => codes::TARGET_IN_USE,
            Self::Output { .. } => codes::IO_FAILED,
            Self::ReadBackDiffers { .. } => codes::READ_BACK_MISMATCH,
        }
    }
}
