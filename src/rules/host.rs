// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Host`]: this host can take an update at all. The facts decide, and nothing is fetched.

use super::evaluation::Evaluation;
use super::{Rule, Verdict};
use flipside_core::state::action::Action;
use flipside_image::Digest;

/// Asks it about `digest`, for which the facts say `action`.
pub(super) fn ask(evaluation: &mut Evaluation<'_>, action: &Action, digest: &Digest) {
    let host_state = evaluation.candidate.host_state;
    let (slot, version) = (host_state.running, host_state.running_slot().version());
    let observed = format!("slot {slot} runs {version}, the tag names {}", digest.short());
    let verdict = match action {
        Action::Refuse(refusal) => Verdict::No(refusal.clone()),
        _ => Verdict::Allow,
    };
    evaluation.put(Rule::Host, &observed, verdict);
}
