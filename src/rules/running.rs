// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a slot holds, as documents and graphs know it.

use flipside_core::state::host_state::{HostState, SlotFacts};
use flipside_image::Digest;
use flipside_image::graph::Running;

/// What runs.
pub(super) fn running(host_state: &HostState) -> Running {
    let facts = host_state.running_slot();
    Running { digests: digests(facts), version: facts.version().to_owned() }
}

/// The digest of the index that a slot's image was in, and its own.
pub(super) fn digests(facts: &SlotFacts) -> Vec<Digest> {
    let record = facts.record.as_ref();
    record.map_or_else(Vec::new, |r| r.index_digest.into_iter().chain(r.digest).collect())
}
