// SPDX-License-Identifier: MIT OR Apache-2.0

//! The EFI system partition of a disk after a power cut: through fsck, as at each boot, and then
//! every file of it.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// The directories that flipside works in. Others may be garbage that fsck has left, and lead
/// nowhere, or back.
const DIRECTORIES: [&str; 5] = ["efi", "efi/boot", "efi/flipside", "loader", "loader/entries"];
/// What a directory entry takes at least.
const ENTRY: usize = 32;

/// Files by their path in lower case, with `/` between.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Lets fsck.vfat repair the file system in `bytes`, by way of the file `scratch`; `None` where it
/// gives up.
///
/// # Errors
/// It cannot be run.
pub fn repaired(bytes: &[u8], scratch: &Path) -> Result<Option<Vec<u8>>> {
    std::fs::write(scratch, bytes)?;
    let fsck = fsck(scratch)?;
    let status = Command::new(fsck)
        .arg("-a")
        .arg(scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    // 1: there were errors, and they are repaired (fsck.fat(8)).
    let is_repaired = matches!(status.code(), Some(0 | 1));
    Ok(is_repaired.then(|| std::fs::read(scratch)).transpose()?)
}

fn fsck(scratch: &Path) -> Result<PathBuf> {
    let places = ["/usr/sbin/fsck.vfat", "/sbin/fsck.vfat"].map(PathBuf::from);
    let found = places.into_iter().find(|path| path.exists());
    found.with_context(|| format!("no fsck.vfat for {}", scratch.display()))
}

/// Every file of the file system in `bytes` that stands in one of [`DIRECTORIES`].
///
/// # Errors
/// It cannot be read; it has more in it than it has room for, as where clusters or directories
/// lead back to themselves.
pub fn files(bytes: Vec<u8>) -> Result<Files> {
    let mut room = bytes.len();
    let fat = fatfs::FileSystem::new(Cursor::new(bytes), fatfs::FsOptions::new())?;
    let mut files = Files::new();
    let mut pending = vec![(String::new(), fat.root_dir())];
    while let Some((path, directory)) = pending.pop() {
        for entry in directory.iter() {
            let entry = entry.with_context(|| format!("/{path}"))?;
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            let inside = format!("{path}{}", name.to_lowercase());
            room = room.checked_sub(ENTRY).with_context(|| format!("no end at {inside}"))?;
            if entry.is_dir() {
                if DIRECTORIES.contains(&inside.as_str()) {
                    pending.push((format!("{inside}/"), entry.to_dir()));
                }
            } else {
                let mut content = Vec::new();
                let limit = room as u64 + 1;
                entry.to_file().take(limit).read_to_end(&mut content).context(inside.clone())?;
                room = room
                    .checked_sub(content.len())
                    .with_context(|| format!("{inside} has more bytes than the partition"))?;
                files.insert(inside, content);
            }
        }
    }
    Ok(files)
}
