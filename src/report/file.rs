// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status document in `/run`, for everybody to read.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use serde::Deserialize;

use super::status::VERSION;
use super::{ReportError, Status};
use flipside_core::host::Root;

/// Where the document is.
pub const PATH: &str = "run/flipside/status.json";

/// The shortest time between two writes of what only progressed.
const INTERVAL: Duration = Duration::from_millis(200);

/// The most bytes that are read.
const LIMIT: u64 = 1 << 20;

/// The status file of a host. Readers see the old document or the new one, whole. It does
/// not outlive a reboot, so it is not made durable.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    last: Option<Instant>,
}

impl StatusFile {
    /// The file of the host in `root`.
    pub fn of(root: &Root) -> Self {
        Self { path: root.path(PATH), last: None }
    }

    /// Replaces the document.
    ///
    /// # Errors
    /// [`ReportError::Write`]. No reason to end a run.
    pub fn write(&mut self, status: &Status) -> Result<(), ReportError> {
        self.last = Some(Instant::now());
        self.replace(status)
            .map_err(|source| ReportError::Write { path: self.path.clone(), source })
    }

    /// Replaces the document, unless that was done a moment ago.
    ///
    /// # Errors
    /// As [`StatusFile::write`].
    pub fn offer(&mut self, status: &Status) -> Result<(), ReportError> {
        match self.last {
            Some(last) if last.elapsed() < INTERVAL => Ok(()),
            _ => self.write(status),
        }
    }

    fn replace(&self, status: &Status) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(status)?;
        bytes.push(b'\n');
        replace_in_run(&self.path, &bytes)
    }

    /// The document; `None` where none was written since the boot.
    ///
    /// # Errors
    /// [`ReportError::Read`], [`ReportError::NotAStatus`], [`ReportError::StatusVersion`].
    pub fn read(&self) -> Result<Option<Status>, ReportError> {
        Ok(self.read_with_text()?.map(|(status, _)| status))
    }

    /// The document, and the text that it was read from.
    ///
    /// # Errors
    /// As [`StatusFile::read`].
    pub fn read_with_text(&self) -> Result<Option<(Status, String)>, ReportError> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            version: u32,
        }
        let path = || self.path.clone();
        let bytes = match self.bytes() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReportError::Read { path: path(), source }),
            Ok(bytes) => bytes,
        };
        let malformed = |source| ReportError::NotAStatus { path: path(), source };
        let OnlyVersion { version } = serde_json::from_slice(&bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(ReportError::StatusVersion { path: path(), version });
        }
        let status = serde_json::from_slice(&bytes).map_err(malformed)?;
        // JSON that was understood is UTF-8.
        Ok(Some((status, String::from_utf8_lossy(&bytes).into_owned())))
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        // A pipe in its place must not hold up whoever looks.
        let flags = OFlag::O_NONBLOCK.bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if metadata.len() > LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Puts a JSON document that everybody may read at `path`, below `/run`. Who reads it meanwhile has
/// the old one or the new one, whole.
///
/// # Errors
/// The file system's; nothing is left of the new one.
pub(crate) fn replace_in_run(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // Two processes may write at a time: `status` for a person, and a run.
    let new = path.with_extension(format!("json.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)
        .and_then(|mut file| {
            // Whatever the umask says.
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.write_all(bytes)
        })
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::full;

    fn host() -> (tempfile::TempDir, StatusFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = StatusFile::of(&Root::new(directory.path()));
        (directory, file)
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let (directory, mut file) = host();
        assert_eq!(file.read().unwrap(), None);
        file.write(&full()).unwrap();
        assert_eq!(file.read().unwrap(), Some(full()));
        let path = directory.path().join(PATH);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_only_progressed_is_written_five_times_a_second() {
        let (_directory, mut file) = host();
        let mut status = full();
        file.offer(&status).unwrap();
        status.reboot_required = !status.reboot_required;
        file.offer(&status).unwrap();
        assert_ne!(file.read().unwrap().unwrap(), status);
        file.write(&status).unwrap();
        assert_eq!(file.read().unwrap().unwrap(), status);
        std::thread::sleep(INTERVAL);
        status.follows = None;
        file.offer(&status).unwrap();
        assert_eq!(file.read().unwrap().unwrap(), status);
    }

    #[test]
    fn other_documents_are_refused_by_name() {
        use flipside_image::code::Coded as _;
        let (directory, file) = host();
        let path = directory.path().join(PATH);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in ["", "{}", "[1]", "{\"version\": 2}", "{\"version\": 1}"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(file.read().unwrap_err().code().name(), "status-malformed", "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(file.read().unwrap_err().code().name(), "report-unreadable");
    }

    #[test]
    fn what_is_no_file_of_this_size_is_not_waited_for() {
        use flipside_image::code::Coded as _;
        let (directory, file) = host();
        let path = directory.path().join(PATH);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(file.read().unwrap_err().code().name(), "report-unreadable");
        std::fs::remove_file(&path).unwrap();
        let mut text = serde_json::to_string(&full()).unwrap();
        text.push_str(&" ".repeat(LIMIT as usize - text.len()));
        std::fs::write(&path, &text).unwrap();
        assert_eq!(file.read().unwrap(), Some(full()));
        std::fs::write(&path, text + " ").unwrap();
        assert_eq!(file.read().unwrap_err().code().name(), "report-unreadable");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let (directory, mut file) = host();
        std::fs::write(directory.path().join("run"), "a file").unwrap();
        assert!(matches!(file.write(&full()), Err(ReportError::Write { .. })));
    }
}
