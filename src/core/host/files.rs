// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files that the program above core may write: its own records and settings, and nothing else
//! of the host.

use std::io;
use std::path::{Component, Path};

use super::Root;
use super::durable::Durable;

/// Where they are, on the host.
const DIRECTORIES: [&str; 2] = ["/var/lib/flipside", "/etc/flipside"];

/// The way to these files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    root: Root,
    durable: Durable,
}

impl Files {
    /// Of the host below `root`.
    pub fn new(root: &Root, durable: &Durable) -> Self {
        Self { root: root.clone(), durable: durable.clone() }
    }

    /// Makes `path` and its missing parents, each name made durable.
    ///
    /// # Errors
    /// The file system's; `PermissionDenied` for what is not flipside's own.
    pub fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.durable.make_directory(path)
    }

    /// Replaces `path` by a file with these contents: after a power cut there is the old one or
    /// the new one, whole.
    ///
    /// # Errors
    /// As [`Files::make_directory`]. The old file then still stands.
    pub fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.check(path)?;
        self.durable.replace(path, contents)
    }

    /// Appends `line` and a line feed to `path`, making it where it is missing. The last lines may
    /// be lost in a power cut.
    ///
    /// # Errors
    /// As [`Files::make_directory`].
    pub fn append_line(&self, path: &Path, line: &str) -> io::Result<()> {
        self.check(path)?;
        self.durable.append_line(path, line)
    }

    /// Removes the name `path`; durable only after [`Files::sync_directory`].
    ///
    /// # Errors
    /// As [`Files::make_directory`].
    pub fn unlink(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.durable.unlink(path)
    }

    /// Makes the names in `directory` durable.
    ///
    /// # Errors
    /// As [`Files::make_directory`].
    pub fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.check(directory)?;
        self.durable.sync_directory(directory)
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        let is_own = DIRECTORIES.iter().any(|directory| {
            path.strip_prefix(self.root.path(directory))
                .is_ok_and(|below| below.components().all(|part| part != Component::ParentDir))
        });
        if is_own {
            return Ok(());
        }
        let what = format!("{} is not flipside's own", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_files_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let files = Files::new(&root, &Durable::new());
        for own in ["/var/lib/flipside", "/var/lib/flipside/policy", "/etc/flipside/x.d"] {
            files.make_directory(&root.path(own)).unwrap();
            files.replace(&root.path(own).join("file"), b"").unwrap();
        }
        for other in [
            "/var/lib",
            "/var/lib/flipside2/file",
            "/etc/passwd",
            "/efi/EFI/flipside/slot-a.json",
            "/etc/flipside/../passwd",
            "/run/flipside/lock",
        ] {
            let error = files.replace(&root.path(other), b"").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{other}");
            assert!(!root.path(other).is_file(), "{other}");
        }
    }

    #[test]
    fn the_way_to_the_root_may_climb() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("beside")).unwrap();
        let root = Root::new(directory.path().join("beside/.."));
        let files = Files::new(&root, &Durable::new());
        let own = root.path("/var/lib/flipside");
        files.make_directory(&own).unwrap();
        files.replace(&own.join("file"), b"").unwrap();
        assert!(directory.path().join("var/lib/flipside/file").is_file());
    }
}
