// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Withdrawn`]: the release was not withdrawn. What boots next is asked about whenever a
//! document is at hand.

use super::{because, shown};
use crate::codes;
use crate::rules::evaluation::Evaluation;
use crate::rules::running::{digests, running};
use crate::rules::{Rule, Ruling, Verdict};
use flipside_core::state::action::is_persons_rollback;
use flipside_core::state::host_state::HostState;
use flipside_image::document::{Document, Release};

/// `way`: what the host could take; `good`: what of it is not withdrawn.
pub(super) fn judge(way: &[&Release], good: &[&Release]) -> Ruling {
    let Some((last, reason)) = way.iter().rev().find_map(|r| Some((r, r.withdrawn.as_ref()?)))
    else {
        return Ruling::new(
            Rule::Withdrawn,
            "nothing on the way is withdrawn".into(),
            Verdict::Allow,
        );
    };
    let version = shown(&last.version);
    let observed = format!("{version} is withdrawn");
    let decision = match good {
        [] => Verdict::block(
            codes::RELEASE_WITHDRAWN,
            format!("{version} is withdrawn: {}", because(reason)),
        ),
        _ => Verdict::Allow,
    };
    Ruling::new(Rule::Withdrawn, observed, decision)
}

/// Of a goal that is reached.
pub(super) fn of_what_runs(goal: &Release) -> Ruling {
    let withdrawn = if goal.withdrawn.is_some() { ", and is withdrawn" } else { "" };
    let observed = format!("{} runs{withdrawn}", shown(&goal.version));
    Ruling::new(Rule::Withdrawn, observed, Verdict::Allow)
}

/// Whether what runs was withdrawn: then it raises no floor for versions.
pub(in crate::rules) fn is_what_runs_withdrawn(evaluation: &Evaluation<'_>) -> bool {
    let Some(in_force) = &evaluation.document else { return false };
    let document = &in_force.document;
    let running = running(evaluation.candidate.host_state);
    let by_digest = running.digests.iter().find_map(|digest| document.release(digest));
    let release = by_digest.or_else(|| document.version(&running.version));
    release.is_some_and(|release| release.withdrawn.is_some())
}

/// Whether the target boots next and was withdrawn. What is not listed by its digests is known by
/// its version. Where a person goes back to it, that is no matter of the publisher's.
pub(super) fn is_target_revoked(document: &Document, host_state: &HostState) -> bool {
    let target = host_state.target_slot();
    let is_armed = host_state.is_armed() && target.is_installed();
    let may_be_revoked = is_armed && !is_persons_rollback(host_state);
    let by_digest: Vec<_> = digests(target).iter().filter_map(|d| document.release(d)).collect();
    let is_withdrawn = match by_digest.as_slice() {
        [] => document.version(target.version()).is_some_and(|r| r.withdrawn.is_some()),
        listed => listed.iter().any(|release| release.withdrawn.is_some()),
    };
    may_be_revoked && is_withdrawn
}
