// SPDX-License-Identifier: MIT OR Apache-2.0

//! What runs, as documents and graphs know it.

use flipside_core::state::host_state::HostState;
use flipside_image::graph::Running;

/// What runs.
pub(super) fn running(host_state: &HostState) -> Running {
    let facts = host_state.running_slot();
    Running { digests: facts.digests().collect(), version: facts.version().to_owned() }
}
