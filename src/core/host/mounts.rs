// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is mounted where on this host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use flipside_image::proc::{Mount, Mounts};

use super::Root;

/// Reads the mounts. `None` where the host has no such file: a host in a directory.
///
/// # Errors
/// The file system's.
pub fn read(root: &Root) -> io::Result<Option<Mounts>> {
    match fs::read(root.path("proc/self/mountinfo")) {
        Ok(text) => Ok(Some(Mounts::parse(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `path` of the host without symbolic links, as far as it exists.
pub fn real_path(root: &Root, path: &Path) -> PathBuf {
    let directory = fs::canonicalize(root.directory()).unwrap_or(root.directory().to_owned());
    let real = path.ancestors().find_map(|above| {
        let real = fs::canonicalize(root.path(above)).ok()?;
        let on_host = Path::new("/").join(real.strip_prefix(&directory).ok()?);
        let missing = path.strip_prefix(above).ok()?;
        Some(if missing.as_os_str().is_empty() { on_host } else { on_host.join(missing) })
    });
    real.unwrap_or_else(|| path.to_owned())
}
