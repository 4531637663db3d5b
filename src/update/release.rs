// SPDX-License-Identifier: MIT OR Apache-2.0

//! An operator lets a digest be tried again that failed, or that a rollback left.

use super::announce;
use super::failed::FailedDigests;
use super::lock::Lock;
use super::machine::Machine;
use super::{Run, UpdateError};
use crate::image::Digest;
use crate::refusal::Refusal;

/// Forgets that `digest` failed or is held. Returns whether it was either.
///
/// # Errors
/// [`UpdateError`].
pub fn release(run: &Run, digest: &Digest) -> Result<bool, UpdateError> {
    change(run, |failed| failed.release(digest))
}

/// Forgets everything that failed, and lifts the hold. Returns the digests.
///
/// # Errors
/// [`UpdateError`].
pub fn release_all(run: &Run) -> Result<Vec<Digest>, UpdateError> {
    change(run, FailedDigests::release_all)
}

fn change<T>(run: &Run, change: impl FnOnce(&mut FailedDigests) -> T) -> Result<T, UpdateError> {
    let no_host = || Refusal::block("not-a-host", "no slots are recognised on this host");
    // A machine that is no host of ours gets no lock file.
    Machine::open(run)?.ok_or_else(no_host)?;
    let _lock = Lock::take(&run.root)?;
    // Whoever held it may have changed the disk.
    let machine = Machine::open(run)?.ok_or_else(no_host)?;
    let before = machine.situation()?.failed;
    let mut failed = before.clone();
    let changed = change(&mut failed);
    if failed != before {
        machine.write_failed(&failed)?;
        for digest in before.refused().filter(|old| failed.refused().all(|left| left != *old)) {
            announce::released(&digest);
        }
    }
    Ok(changed)
}
