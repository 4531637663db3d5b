// SPDX-License-Identifier: MIT OR Apache-2.0

//! A payload's file, read while others may be writing to it.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::PublishError;

/// A regular file or block device, open for reading, with what it was when it was opened.
#[derive(Debug)]
pub(super) struct Input {
    name: String,
    path: PathBuf,
    file: File,
    size: u64,
    /// Modification and status change, in seconds and nanoseconds.
    times: [i64; 4],
}

impl Input {
    /// Opens the payload `name` in the file `path`.
    pub(super) fn open(name: &str, path: &Path) -> Result<Self, PublishError> {
        let failed = || PublishError::file("open", path);
        let unreadable =
            || PublishError::PayloadUnreadable { name: name.to_owned(), path: path.to_owned() };
        // Opening a FIFO would wait for a writer.
        let nonblocking = OFlag::O_NONBLOCK.bits();
        let mut file =
            OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(failed())?;
        let metadata = file.metadata().map_err(failed())?;
        let size = if metadata.is_file() {
            metadata.len()
        } else if metadata.file_type().is_block_device() {
            file.seek(SeekFrom::End(0)).map_err(failed())?
        } else {
            return Err(unreadable());
        };
        let times = times(&metadata);
        Ok(Self { name: name.to_owned(), path: path.to_owned(), file, size, times })
    }

    /// The clone of `input` that `file` has become.
    pub(super) fn of_clone(input: &Self, file: &File) -> Result<Self, PublishError> {
        let failed = || PublishError::file("read", &input.path);
        let file = file.try_clone().map_err(failed())?;
        let metadata = file.metadata().map_err(failed())?;
        if metadata.len() != input.size {
            return Err(input.changed());
        }
        let (name, path) = (input.name.clone(), input.path.clone());
        Ok(Self { name, path, file, size: input.size, times: times(&metadata) })
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `bytes` from `offset`.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), PublishError> {
        self.file.read_exact_at(bytes, offset).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.changed(),
            _ => PublishError::File { operation: "read", path: self.path.clone(), source },
        })
    }

    /// Refuses a file that is not as it was when it was opened: some chunks may be
    /// of before, some of after. A block device shows no such traces.
    pub(super) fn check_unchanged(&self) -> Result<(), PublishError> {
        let metadata = self.file.metadata().map_err(PublishError::file("read", &self.path))?;
        if metadata.is_file() && (metadata.len() != self.size || times(&metadata) != self.times) {
            return Err(self.changed());
        }
        Ok(())
    }

    /// The error for a payload that changed.
    pub(super) fn changed(&self) -> PublishError {
        PublishError::PayloadChanged { name: self.name.clone(), path: self.path.clone() }
    }
}

fn times(metadata: &std::fs::Metadata) -> [i64; 4] {
    [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()]
}
