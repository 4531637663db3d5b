// SPDX-License-Identifier: MIT OR Apache-2.0

//! One transaction per host at a time.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::host::Root;

/// Where the lock file stands. It lives in `/run`, so a dead machine leaves no lock.
const LOCK: &str = "/run/flipside/lock";

/// Held as long as the value lives; the kernel gives it back when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
                Err(Error::Locked) if begun.elapsed() < patience => {
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
    /// where the file cannot be made.
    pub fn take(root: &Root) -> Result<Self, Error> {
        let path = root.path(LOCK);
        let failed = |path: PathBuf| move |source| Error::LockFile { path, source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed(path.clone()))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(path.clone()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(Error::Locked),
            Err(error) => Err(failed(path)(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let first = Lock::take(&root).unwrap();
        assert!(matches!(Lock::take(&root), Err(Error::Locked)));
        let stop = Cancel::new();
        let impatient = Lock::wait(&root, Duration::ZERO, &stop);
        assert!(matches!(impatient, Err(Error::Locked)));
        let patient = std::thread::spawn({
            let root = root.clone();
            move || Lock::wait(&root, Duration::from_secs(60), &stop).is_ok()
        });
        drop(first);
        assert!(patient.join().unwrap());
        Lock::take(&root).unwrap();
    }
}
