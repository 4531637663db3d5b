// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Host`]: this host can take an update at all. The facts decide, and nothing is fetched.

use super::evaluation::Evaluation;
use super::{Rule, Verdict};
use flipside_core::state::course::Course;
use flipside_image::Digest;

/// Asks it about `digest`, for which the facts say `course`.
pub(super) fn ask(evaluation: &mut Evaluation<'_>, course: &Course, digest: &Digest) {
    let situation = evaluation.offer.situation;
    let (slot, version) = (situation.running, situation.running_slot().version());
    let saw = format!("slot {slot} runs {version}, the tag names {}", digest.short());
    let decision = match course {
        Course::Refuse(refusal) => Verdict::No(refusal.clone()),
        _ => Verdict::Allow,
    };
    evaluation.put(Rule::Host, &saw, decision);
}
