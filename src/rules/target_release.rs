// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a host is to get to: what the tag names, or what an update graph says comes next.

use super::RuleResult;
use flipside_core::state::action::{Action, decide, stay, waits_for_trial};
use flipside_core::state::host_state::HostState;
use flipside_image::{ContentId, Digest};
use flipside_source::{Source, SourceError};

/// The target release, and what the graph said that it comes from.
pub struct TargetRelease {
    /// The image, or an index that lists it. Where the host is to stay, what runs, or where that has
    /// no digest, what the tag names.
    pub digest: Digest,
    /// The graph's word; empty where the tag decides.
    pub results: Vec<RuleResult>,
    /// The mirror whose word alone the tag is, where the registry could not be reached.
    pub(super) mirror: Option<String>,
    pub(super) aim: Aim,
}

/// What to do about the target release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The host goes there.
    Reach,
    /// It stays with what runs, whatever digest that has, and nothing else is to boot next.
    Stay,
    /// The graph refuses to say: nothing changes, nor what boots next.
    Wait,
}

impl TargetRelease {
    /// What to do about `digest`, the target release or a step to it, and about its content once that
    /// is known.
    pub fn action(
        &self,
        host_state: &HostState,
        digest: &Digest,
        content: Option<ContentId>,
    ) -> Action {
        match self.aim {
            Aim::Reach => decide(host_state, digest, content),
            Aim::Stay => stay(host_state),
            Aim::Wait => Action::UpToDate,
        }
    }

    /// Whether `digest`, the target release or a step to it, waits for the trial of what kexec started.
    pub fn waits_for_firmware(&self, host_state: &HostState, digest: &Digest) -> bool {
        self.is_to_be_reached()
            && host_state.awaits_firmware()
            && waits_for_trial(host_state, digest)
    }

    /// Whether the host is to go there, and not to stay where it is.
    pub fn is_to_be_reached(&self) -> bool {
        self.aim == Aim::Reach
    }

    /// Whether an update graph named it.
    pub fn is_from_graph(&self) -> bool {
        !self.results.is_empty()
    }

    /// Whether the tag names something else by now. What a graph named is named by its digest, and
    /// a mirror is no witness that the registry's tag moved.
    ///
    /// # Errors
    /// The source's.
    pub fn has_moved(&self, source: &dyn Source) -> Result<bool, SourceError> {
        if self.is_from_graph() {
            return Ok(false);
        }
        let tagged = source.tagged()?;
        Ok(tagged.mirror.is_none() && tagged.digest != self.digest)
    }
}
