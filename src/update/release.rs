// SPDX-License-Identifier: MIT OR Apache-2.0

//! An operator lets a digest be tried again that failed, or that a rollback left.

use super::announce;
use super::lock::Lock;
use super::machine::Machine;
use super::{Refusal, Run, UpdateError};
use crate::image::Digest;

/// Forgets that `digest` failed or is held. Returns whether it was either.
///
/// # Errors
/// [`UpdateError`].
pub fn release(run: &Run, digest: &Digest) -> Result<bool, UpdateError> {
    let machine = Machine::open(run)?
        .ok_or_else(|| Refusal::block("not-a-host", "no slots are recognised on this host"))?;
    let _lock = Lock::take(&run.root)?;
    let mut failed = machine.situation()?.failed;
    let known = failed.release(digest);
    if known {
        machine.write_failed(&failed)?;
        announce::released(digest);
    }
    Ok(known)
}
