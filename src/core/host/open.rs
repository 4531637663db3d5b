// SPDX-License-Identifier: MIT OR Apache-2.0

//! Opening files of flipside's own for reading. [`Durable`](super::durable::Durable) opens them for
//! writing, by the same flags.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// A link in the place of one of these files would have another one read, or written over. A FIFO
/// must not make a run wait.
pub(crate) const NO_FOLLOW: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK);

/// Opens a file of flipside's own for reading: on the ESP or in the state directory.
///
/// # Errors
/// The file system's; `ELOOP` for a symbolic link.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(NO_FOLLOW.bits()).open(path)
}

/// Whether [`open_to_read`] found a symbolic link.
pub fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ELOOP as i32)
}

/// The bytes of such a file, at most `limit`.
///
/// # Errors
/// As [`open_to_read`]; `FileTooLarge`.
pub fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_to_read(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
