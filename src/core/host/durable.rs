// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every step that must survive a power cut goes through here: file writes, syncs, unlinks and
//! firmware variables. One place to read, one place for the crash test to listen at.
//!
//! Three kinds of files that may be lost come here too, because they stand on a disk: the history, the
//! configs that are kept, and a boot file before it is written. What stands in `/run` does not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::statfs::{MSDOS_SUPER_MAGIC, fstatfs};
use nix::unistd::syncfs;
use rustix::fs::IFlags;

use super::open::NO_FOLLOW;

/// One step towards durability, as a [`StepObserver`] sees it before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// A new directory; durable with its parent's [`Step::SyncDirectory`].
    MakeDirectory(&'a Path),
    /// A new, empty file, or an old one made empty.
    Create(&'a Path),
    /// A file's length, longer with zeroes or shorter.
    SetLength(&'a Path, u64),
    /// Bytes at an offset; durable with the file's [`Step::Sync`].
    Write(&'a Path, u64, &'a [u8]),
    /// fsync of a file or a block device: its own bytes and length only.
    Sync(&'a Path),
    /// fsync of a directory: the names in it.
    SyncDirectory(&'a Path),
    /// A name removed; durable with the directory's sync.
    Unlink(&'a Path),
    /// A name moved over another within one directory, atomically. Never on the ESP:
    /// FAT cannot.
    Rename(&'a Path, &'a Path),
    /// A firmware variable written: path in efivarfs, attributes and data.
    /// Durable when done.
    SetVariable(&'a Path, &'a [u8]),
    /// A firmware variable removed. Durable when done.
    RemoveVariable(&'a Path),
    /// A file without a name, of this length, in a directory. No power cut leaves anything of it.
    CreateUnnamed(&'a Path, u64),
    /// Bytes at an offset of such a file.
    WriteUnnamed(&'a Path, u64, &'a [u8]),
    /// Not a step but the name of the part of the transaction that begins.
    Phase(&'static str),
}

/// Sees each step before it is done, and may have it fail. This is how tests
/// record a run and inject faults; in production there is none.
pub trait StepObserver: Send + Sync {
    /// Called before the step. An error is reported in its place, and the step is not done.
    ///
    /// # Errors
    /// Whatever the step is to fail with.
    fn before(&self, step: &Step<'_>) -> io::Result<()>;
}

/// The way to the disk and to NVRAM. Cheap to clone. Only core writes by it; the program above holds
/// it for core, and has [`Files`](super::Files) for itself.
#[derive(Clone, Default)]
pub struct Durable {
    observer: Option<Arc<dyn StepObserver>>,
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").field("observed", &self.observer.is_some()).finish()
    }
}

/// A file or block device that is open for durable writing.
#[derive(Debug)]
pub(crate) struct DurableFile {
    file: File,
    path: PathBuf,
}

impl DurableFile {
    /// What was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for reading and for asking; write through [`Durable`] only.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Durable {
    /// The real thing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The real thing, watched.
    #[cfg(any(test, feature = "testing"))]
    pub fn observed(observer: Arc<dyn StepObserver>) -> Self {
        Self { observer: Some(observer) }
    }

    fn announce(&self, step: &Step<'_>) -> io::Result<()> {
        match &self.observer {
            Some(observer) => observer.before(step),
            None => Ok(()),
        }
    }

    /// Says which part of the transaction begins.
    ///
    /// # Errors
    /// Only an observer's.
    pub(crate) fn phase(&self, name: &'static str) -> io::Result<()> {
        self.announce(&Step::Phase(name))
    }

    /// Takes a file that was opened for writing elsewhere (flags such as
    /// `O_EXCL` and `O_DIRECT` are its opener's matter).
    pub(crate) fn adopt(&self, file: File, path: impl Into<PathBuf>) -> DurableFile {
        DurableFile { file, path: path.into() }
    }

    /// Makes `path` and its missing parents, each name made durable.
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn make_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let Some(parent) = path.parent() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.make_directory(parent)?;
        self.announce(&Step::MakeDirectory(path))?;
        std::fs::create_dir(path)?;
        self.sync_directory(parent)
    }

    /// Creates `path` empty, or empties it, for reading and writing. The name is
    /// durable only after [`Durable::sync_directory`].
    ///
    /// # Errors
    /// Any of the file system's; `ELOOP` for a symbolic link.
    pub(crate) fn create(&self, path: &Path) -> io::Result<DurableFile> {
        self.announce(&Step::Create(path))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.custom_flags(NO_FOLLOW.bits()).open(path)?;
        Ok(self.adopt(file, path))
    }

    /// Opens an existing file for reading and writing, as it is.
    ///
    /// # Errors
    /// Any of the file system's; `ELOOP` for a symbolic link.
    pub(crate) fn open(&self, path: &Path) -> io::Result<DurableFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(NO_FOLLOW.bits());
        Ok(self.adopt(options.open(path)?, path))
    }

    /// Opens a disk for reading and writing. Its name may be a link, as in `/dev/disk`.
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn open_disk(&self, path: &Path) -> io::Result<DurableFile> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(self.adopt(file, path))
    }

    /// Makes a file without a name in `directory` (`O_TMPFILE`, open(2)), with room for `length` bytes
    /// as far as the file system can reserve it. It is gone once it is closed.
    ///
    /// # Errors
    /// Any of the file system's; not every one has such files.
    pub(crate) fn create_unnamed(&self, directory: &Path, length: u64) -> io::Result<DurableFile> {
        self.announce(&Step::CreateUnnamed(directory, length))?;
        let flags = OFlag::O_TMPFILE | OFlag::O_EXCL;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(flags.bits())
            .open(directory)?;
        let size = i64::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => file.set_len(length)?,
            Err(error) => return Err(error.into()),
        }
        Ok(self.adopt(file, directory))
    }

    /// Writes all of `bytes` at `offset` of a file without a name.
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn write_unnamed(
        &self,
        file: &DurableFile,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.announce(&Step::WriteUnnamed(&file.path, offset, bytes))?;
        file.file.write_all_at(bytes, offset)
    }

    /// Sets the file's length in bytes.
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn set_length(&self, file: &DurableFile, length: u64) -> io::Result<()> {
        self.announce(&Step::SetLength(&file.path, length))?;
        file.file.set_len(length)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Any of the file system's or the device's.
    pub(crate) fn write_at(&self, file: &DurableFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.announce(&Step::Write(&file.path, offset, bytes))?;
        file.file.write_all_at(bytes, offset)
    }

    /// Makes the file's bytes and length durable (fsync, which on a block device also
    /// flushes the drive's cache).
    ///
    /// # Errors
    /// Any of the device's. After one, nothing about the file's bytes is known.
    pub(crate) fn sync(&self, file: &DurableFile) -> io::Result<()> {
        self.announce(&Step::Sync(&file.path))?;
        sync_whole(&file.file)
    }

    /// Makes the names in `directory` durable.
    ///
    /// # Errors
    /// Any of the file system's or the device's.
    pub(crate) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.announce(&Step::SyncDirectory(directory))?;
        sync_whole(&File::open(directory)?)
    }

    /// Removes the name `path`; durable only after [`Durable::sync_directory`].
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        self.announce(&Step::Unlink(path))?;
        std::fs::remove_file(path)
    }

    /// Replaces `path` by a file with these contents: after a power cut there is
    /// the old one or the new one, whole. Not for the ESP, where rename is not atomic.
    ///
    /// # Errors
    /// Any of the file system's. The old file then still stands, alone.
    pub(crate) fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut new_name = name.to_owned();
        new_name.push(".new");
        let new = directory.join(new_name);
        let file = self.create(&new)?;
        let written = self.write_at(&file, 0, contents).and_then(|()| self.sync(&file));
        if let Err(error) = written {
            // Nothing that is empty, or the beginning of a file, is left where there is no room.
            let _ = self.unlink(&new);
            return Err(error);
        }
        self.announce(&Step::Rename(&new, path))?;
        std::fs::rename(&new, path)?;
        self.sync_directory(directory)
    }

    /// Writes a file that may be lost in a power cut or come out torn: nothing is synced. Its
    /// reader has to notice.
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn write_unsynced(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let file = self.create(path)?;
        self.write_at(&file, 0, contents)
    }

    /// Appends `line` and a line feed to `path`, making it where it is missing. Not synced:
    /// the last lines may be lost in a power cut.
    ///
    /// # Errors
    /// Any of the file system's.
    pub(crate) fn append_line(&self, path: &Path, line: &str) -> io::Result<()> {
        let exists = std::fs::symlink_metadata(path).is_ok();
        let file = if exists { self.open(path)? } else { self.create(path)? };
        let end = file.file.metadata()?.len();
        self.write_at(&file, end, format!("{line}\n").as_bytes())
    }

    /// Writes a firmware variable: `contents` are 4 bytes of attributes and the
    /// data, in the one `write` that efivarfs asks for. The kernel makes most variables
    /// immutable against accidents (`Documentation/filesystems/efivarfs.rst`); the flag
    /// is cleared for the write and put back.
    ///
    /// # Errors
    /// efivarfs' own: `ENOSPC` where NVRAM is full, `EROFS`, `EPERM`, `EIO`.
    pub(crate) fn set_variable(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.announce(&Step::SetVariable(path, contents))?;
        let flags = clear_immutable(path)?;
        let written = write_variable(path, contents);
        if let Some(flags) = flags {
            restore_flags(path, flags);
        }
        written
    }

    /// Removes a firmware variable; one that is absent is removed already.
    ///
    /// # Errors
    /// efivarfs' own.
    pub(crate) fn remove_variable(&self, path: &Path) -> io::Result<()> {
        if !path.exists() {
            return Ok(());
        }
        self.announce(&Step::RemoveVariable(path))?;
        clear_immutable(path)?;
        std::fs::remove_file(path)
    }
}

fn write_variable(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.write(contents)? != contents.len() {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the variable was cut short"));
    }
    // efivarfs has the new length already; a plain file may have been longer.
    if file.metadata()?.len() > contents.len() as u64 {
        file.set_len(contents.len() as u64)?;
    }
    Ok(())
}

/// The flags from before, where there were any to clear.
fn clear_immutable(path: &Path) -> io::Result<Option<IFlags>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Not every file system has flags; then nothing is immutable.
    let Ok(flags) = rustix::fs::ioctl_getflags(&file) else { return Ok(None) };
    if !flags.contains(IFlags::IMMUTABLE) {
        return Ok(None);
    }
    rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
    Ok(Some(flags))
}

/// The flag protects against `rm -r`, not against us: failing to put it back is no
/// reason to call the write failed.
fn restore_flags(path: &Path, flags: IFlags) {
    if let Ok(file) = File::open(path)
        && let Err(error) = rustix::fs::ioctl_setflags(&file, flags)
    {
        tracing::debug!("cannot make {} immutable again: {error}", path.display());
    }
}

/// fsync, and on FAT what it leaves out: where the kernel wrote an inode back on its own before,
/// its directory entry waits in a sector that belongs to no file's fsync, with the file's size and first
/// cluster (Linux, `__fat_write_inode` and `fat_file_fsync`).
fn sync_whole(file: &File) -> io::Result<()> {
    // Every kind of FAT has this number (statfs(2)).
    if fstatfs(file).is_ok_and(|found| found.filesystem_type() == MSDOS_SUPER_MAGIC) {
        syncfs(file)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::open::open_to_read;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl StepObserver for Log {
        fn before(&self, step: &Step<'_>) -> io::Result<()> {
            let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
            let line = match step {
                Step::Create(p) => format!("create {}", name(p)),
                Step::Write(p, at, bytes) => format!("write {} {at} {}", name(p), bytes.len()),
                Step::Sync(p) => format!("sync {}", name(p)),
                Step::SyncDirectory(_) => "sync directory".into(),
                Step::Rename(from, to) => format!("rename {} {}", name(from), name(to)),
                other => format!("{other:?}"),
            };
            self.0.lock().unwrap().push(line);
            Ok(())
        }
    }

    #[test]
    fn a_replaced_file_is_durable_before_it_takes_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::default());
        let path = directory.path().join("state.json");
        Durable::observed(log.clone()).replace(&path, b"{}").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}");
        assert_eq!(
            *log.0.lock().unwrap(),
            [
                "create state.json.new",
                "write state.json.new 0 2",
                "sync state.json.new",
                "rename state.json.new state.json",
                "sync directory"
            ]
        );
    }

    #[test]
    fn a_step_that_an_observer_refuses_is_not_done() {
        struct Refuse;
        impl StepObserver for Refuse {
            fn before(&self, _: &Step<'_>) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let durable = Durable::observed(Arc::new(Refuse));
        assert!(durable.create(&path).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_shorter_variable_leaves_nothing_of_the_longer_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("BootOrder-x");
        let durable = Durable::new();
        durable.set_variable(&path, b"\x07\0\0\0abcd").unwrap();
        durable.set_variable(&path, b"\x07\0\0\0z").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\x07\0\0\0z");
        durable.remove_variable(&path).unwrap();
        durable.remove_variable(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let durable = Durable::new();
        let (other, link) = (directory.path().join("other"), directory.path().join("link"));
        std::fs::write(&other, "untouched").unwrap();
        std::os::unix::fs::symlink("other", &link).unwrap();
        std::os::unix::fs::symlink("other", directory.path().join("new.new")).unwrap();
        assert!(durable.create(&link).is_err());
        assert!(durable.open(&link).is_err());
        assert!(durable.append_line(&link, "x").is_err());
        assert!(durable.write_unsynced(&link, b"x").is_err());
        assert!(durable.replace(&directory.path().join("new"), b"x").is_err());
        assert!(open_to_read(&link).is_err());
        assert!(open_to_read(&other).is_ok() && durable.open_disk(&link).is_ok());
        assert_eq!(std::fs::read(&other).unwrap(), b"untouched");
        // What takes the place of a link leaves alone what it led to.
        durable.replace(&link, b"x").unwrap();
        assert_eq!(std::fs::read(&link).unwrap(), b"x");
        assert_eq!(std::fs::read(&other).unwrap(), b"untouched");
    }

    #[test]
    fn lines_are_appended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let durable = Durable::new();
        durable.append_line(&path, "one").unwrap();
        durable.append_line(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
