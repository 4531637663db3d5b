// SPDX-License-Identifier: MIT OR Apache-2.0

//! The directory that is the host: `/`, or any other with the same files.

use std::path::{Path, PathBuf};

/// The root below which every path is taken (`--root`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The host in `directory`; `/` is the machine itself.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The machine itself.
    pub fn live() -> Self {
        Self::new("/")
    }

    /// Whether this is the machine itself rather than a directory.
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Where `path`, absolute on the host, is found from here.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// How `path` is called on the host: the inverse of [`Root::path`].
    pub fn on_host(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.0) {
            Ok(below) => Path::new("/").join(below),
            Err(_) => path.to_owned(),
        }
    }
}
