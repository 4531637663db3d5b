// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules that go by the policy document: it names the step that may be taken to what the tag
//! names, and what is not to boot any more although it is installed.
//!
//! - `consult`: fetches the document, or finds it in `memory`, and holds it against `freshness`
//! - `route`: the step, by `withdrawn`, `dead_end`, `barrier` and `rollout`, a file for each rule
//! - `permission`: whether an image may be installed, by every digest that it has

use super::evaluation::{Depth, Evaluation, InForce};
use super::running::running;
use super::{Candidate, Error, Explanation, Rule, RuleResult, Waypoint};
use crate::config::{Config, DocumentMode};
use flipside_core::host::{Root, Slot};
use flipside_core::refusal::Refusal;
use flipside_core::state::host_state::HostState;
use flipside_image::Digest;
use flipside_image::document::Document;
use flipside_image::printable;
use flipside_source::Source;

mod barrier;
mod consult;
mod dead_end;
mod freshness;
mod memory;
mod permission;
pub(super) mod rollout;
mod route;
pub(super) mod withdrawn;

use consult::{consult, tracked_tag};
use memory::Memory;
use route::Journey;

pub use withdrawn::withdrawals;

/// The rules that the publisher's word is asked by. They are no matter of this host's, so they are
/// told also where there is nothing to install.
const PUBLISHERS: [Rule; 5] =
    [Rule::PolicyDocument, Rule::Withdrawn, Rule::DeadEnd, Rule::Barrier, Rule::Rollout];

/// A slot that holds what its publisher withdrew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// The slot.
    pub slot: Slot,
    /// Why; the publisher's words, as they are shown.
    pub reason: String,
}

/// The document that this host remembers. To be told of: what is remembered decides nothing by
/// itself (P8).
pub fn remembered_document(root: &Root, config: &Config, source: &dyn Source) -> Option<Document> {
    let tag = tracked_tag(config).ok().flatten();
    let tag = tag.filter(|_| config.policy.document != DocumentMode::Off)?;
    Memory::of(root, source, &tag).recall()?.document()
}

/// Asks the policy document which step may be taken to what the tag names: that itself where there
/// is no document. Where a rule refuses, it stays the target release.
///
/// # Errors
/// The source's: nobody knows whether there is a document.
pub(super) fn ask(evaluation: &mut Evaluation<'_>) -> Result<Digest, Error> {
    let Candidate { means, source, verifier, host_state, target_release, .. } =
        evaluation.candidate;
    let target = &target_release.digest;
    let now = means.clock().now();
    let consulted = consult(means, *source, verifier, now)?;
    // A mirror cannot take away what is armed by a document of its own.
    if let (true, Some(document), Some(_)) = (consulted.is_vouched, &consulted.document, now) {
        evaluation.is_revoked = withdrawn::is_target_revoked(document, host_state);
        evaluation.withdrawals = Some(withdrawals(document, host_state));
    }
    // A check writes nothing (P10), unless it found that a slot holds what was withdrawn: the host
    // may reboot into that before the next run, and /run is gone then.
    let is_told_of_a_slot = evaluation.withdrawals.as_ref().is_some_and(|found| !found.is_empty());
    let is_remembered = evaluation.depth == Depth::Update || is_told_of_a_slot;
    if is_remembered && !evaluation.candidate.is_only_asked {
        consulted.remember(means.files);
    }
    for said in &target_release.results {
        evaluation.put(said.rule, &said.observed, said.verdict.clone());
    }
    let graph = target_release.results.iter().map(|said| format!("{}; ", said.observed));
    let observed = format!("{}{}", graph.collect::<String>(), consulted.observed);
    evaluation.put(Rule::PolicyDocument, &observed, consulted.verdict.clone());
    let (Some(document), Some(now)) = (consulted.document, now) else { return Ok(*target) };
    let is_vouched = consulted.is_vouched;
    let running = running(host_state);
    // It stays, and is not known by a digest: no way leads there.
    if !target_release.is_to_be_reached() && running.digests.is_empty() {
        evaluation.document = Some(InForce { document, now, is_vouched });
        return Ok(*target);
    }
    let place = rollout::place(means);
    let journey = Journey { document: &document, running: &running, target, now, place: &place };
    let route = journey.route();
    for result in route.results {
        let observed = match result.rule {
            Rule::PolicyDocument => format!("{observed}; {}", result.observed),
            _ => result.observed,
        };
        evaluation.put(result.rule, &observed, result.verdict);
    }
    let step = route.step.map(|step| step.digest);
    evaluation.target_version = document.release(target).map(|target| target.version.clone());
    evaluation.document = Some(InForce { document, now, is_vouched });
    Ok(step.unwrap_or(*target))
}

/// Asks the document, where there is one, about the image that has `digests`. `false` where it
/// refuses the image.
pub(super) fn permits(
    evaluation: &mut Evaluation<'_>,
    digests: &[Digest],
    is_waypoint: bool,
) -> bool {
    let Some(in_force) = &evaluation.document else { return true };
    let Some(objection) = objection(evaluation.candidate, in_force, digests, is_waypoint) else {
        return true;
    };
    evaluation.put(objection.rule, &objection.observed, objection.verdict);
    false
}

/// Refuses what was approved before, where the document says something else by now: hooks and
/// writing take their time. `host_state`: the host as it is by now. Where nobody answers, what was
/// said before holds.
///
/// # Errors
/// What the document has against `waypoint`, and a wish to stop.
pub fn still_stands(
    candidate: &Candidate<'_>,
    waypoint: &Waypoint,
    host_state: &HostState,
) -> Result<(), flipside_core::Error> {
    let Candidate { means, source, verifier, .. } = candidate;
    let now = means.clock().now();
    let consulted = match consult(means, *source, verifier, now) {
        Ok(consulted) => consulted,
        Err(error) => {
            means.stop.check()?;
            tracing::debug!("cannot ask for the policy document again: {error}");
            return Ok(());
        }
    };
    consulted.remember(means.files);
    let (Some(document), Some(now)) = (consulted.document, now) else { return Ok(()) };
    let in_force = InForce { document, now, is_vouched: consulted.is_vouched };
    let digests = waypoint.digests(host_state);
    let objection = objection(candidate, &in_force, &digests, waypoint.is_on_the_way());
    match objection.and_then(|result| result.verdict.refusal().cloned()) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(()),
    }
}

fn objection(
    candidate: &Candidate<'_>,
    InForce { document, now, .. }: &InForce,
    digests: &[Digest],
    is_waypoint: bool,
) -> Option<RuleResult> {
    let (running, place) = (running(candidate.host_state), rollout::place(&candidate.means));
    let target = &candidate.target_release.digest;
    let journey = Journey { document, running: &running, target, now: *now, place: &place };
    journey.objection(digests, is_waypoint)
}

/// What the publisher has against this host's being where it is.
pub(super) fn refusal(explanation: &Explanation) -> Option<Refusal> {
    let results = PUBLISHERS.iter().filter_map(|rule| explanation.of(*rule));
    results.filter_map(|result| result.verdict.refusal()).next().cloned()
}

/// A version of a document's, as it is shown.
fn shown(version: &str) -> String {
    printable::line(version, 80)
}

/// A publisher's reason, as it is shown.
fn because(reason: &str) -> String {
    match printable::line(reason, 300) {
        none if none.is_empty() => "no reason is given".to_owned(),
        reason => reason,
    }
}
