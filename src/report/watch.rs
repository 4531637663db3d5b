// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for the status file to change: inotify(7), which needs no privilege.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::ReportError;
use super::file::PATH;
use flipside_core::host::Root;

/// What may change the file. It is replaced as a whole; whoever writes into it is noticed too.
const FILE: AddWatchFlags = AddWatchFlags::IN_MOVED_TO
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_DELETE)
    .union(PLACE);

/// What may bring the directory that is not there yet, or take away the one that is.
const PLACE: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Watches the status file of a host. Neither the file nor its directory has to be there: `/run` is
/// empty after a boot, and a run makes them.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    file: PathBuf,
    /// The directory that is watched: the file's own, or the nearest above it.
    watched: Option<(WatchDescriptor, PathBuf)>,
}

impl Watch {
    /// Watches the file of the host in `root` from here on.
    ///
    /// # Errors
    /// [`ReportError::Watch`]: the kernel gives no inotify instance, or the root is gone.
    pub fn of(root: &Root) -> Result<Self, ReportError> {
        let file = root.path(PATH);
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = match Inotify::init(flags) {
            Ok(inotify) => inotify,
            Err(error) => return Err(ReportError::Watch { path: file, source: error.into() }),
        };
        let mut watch = Self { inotify, file, watched: None };
        watch.arm().map_err(|source| watch.failed(source))?;
        Ok(watch)
    }

    /// Takes what has happened since the last call, without waiting for more: whether the file may
    /// have changed. [`AsFd`] is readable when there is something to take.
    ///
    /// # Errors
    /// [`ReportError::Watch`].
    pub fn take(&mut self) -> Result<bool, ReportError> {
        let has_changed = self.drain().map_err(|source| self.failed(source))?;
        let has_moved = self.arm().map_err(|source| self.failed(source))?;
        Ok(has_changed || has_moved)
    }

    /// Waits until the file may have changed.
    ///
    /// # Errors
    /// [`ReportError::Watch`].
    pub fn wait(&mut self) -> Result<(), ReportError> {
        while !self.take()? {
            let mut polled = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(self.failed(error.into())),
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ReportError {
        ReportError::Watch { path: self.file.clone(), source }
    }

    fn drain(&self) -> io::Result<bool> {
        let mut has_changed = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    has_changed |= events.iter().any(|event| {
                        // Beside it stand the lock and the next document under its temporary name.
                        event.name.as_deref() == self.file.file_name()
                            || event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    });
                }
                Err(Errno::EAGAIN) => return Ok(has_changed),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Watches the file's directory, or the nearest above it that is there. Whether that is another
    /// one than before.
    fn arm(&mut self) -> io::Result<bool> {
        let before = self.watched.as_ref().map(|(watch, _)| *watch);
        let mut last = None;
        loop {
            let (watch, place) = self.nearest()?;
            if let Some((old, _)) = self.watched.take_if(|(old, _)| *old != watch) {
                // The kernel dropped it already where the directory is gone.
                let _ = self.inotify.rm_watch(old);
            }
            let is_missed = self.next_below(&place).is_some_and(|below| below.is_dir());
            self.watched = Some((watch, place));
            // The next directory may have come before this watch did; or it may not be read.
            if !is_missed || last == Some(watch) {
                return Ok(before != Some(watch));
            }
            last = Some(watch);
        }
    }

    fn nearest(&self) -> io::Result<(WatchDescriptor, PathBuf)> {
        let mut flags = FILE;
        let mut last = io::ErrorKind::NotFound.into();
        for place in self.file.ancestors().skip(1) {
            match self.inotify.add_watch(place, flags) {
                Ok(watch) => return Ok((watch, place.to_owned())),
                Err(error @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => {
                    last = error.into();
                }
                Err(error) => return Err(error.into()),
            }
            flags = PLACE;
        }
        Err(last)
    }

    /// The directory on the way from `place` to the file; `None` where `place` is the file's own.
    fn next_below(&self, place: &Path) -> Option<PathBuf> {
        let rest = self.file.parent()?.strip_prefix(place).ok()?;
        rest.components().next().map(|next| place.join(next))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::StatusFile;
    use crate::report::example::full;

    /// A step on the way, and whether the file may have changed by it.
    type Step = (&'static str, fn(&Path), bool);

    #[test]
    fn the_file_is_followed_wherever_it_comes_from_and_goes() {
        let steps: [Step; 13] = [
            ("nothing", |_| (), false),
            ("a neighbour of /run", |root| std::fs::create_dir(root.join("etc")).unwrap(), false),
            ("/run", |root| std::fs::create_dir(root.join("run")).unwrap(), true),
            ("the directory", |root| std::fs::create_dir(root.join("run/flipside")).unwrap(), true),
            ("a lock", |root| std::fs::write(root.join("run/flipside/lock"), "").unwrap(), false),
            (
                "the first document",
                |root| StatusFile::of(&Root::new(root)).write(&full()).unwrap(),
                true,
            ),
            (
                "the next document",
                |root| StatusFile::of(&Root::new(root)).write(&full()).unwrap(),
                true,
            ),
            ("cut short", |root| std::fs::write(root.join(PATH), "{").unwrap(), true),
            ("removed", |root| std::fs::remove_file(root.join(PATH)).unwrap(), true),
            ("all gone", |root| std::fs::remove_dir_all(root.join("run")).unwrap(), true),
            ("all at once", |root| StatusFile::of(&Root::new(root)).write(&full()).unwrap(), true),
            (
                "moved away",
                |root| std::fs::rename(root.join("run/flipside"), root.join("run/old")).unwrap(),
                true,
            ),
            (
                "another in its place",
                |root| StatusFile::of(&Root::new(root)).write(&full()).unwrap(),
                true,
            ),
        ];
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::of(&Root::new(directory.path())).unwrap();
        for (name, step, has_changed) in steps {
            step(directory.path());
            assert_eq!(watch.take().unwrap(), has_changed, "{name}");
            assert!(!watch.take().unwrap(), "{name}, again");
        }
        assert!(Watch::of(&Root::new(directory.path().join("no"))).unwrap().watched.is_some());
    }
}
