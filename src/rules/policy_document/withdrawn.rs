// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Withdrawn`]: the release was not withdrawn. What boots next is asked about whenever a
//! document is at hand.

use super::{because, shown};
use crate::codes;
use crate::rules::evaluation::Evaluation;
use crate::rules::{Rule, RuleResult, Verdict, Withdrawal};
use flipside_core::host::{Record, Slot};
use flipside_core::state::action::is_persons_rollback;
use flipside_core::state::host_state::{HostState, SlotFacts};
use flipside_image::document::{Document, Release};

/// `way`: what the host could take; `good`: what of it is not withdrawn.
pub(super) fn judge(way: &[&Release], good: &[&Release]) -> RuleResult {
    let Some((last, reason)) = way.iter().rev().find_map(|r| Some((r, r.withdrawn.as_ref()?)))
    else {
        return RuleResult::new(
            Rule::Withdrawn,
            "nothing on the way is withdrawn".into(),
            Verdict::Allow,
        );
    };
    let version = shown(&last.version);
    let observed = format!("{version} is withdrawn");
    let verdict = match good {
        [] => Verdict::block(
            codes::RELEASE_WITHDRAWN,
            format!("{version} is withdrawn: {}", because(reason)),
        ),
        _ => Verdict::Allow,
    };
    RuleResult::new(Rule::Withdrawn, observed, verdict)
}

/// Of a target that is reached.
pub(super) fn of_what_runs(target: &Release) -> RuleResult {
    let withdrawn = if target.withdrawn.is_some() { ", and is withdrawn" } else { "" };
    let observed = format!("{} runs{withdrawn}", shown(&target.version));
    RuleResult::new(Rule::Withdrawn, observed, Verdict::Allow)
}

/// Whether what runs was withdrawn: then it raises no floor for versions.
pub(in crate::rules) fn is_what_runs_withdrawn(evaluation: &Evaluation<'_>) -> bool {
    let running = evaluation.candidate.host_state.running_slot();
    let document = evaluation.document.as_ref().map(|in_force| &in_force.document);
    document.is_some_and(|document| reason(document, running).is_some())
}

/// The slots whose release was withdrawn.
pub fn withdrawals(document: &Document, host_state: &HostState) -> Vec<Withdrawal> {
    let of = |slot| Some((slot, reason(document, host_state.slot(slot))?));
    let found = Slot::BOTH.into_iter().filter_map(of);
    found.map(|(slot, reason)| Withdrawal { slot, reason: because(reason) }).collect()
}

/// Why what a slot holds was withdrawn, if it was. What is not listed by its digests is known by its
/// version.
fn reason<'d>(document: &'d Document, held: &SlotFacts) -> Option<&'d str> {
    let record = held.record.as_ref()?;
    let by_digest = |record: &Record| -> Vec<_> {
        record.digests().filter_map(|digest| document.release(&digest)).collect()
    };
    // Its publisher may have withdrawn the manifest that it was installed by, and not the one that
    // was adopted since.
    let mut found = held.release().into_iter().chain([record]).map(by_digest);
    let listed = found
        .find(|releases| !releases.is_empty())
        .unwrap_or_else(|| document.version(held.version()).into_iter().collect());
    listed.iter().find_map(|release| release.withdrawn.as_deref())
}

/// Whether the target boots next and was withdrawn. Where a person goes back to it, that is no
/// matter of the publisher's.
pub(super) fn is_target_revoked(document: &Document, host_state: &HostState) -> bool {
    let target = host_state.target_slot();
    let is_armed = host_state.is_armed() && target.is_installed();
    is_armed && !is_persons_rollback(host_state) && reason(document, target).is_some()
}
