// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the kernel keeps in memory of a file or a disk.

use std::fs::File;
use std::io;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Drops `length` bytes from `start` on, so that the next read comes from the medium. A length of 0
/// is everything up to the end. The kernel drops whole pages only, and those that are clean.
///
/// # Errors
/// posix_fadvise(2).
pub(super) fn drop_pages(file: &File, start: u64, length: u64) -> io::Result<()> {
    let signed = |bytes| i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput);
    let (start, length) = (signed(start)?, signed(length)?);
    Ok(posix_fadvise(file, start, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}
