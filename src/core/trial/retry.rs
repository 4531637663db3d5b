// SPDX-License-Identifier: MIT OR Apache-2.0

//! An operator lets a digest be tried again that failed, or that a rollback left.

use flipside_image::Digest;

use super::locked::open_locked;
use crate::codes;
use crate::error::Error;
use crate::lock::Lock;
use crate::opened::Access;
use crate::refusal::Refusal;
use crate::state::failed::FailedDigests;
use crate::state::{SlotFacts, Transition};

/// Forgets that `digest` failed, or that a rollback left it. Returns whether either was so.
///
/// # Errors
/// [`Error`].
pub fn retry(access: &Access, digest: &Digest) -> Result<bool, Error> {
    // What was adopted is refused by the digest that it was tried with.
    let tried = |slot: &SlotFacts| slot.digest().filter(|_| slot.is_of(digest));
    change(access, |failed, running| failed.retry(&tried(running).unwrap_or(*digest)))
}

/// Forgets everything that failed, and what a rollback left. Returns the digests.
///
/// # Errors
/// [`Error`].
pub fn retry_all(access: &Access) -> Result<Vec<Digest>, Error> {
    change(access, |failed, _| failed.retry_all())
}

fn change<T>(
    access: &Access,
    change: impl FnOnce(&mut FailedDigests, &SlotFacts) -> T,
) -> Result<T, Error> {
    let no_host = || Refusal::block(codes::NOT_A_HOST, "no slots are recognised on this host");
    let take = || Lock::take(&access.root);
    let (_lock, host) = open_locked(access, take)?.ok_or_else(no_host)?;
    let host_state = host.host_state()?;
    let mut failed = host_state.failed.clone();
    let changed = change(&mut failed, host_state.running_slot());
    if failed != host_state.failed {
        host.write_failed(&failed)?;
        for digest in
            host_state.failed.refused().filter(|old| failed.refused().all(|left| left != *old))
        {
            host.tell(&Transition::RetryAllowed(&digest));
        }
    }
    Ok(changed)
}
