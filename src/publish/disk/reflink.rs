// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sharing a file's blocks with another file, where the file system can (XFS, btrfs,
//! bcachefs, OCFS2, ...).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::statfs::fstatfs;

/// Makes `length` bytes of `target` from `offset` share the blocks of `source` from its
/// start. All or nothing; `length` and `offset` are multiples of the file system's block.
///
/// # Errors
/// ioctl_ficlonerange(2): `EOPNOTSUPP`, `EXDEV`, `EINVAL` and others where nothing can be
/// shared, `ENOSPC`, `EIO`.
#[allow(
    unsafe_code,
    reason = "rustix wraps FICLONE, but not FICLONERANGE; nor does any other crate we use"
)]
pub(super) fn share(target: &File, offset: u64, source: &File, length: u64) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: source.as_raw_fd().into(),
        src_offset: 0,
        src_length: length,
        dest_offset: offset,
    };
    // SAFETY: FICLONERANGE reads one `file_clone_range`, which `range` is, and writes
    // nothing to memory; both files stay open throughout.
    let result = unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The file system's block in bytes, where it says one that can be.
pub(super) fn block_size(file: &File) -> Option<u64> {
    let size = u64::try_from(fstatfs(file).ok()?.block_size()).ok()?;
    (size.is_power_of_two() && size <= 1 << 20).then_some(size)
}
