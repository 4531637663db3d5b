// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with the EFI system partition.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Esp;
use flipside_image::code::Coded;

/// Why a file on the ESP could not be read or changed. Files are named relative to it.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// A directory without `EFI` in it.
    #[error("the EFI system partition is not mounted at {}", directory.display())]
    NotMounted {
        /// Where it was expected.
        directory: PathBuf,
    },
    /// A read-only mount.
    #[error(
        "the EFI system partition at {} is read-only (the kernel makes a damaged FAT so)",
        directory.display()
    )]
    ReadOnly {
        /// Where it is mounted.
        directory: PathBuf,
    },
    /// No room for a file.
    #[error(
        "cannot write {}: the EFI system partition has {} free, {} are needed",
        file.display(), mebibytes(*free), mebibytes(*needed)
    )]
    Full {
        /// The file.
        file: PathBuf,
        /// In bytes.
        free: u64,
        /// In bytes.
        needed: u64,
    },
    /// An error of the file system or its device.
    #[error("the EFI system partition is damaged, its file {} cannot be used: {source}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file that cannot be read.
    #[error("cannot read {} on the EFI system partition: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file that cannot be written or removed.
    #[error("cannot write {} on the EFI system partition: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A boot file that the firmware would not start.
    #[error("boot file {} is not complete: {what}", file.display())]
    NotBootable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file whose bytes are not the ones that were written.
    #[error(
        "{} was written but reads back differently: the medium of the EFI system partition fails",
        file.display()
    )]
    ReadBack {
        /// The file.
        file: PathBuf,
    },
}

impl Coded for EspError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotMounted { .. } => "esp-not-mounted",
            Self::ReadOnly { .. } => "esp-read-only",
            Self::Full { .. } => "esp-full",
            Self::Damaged { .. } => "esp-damaged",
            Self::Read { .. } => "esp-read-failed",
            Self::Write { .. } => "esp-write-failed",
            Self::NotBootable { .. } => "boot-file-invalid",
            Self::ReadBack { .. } => "esp-read-back",
        }
    }
}

/// With one decimal, as sizes of an ESP are spoken of. Rounded so that "free" never looks like
/// enough: callers compare bytes, people compare these.
fn mebibytes(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

impl Esp {
    pub(super) fn read_error(&self, file: &Path, source: io::Error) -> EspError {
        let file = file.to_owned();
        if is_damage(&source) {
            return EspError::Damaged { file, source };
        }
        EspError::Read { file, source }
    }

    pub(super) fn write_error(&self, file: &Path, source: io::Error) -> EspError {
        self.sized_write_error(file, 0, source)
    }

    /// The same for a write of which it is known how many bytes it needed.
    pub(super) fn sized_write_error(
        &self,
        file: &Path,
        needed: u64,
        source: io::Error,
    ) -> EspError {
        let file = file.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC) => {
                EspError::Full { file, free: self.free_bytes().unwrap_or(0), needed }
            }
            Some(Errno::ROFS) => EspError::ReadOnly { directory: self.directory.clone() },
            _ if is_damage(&source) => EspError::Damaged { file, source },
            _ => EspError::Write { file, source },
        }
    }
}

/// What FAT and block devices answer when they are broken, rather than when they are asked the wrong
/// thing.
fn is_damage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::UCLEAN | Errno::NXIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_partition_says_what_is_free_and_what_is_needed() {
        let error = EspError::Full {
            file: "EFI/flipside/boot-b.efi".into(),
            free: 3_250_586,
            needed: 31 << 20,
        };
        assert_eq!(
            error.to_string(),
            "cannot write EFI/flipside/boot-b.efi: the EFI system partition has 3.1 MiB free, \
             31.0 MiB are needed"
        );
        assert_eq!(error.code(), "esp-full");
    }

    #[test]
    fn what_the_kernel_says_becomes_what_people_can_act_on() {
        let directory = tempfile::tempdir().unwrap();
        let esp = Esp::new(
            directory.path(),
            flipside_image::Architecture::X86_64,
            &crate::host::durable::Durable::new(),
        );
        for (errno, code) in [
            (Errno::NOSPC, "esp-full"),
            (Errno::ROFS, "esp-read-only"),
            (Errno::IO, "esp-damaged"),
            (Errno::UCLEAN, "esp-damaged"),
            (Errno::PERM, "esp-write-failed"),
        ] {
            assert_eq!(esp.write_error(Path::new("x"), errno.into()).code(), code);
        }
    }
}
