// SPDX-License-Identifier: MIT OR Apache-2.0

//! Temporary directories in memory where that is possible: tests that cut thousands of writes short
//! need no real disk to wait for.

/// A new directory, gone when dropped.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
