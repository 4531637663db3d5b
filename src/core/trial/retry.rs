// SPDX-License-Identifier: MIT OR Apache-2.0

//! An operator lets a digest be tried again that failed, or that a rollback left.

use flipside_image::Digest;

use super::locked::open_locked;
use crate::codes;
use crate::error::Error;
use crate::lock::Lock;
use crate::opened::Access;
use crate::refusal::Refusal;
use crate::state::Transition;
use crate::state::failed::FailedDigests;

/// Forgets that `digest` failed, or that a rollback left it. Returns whether either was so.
///
/// # Errors
/// [`Error`].
pub fn retry(access: &Access, digest: &Digest) -> Result<bool, Error> {
    change(access, |failed| failed.retry(digest))
}

/// Forgets everything that failed, and what a rollback left. Returns the digests.
///
/// # Errors
/// [`Error`].
pub fn retry_all(access: &Access) -> Result<Vec<Digest>, Error> {
    change(access, FailedDigests::retry_all)
}

fn change<T>(access: &Access, change: impl FnOnce(&mut FailedDigests) -> T) -> Result<T, Error> {
    let no_host = || Refusal::block(codes::NOT_A_HOST, "no slots are recognised on this host");
    let take = || Lock::take(&access.root);
    let (_lock, host) = open_locked(access, take)?.ok_or_else(no_host)?;
    let before = host.host_state()?.failed;
    let mut failed = before.clone();
    let changed = change(&mut failed);
    if failed != before {
        host.write_failed(&failed)?;
        for digest in before.refused().filter(|old| failed.refused().all(|left| left != *old)) {
            host.tell(&Transition::RetryAllowed(&digest));
        }
    }
    Ok(changed)
}
