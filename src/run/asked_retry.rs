// SPDX-License-Identifier: MIT OR Apache-2.0

//! A retry that was asked for while another run held the lock: it is noted in `/run`, one empty
//! file for each digest, and done by that run once it has given the lock back.
//!
//! Whoever asks notes it first and then tries once more. Whoever held the lock gives it back first
//! and then looks. So one of the two always sees the other.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Error, Run, retry, retry_all};
use crate::codes;
use flipside_core::host::Root;
use flipside_image::Digest;
use flipside_image::code::Coded as _;

const DIRECTORY: &str = "/run/flipside/retry";
/// The name of the file that means every digest.
const ALL: &str = "all";
/// More than anybody asks for during one run.
const LIMIT: usize = 64;

/// What may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedRetry {
    /// One image.
    Digest(Digest),
    /// All that failed, and the one that a rollback left.
    All,
}

impl AskedRetry {
    fn path(self, root: &Root) -> PathBuf {
        let directory = root.path(DIRECTORY);
        match self {
            Self::Digest(digest) => directory.join(digest.to_string()),
            Self::All => directory.join(ALL),
        }
    }

    fn note(self, root: &Root) -> io::Result<()> {
        fs::create_dir_all(root.path(DIRECTORY))?;
        fs::write(self.path(root), "")
    }
}

/// Does `what`, the retry `asked`. Where another run is at work, `None`: that run does it at
/// its end.
///
/// # Errors
/// [`Error`]; `locked` where it cannot be noted either.
pub fn retry_or_note<T>(
    run: &Run,
    asked: AskedRetry,
    what: impl Fn(&Run) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let locked = match what(run) {
        Err(error) if is_locked(&error) => error,
        done => return done.map(Some),
    };
    if let Err(error) = asked.note(&run.root) {
        tracing::warn!("cannot note the retry in {}: {error}", run.root.path(DIRECTORY).display());
        return Err(locked);
    }
    match what(run) {
        Err(error) if is_locked(&error) => Ok(None),
        done => {
            let _ = fs::remove_file(asked.path(&run.root));
            done.map(Some)
        }
    }
}

/// Allows the retries that were asked for while another run held the lock. Where a third one holds
/// it by now, that one does them.
pub(super) fn do_asked_retries(run: &Run) {
    for asked in noted(&run.root) {
        let done = match asked {
            AskedRetry::Digest(digest) => retry(run, &digest).map(|_| ()),
            AskedRetry::All => retry_all(run).map(|_| ()),
        };
        match done {
            Err(error) if is_locked(&error) => return,
            Err(error) => {
                tracing::warn!(
                    "cannot allow a retry that was asked for: {error} [{}]",
                    error.code()
                )
            }
            Ok(()) => {
                let _ = fs::remove_file(asked.path(&run.root));
            }
        }
    }
}

fn noted(root: &Root) -> Vec<AskedRetry> {
    let Ok(entries) = fs::read_dir(root.path(DIRECTORY)) else { return Vec::new() };
    let asked = |name: &str| match name {
        ALL => Some(AskedRetry::All),
        digest => digest.parse().ok().map(AskedRetry::Digest),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| asked(&name)).take(LIMIT).collect()
}

fn is_locked(error: &Error) -> bool {
    error.code() == codes::LOCKED
}
