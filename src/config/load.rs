// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files of a host: which are read, and in which order.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::fragment::Fragment;
use super::merged::Merged;
use super::overlay::{self, LEVELS, Unreadable};
use super::{Config, ConfigError, Place};
use flipside_core::host::Root;

/// The most bytes that a file may have.
const FILE_LIMIT: u64 = 1 << 20;

impl From<Unreadable> for ConfigError {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable { path: error.path, source: error.source }
    }
}

impl Config {
    /// Reads the first of `etc`, `run`, `usr/lib` that has `flipside/flipside.toml`, then the
    /// drop-ins `flipside/flipside.toml.d/*.toml` of all three by file name. A host without
    /// any has the defaults, and follows nothing.
    ///
    /// # Errors
    /// [`ConfigError`]; a mistake anywhere refuses the whole configuration.
    pub fn load(root: &Root) -> Result<Self, ConfigError> {
        merge(root)?.validate()
    }

    /// Where `key` is set on the host below `root`, in the file that counts; `None` for a default.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn place_of(root: &Root, key: &str) -> Result<Option<Place>, ConfigError> {
        Ok(merge(root)?.place(key))
    }

    /// The files that [`Config::load`] reads, in that order.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`].
    pub fn files(root: &Root) -> Result<Vec<PathBuf>, ConfigError> {
        let mut files = Vec::new();
        files.extend(overlay::first(root, &LEVELS, "flipside/flipside.toml")?);
        files.extend(overlay::scan(root, &LEVELS, "flipside/flipside.toml.d", |name| {
            let name = name.as_encoded_bytes();
            name.ends_with(b".toml") && !name.starts_with(b".")
        })?);
        Ok(files)
    }

    /// The configuration that one file alone makes.
    ///
    /// # Errors
    /// [`ConfigError`], naming `file`.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut merged = Merged::default();
        merged.overlay(Fragment::parse(file, bytes)?);
        merged.validate()
    }
}

fn merge(root: &Root) -> Result<Merged, ConfigError> {
    let mut merged = Merged::default();
    for file in Config::files(root)? {
        let bytes =
            read(&file).map_err(|source| ConfigError::Unreadable { path: file.clone(), source })?;
        merged.overlay(Fragment::parse(&file, &bytes)?);
    }
    Ok(merged)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO in the place of a file must not make a run wait for a writer.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}
