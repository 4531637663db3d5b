// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line of the kernel that runs.

use std::fs;
use std::io;

pub use flipside_image::proc::CommandLine;

use super::Root;
use super::error::HostError;

/// Reads it; a host without one has no parameters.
///
/// # Errors
/// The file system's.
pub fn read(root: &Root) -> Result<CommandLine, HostError> {
    let path = root.path("proc/cmdline");
    match fs::read(&path) {
        Ok(text) => Ok(CommandLine::parse(&String::from_utf8_lossy(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(CommandLine::default()),
        Err(error) => Err(HostError::io("read", path)(error)),
    }
}
