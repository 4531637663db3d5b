// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sharing a file's blocks with another file, where the file system can (XFS, btrfs,
//! bcachefs, OCFS2, ...).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `struct file_clone_range` of `linux/fs.h`.
#[repr(C)]
struct FileCloneRange {
    source: i64,
    source_offset: u64,
    length: u64,
    target_offset: u64,
}

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
    const FICLONERANGE: rustix::ioctl::Opcode = opcode::write::<FileCloneRange>(0x94, 13);
    let range = FileCloneRange {
        source: i64::from(source.as_raw_fd()),
        source_offset: 0,
        length,
        target_offset: offset,
    };
    // SAFETY: FICLONERANGE reads one `file_clone_range`, which `range` is, and writes
    // nothing to memory; both files stay open throughout.
    unsafe { ioctl(target, Setter::<FICLONERANGE, FileCloneRange>::new(range))? };
    Ok(())
}

/// The file system's block in bytes, where it says one that can be.
pub(super) fn block_size(file: &File) -> Option<u64> {
    let size = u64::try_from(rustix::fs::fstatfs(file).ok()?.f_bsize).ok()?;
    (size.is_power_of_two() && size <= 1 << 20).then_some(size)
}
