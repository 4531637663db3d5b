// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files in `/run/flipside` that say something by being there, until the machine is off.

use std::io;
use std::path::PathBuf;

use super::Root;

const DIRECTORY: &str = "/run/flipside";

/// One of them, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Marker(pub &'static str);

impl Marker {
    /// Where it is on the host below `root`.
    pub fn path(self, root: &Root) -> PathBuf {
        root.path(DIRECTORY).join(self.0)
    }

    /// Whether it is there.
    pub fn is_set(self, root: &Root) -> bool {
        self.path(root).exists()
    }

    /// Makes it, and its directory where that is missing. One that is there is written anew, which
    /// whoever watches it notices.
    ///
    /// # Errors
    /// The file system's.
    pub fn set(self, root: &Root) -> io::Result<()> {
        std::fs::create_dir_all(root.path(DIRECTORY))?;
        std::fs::write(self.path(root), "")
    }

    /// Removes it.
    ///
    /// # Errors
    /// The file system's; `NotFound` where it is not there.
    pub fn clear(self, root: &Root) -> io::Result<()> {
        std::fs::remove_file(self.path(root))
    }
}
