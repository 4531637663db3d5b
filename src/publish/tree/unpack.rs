// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tree as a directory, for who makes a file system of directories only. Only root can do that: the
//! files have owners.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags};

use super::super::PublishError;
use super::{Content, Inode, Kind, Tree};

/// How much is copied at a time, in bytes.
const PIECE: usize = 256 << 10;

/// Writes `tree` into `directory`, which is empty. Nobody else may write there: names are followed.
pub(super) fn unpack(tree: &Tree, directory: &Path) -> Result<(), PublishError> {
    let path = |name: &[u8]| match name {
        [] => directory.to_owned(),
        name => directory.join(OsStr::from_bytes(name)),
    };
    let mut first: HashMap<usize, PathBuf> = HashMap::new();
    for (name, number, inode) in tree.all() {
        let path = path(name);
        if let Some(first) = first.get(&number) {
            fs::hard_link(first, &path).map_err(PublishError::file("create", &path))?;
            continue;
        }
        make(inode, &path, name.is_empty())?;
        dress(inode, &path).map_err(PublishError::file("create", &path))?;
        if !inode.is_directory() {
            first.insert(number, path);
        }
    }
    // Not before: what is put into a directory changes its time.
    for (name, _, inode) in tree.all().filter(|(_, _, inode)| inode.is_directory()) {
        let path = path(name);
        set_time(inode, &path).map_err(PublishError::file("create", &path))?;
    }
    Ok(())
}

fn make(inode: &Inode, path: &Path, is_root: bool) -> Result<(), PublishError> {
    let failed = || PublishError::file("create", path);
    match &inode.kind {
        Kind::Directory if is_root => Ok(()),
        Kind::Directory => fs::create_dir(path).map_err(failed()),
        Kind::Link(target) => symlink(OsStr::from_bytes(target), path).map_err(failed()),
        Kind::Fifo => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)
            .map_err(|error| failed()(error.into())),
        Kind::File(content) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let mut file = opened.map_err(failed())?;
            write(content, &mut file, path)
        }
    }
}

/// Writes the bytes of a file.
fn write(content: &Content, to: &mut File, path: &Path) -> Result<(), PublishError> {
    match content {
        Content::Bytes(bytes) => to.write_all(bytes).map_err(PublishError::file("write", path)),
        Content::Path(from) => {
            let mut from = File::open(from).map_err(PublishError::file("read", from))?;
            io::copy(&mut from, to).map(|_| ()).map_err(PublishError::file("write", path))
        }
        Content::Part { file, offset, length } => {
            let (mut at, mut left) = (*offset, *length);
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            while left > 0 {
                let now = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
                let piece = piece.get_mut(..now).unwrap_or_default();
                file.read_exact_at(piece, at).map_err(PublishError::file("read", path))?;
                to.write_all(piece).map_err(PublishError::file("write", path))?;
                at = at.saturating_add(now as u64);
                left = left.saturating_sub(now as u64);
            }
            Ok(())
        }
    }
}

/// Owner first: to change it takes set-uid bits and capabilities away.
fn dress(inode: &Inode, path: &Path) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(inode.uid), Some(inode.gid))?;
    if !matches!(inode.kind, Kind::Link(_)) {
        rustix::fs::chmod(path, Mode::from_raw_mode(inode.mode))?;
    }
    for (name, value) in &inode.xattrs {
        rustix::fs::lsetxattr(path, name.as_slice(), value, XattrFlags::empty())?;
    }
    set_time(inode, path)
}

fn set_time(inode: &Inode, path: &Path) -> io::Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec: inode.mtime, tv_nsec: 0 };
    let times = Timestamps { last_access, last_modification };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The bytes of a small file, where it is one.
pub(super) fn small(content: &Content, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match content {
        Content::Bytes(all) => bytes.clone_from(all),
        Content::Path(path) => {
            File::open(path).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
        }
        Content::Part { file, offset, length } => {
            bytes.resize(usize::try_from((*length).min(limit + 1)).ok()?, 0);
            file.read_exact_at(&mut bytes, *offset).ok()?;
        }
    }
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// Writes a file of the tree to `path`.
pub(super) fn extract(content: &Content, path: &Path) -> Result<(), PublishError> {
    let mut file = File::create(path).map_err(PublishError::file("create", path))?;
    write(content, &mut file, path)
}
