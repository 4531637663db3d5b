// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a delta is made.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use flipside_core::cancel::Cancel;
use flipside_core::progress::Progress;
use tempfile::TempDir;

use super::super::PublishError;
use super::patch;

/// The zstd level of patches unless another one is asked for.
pub const DEFAULT_DELTA_LEVEL: i32 = 12;

/// What all workers together may take, in bytes. The index of the old payload's blocks, at 16 bytes
/// for each 4 KiB, comes on top.
const MEMORY: u64 = 768 << 20;

/// How deltas are to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaSettings {
    /// The zstd level of patches, 1 to 22.
    pub level: i32,
    /// `None`: as many as there are cores. The delta is the same for any number.
    pub workers: Option<NonZeroUsize>,
}

impl Default for DeltaSettings {
    fn default() -> Self {
        Self { level: DEFAULT_DELTA_LEVEL, workers: None }
    }
}

/// One making of a delta.
pub(super) struct Run<'a> {
    pub(super) level: i32,
    pub(super) workers: usize,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a Cancel,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        settings: DeltaSettings,
        progress: &'a dyn Progress,
        stop: &'a Cancel,
    ) -> Result<Self, PublishError> {
        let level = settings.level;
        if !(1..=22).contains(&level) {
            let what = format!("the zstd level {level} is not between 1 and 22");
            return Err(PublishError::Delta { what });
        }
        let cores = match settings.workers {
            Some(workers) => workers.get(),
            None => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        let affordable = usize::try_from(MEMORY / patch::memory(level)).unwrap_or(1).max(1);
        Ok(Self { level, workers: cores.min(affordable), progress, stop })
    }
}

/// A directory for payloads, which may be as large as the images: `TMPDIR`, or else `/var/tmp`, since
/// `/tmp` may be in memory.
pub(super) fn temporary_directory() -> Result<TempDir, PublishError> {
    let parent = match std::env::var_os("TMPDIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory),
        _ => PathBuf::from("/var/tmp"),
    };
    let failed = PublishError::file("create a directory in", &parent);
    tempfile::Builder::new().prefix("flipside-delta-").tempdir_in(&parent).map_err(failed)
}
