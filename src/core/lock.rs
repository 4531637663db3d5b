// SPDX-License-Identifier: MIT OR Apache-2.0

//! One transaction per host at a time.
//!
//! Whoever can open the lock file can hold the lock: flock(2) asks for no right to write. So the
//! file is its owner's alone. One that others could open was open to them before, and somebody may
//! hold it already; it is replaced.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::host::open::NO_FOLLOW;
use crate::host::{Root, trust};

mod holder;

/// Where the lock file stands. It lives in `/run`, so a dead machine leaves no lock.
const LOCK: &str = "/run/flipside/lock";
/// Locked while a lock file is replaced: two that replace it at once would each hold one.
const MENDING: &str = "/run/flipside/lock.mend";
/// Who but the owner may do something with a file (inode(7)).
const OTHERS: u32 = 0o077;
/// How often a lock is tried whose holder was gone by the time it was looked for.
const TRIES: u32 = 10;

/// Held as long as the value lives; the kernel gives it back when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// What stood in its place. A flipside that opened it before comes to wait for it.
    replaced: Option<File>,
}

impl Drop for Lock {
    /// A program that this process is starting may have the file open until it runs.
    fn drop(&mut self) {
        for file in [Some(&self.file), self.replaced.as_ref()].into_iter().flatten() {
            let _ = file.unlock();
        }
    }
}

impl Lock {
    /// Takes the lock, waiting for its holder for up to `patience`: for what has to be done
    /// in this boot, such as a promotion.
    ///
    /// # Errors
    /// As [`Lock::take`], and [`Error::Stopped`].
    pub fn wait(root: &Root, patience: Duration, stop: &Cancel) -> Result<Self, Error> {
        let begun = Instant::now();
        loop {
            match Self::take(root) {
                Err(Error::Locked { .. }) if begun.elapsed() < patience => {
                    stop.check()?;
                    std::thread::sleep(Duration::from_millis(100));
                }
                taken => return taken,
            }
        }
    }

    /// Takes the lock, without waiting: who comes second has nothing to add.
    ///
    /// # Errors
    /// [`Error::Locked`] where another flipside holds it, [`Error::LockFile`]
    /// where the file cannot be made, [`Error::LockPlace`] where others could use it.
    pub fn take(root: &Root) -> Result<Self, Error> {
        let path = root.path(LOCK);
        if let Some(directory) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755).create(directory).map_err(failed(&path))?;
            trust::check(root, directory).map_err(|error| unusable(&path, error.to_string()))?;
        }
        let mut file = open(&path)?;
        let mut replaced = None;
        if !is_private(&file, &path)? {
            let mending = open(&root.path(MENDING))?;
            mending.lock().map_err(failed(&path))?;
            file = open(&path)?;
            if !is_private(&file, &path)? {
                replaced = Some(replace(&path, file)?);
                file = open(&path)?;
            }
        }
        if !try_hold(&file, &path)? {
            return Err(Error::Locked { holder: holder::of(&file) });
        }
        // For people, and for who comes second where the kernel's list cannot be read.
        let _ = file.set_len(0);
        let own = nix::unistd::getpid();
        let _ = file.write_all_at(format!("{own}\n").as_bytes(), 0);
        Ok(Self { file, replaced })
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::LockFile { path, source }
}

fn unusable(path: &Path, what: impl Into<String>) -> Error {
    Error::LockPlace { path: path.to_owned(), what: what.into() }
}

fn open(path: &Path) -> Result<File, Error> {
    // A FIFO in the place of the file must not make a run wait for a reader.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(NO_FOLLOW.bits()).open(path).map_err(failed(path))?;
    match file.metadata().map_err(failed(path))?.is_file() {
        true => Ok(file),
        false => Err(unusable(path, "it is not a regular file; remove it")),
    }
}

/// Whether nobody else could have opened it.
fn is_private(file: &File, path: &Path) -> Result<bool, Error> {
    let found = file.metadata().map_err(failed(path))?;
    Ok(trust::is_own(found.uid()) && found.mode() & OTHERS == 0)
}

/// Whether it is held now.
fn try_hold(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed(path)(error)),
    }
}

/// Puts a file that nobody else can open in the place of `old`, which is returned. Only whoever holds
/// [`MENDING`] may.
fn replace(path: &Path, old: File) -> Result<File, Error> {
    if !is_free(&old, path)? {
        tracing::warn!("{} is held by another user's process: it is replaced", path.display());
    }
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&new)(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(&new).map_err(failed(&new))?;
    std::fs::rename(&new, path).map_err(failed(path))?;
    Ok(old)
}

/// Whether `old` is held by this process now; if not, another user's process holds it.
///
/// # Errors
/// [`Error::Locked`] where an older flipside holds it, which made it so, or where that cannot be told.
fn is_free(old: &File, path: &Path) -> Result<bool, Error> {
    for _ in 0..TRIES {
        if try_hold(old, path)? {
            return Ok(true);
        }
        match holder::by_kernel(old) {
            Some(pid) if holder::may_be_flipside(pid) => {
                return Err(Error::Locked { holder: Some(pid) });
            }
            Some(_) => return Ok(false),
            None => {}
        }
    }
    Err(Error::Locked { holder: holder::of(old) })
}

#[cfg(test)]
mod tests;
