// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with the EFI system partition.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Esp;
use crate::codes;
use flipside_image::code::{Code, Coded};

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
        file.display(), size(*free, Round::Down), size(*needed, Round::Up)
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
    fn code(&self) -> Code {
        match self {
            Self::NotMounted { .. } => codes::ESP_NOT_MOUNTED,
            Self::ReadOnly { .. } => codes::ESP_READ_ONLY,
            Self::Full { .. } => codes::ESP_FULL,
            Self::Damaged { .. } => codes::ESP_DAMAGED,
            Self::Read { .. } | Self::Write { .. } => codes::IO_FAILED,
            Self::NotBootable { .. } => codes::BOOT_FILE_INVALID,
            Self::ReadBack { .. } => codes::READ_BACK_MISMATCH,
        }
    }
}

/// In which direction a size is rounded: what is free never looks like what is needed.
#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// As sizes of an ESP are spoken of: in MiB with one decimal, below 1 MiB in KiB.
fn size(bytes: u64, round: Round) -> String {
    const KIB: u128 = 1 << 10;
    const MIB: u128 = 1 << 20;
    let bytes = u128::from(bytes);
    let of = |parts: u128, unit: u128| match round {
        Round::Down => bytes.saturating_mul(parts) / unit,
        Round::Up => bytes.saturating_mul(parts).div_ceil(unit),
    };
    match of(1, KIB) {
        kibibytes if kibibytes < KIB => format!("{kibibytes} KiB"),
        _ => {
            let tenths = of(10, MIB);
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
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
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC) => {
                EspError::Full { file, free: self.free_bytes().unwrap_or(0), needed }
            }
            Some(Errno::EROFS) => EspError::ReadOnly { directory: self.directory.clone() },
            _ if is_damage(&source) => EspError::Damaged { file, source },
            _ => EspError::Write { file, source },
        }
    }
}

/// What FAT and block devices answer when they are broken, rather than when they are asked the wrong
/// thing.
fn is_damage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EIO | Errno::EUCLEAN | Errno::ENXIO))
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
        assert_eq!(error.code().name(), "esp-full");
    }

    #[test]
    fn sizes_below_a_mebibyte_are_told_in_kibibytes() {
        for (bytes, down, up) in [
            (0, "0 KiB", "0 KiB"),
            (1, "0 KiB", "1 KiB"),
            (512, "0 KiB", "1 KiB"),
            (1024, "1 KiB", "1 KiB"),
            (65_535, "63 KiB", "64 KiB"),
            ((1 << 20) - 1, "1023 KiB", "1.0 MiB"),
            (1 << 20, "1.0 MiB", "1.0 MiB"),
            ((1 << 20) + 1, "1.0 MiB", "1.1 MiB"),
            (31 << 20, "31.0 MiB", "31.0 MiB"),
        ] {
            assert_eq!(size(bytes, Round::Down), down, "{bytes}");
            assert_eq!(size(bytes, Round::Up), up, "{bytes}");
        }
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
            (Errno::ENOSPC, "esp-full"),
            (Errno::EROFS, "esp-read-only"),
            (Errno::EIO, "esp-damaged"),
            (Errno::EUCLEAN, "esp-damaged"),
            (Errno::EPERM, "io-failed"),
        ] {
            assert_eq!(esp.write_error(Path::new("x"), errno.into()).code().name(), code);
        }
    }
}
