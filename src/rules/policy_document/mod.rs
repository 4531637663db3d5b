// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules that go by the policy document: it names the step that may be taken to what the tag
//! names, and what is not to boot any more although it is installed.
//!
//! - `consult`: fetches the document, or finds it in `memory`, and holds it against `freshness`
//! - `route`: the step, by `withdrawn`, `dead_end`, `barrier` and `rollout`, a file for each rule

use super::evaluation::{Depth, Evaluation};
use super::{Error, Explanation, Offer, Rule};
use flipside_core::refusal::Refusal;
use flipside_image::Digest;
use flipside_image::printable;

mod barrier;
mod consult;
mod dead_end;
mod freshness;
mod memory;
pub(super) mod rollout;
mod route;
pub(super) mod running;
pub(super) mod withdrawn;

use consult::consult;
use route::Journey;
use running::running;

/// The rules that the publisher's word is asked by. They are no matter of this host's, so they are
/// told also where there is nothing to install.
const PUBLISHERS: [Rule; 5] =
    [Rule::PolicyDocument, Rule::Withdrawn, Rule::DeadEnd, Rule::Barrier, Rule::Rollout];

/// Asks the policy document which step may be taken to what the tag names: that itself where there
/// is no document. Where a rule refuses, it stays the goal.
///
/// # Errors
/// The source's: nobody knows whether there is a document.
pub(super) fn ask(evaluation: &mut Evaluation<'_>) -> Result<Digest, Error> {
    let Offer { means, source, verifier, situation, named, .. } = evaluation.offer;
    let goal = &named.digest;
    let now = means.clock().now();
    let consulted = consult(means, *source, verifier, goal, now)?;
    // A check writes nothing, and so remembers nothing.
    if evaluation.depth == Depth::Update && !evaluation.offer.is_only_asked {
        consulted.remember(means.files);
    }
    for said in &named.rulings {
        evaluation.put(said.rule, &said.saw, said.decision.clone());
    }
    let graph = named.rulings.iter().map(|said| format!("{}; ", said.saw));
    let saw = format!("{}{}", graph.collect::<String>(), consulted.saw);
    evaluation.put(Rule::PolicyDocument, &saw, consulted.decision.clone());
    let (Some(document), Some(now)) = (consulted.document, now) else { return Ok(*goal) };
    evaluation.is_revoked = withdrawn::is_target_revoked(&document, situation);
    let running = running(situation);
    // It stays, and is not known by a digest: no way leads there.
    if !named.is_to_be_reached() && running.digests.is_empty() {
        evaluation.document = Some(document);
        return Ok(*goal);
    }
    let place = rollout::place(means);
    let journey = Journey { document: &document, running: &running, goal, now, place: &place };
    let route = journey.route();
    for ruling in route.rulings {
        let saw = match ruling.rule {
            Rule::PolicyDocument => format!("{saw}; {}", ruling.saw),
            _ => ruling.saw,
        };
        evaluation.put(ruling.rule, &saw, ruling.decision);
    }
    let step = route.step.map(|step| step.digest);
    evaluation.goal = document.release(goal).map(|goal| goal.version.clone());
    evaluation.document = Some(document);
    Ok(step.unwrap_or(*goal))
}

/// What the publisher has against this host's being where it is.
pub(super) fn refusal(explanation: &Explanation) -> Option<Refusal> {
    let rulings = PUBLISHERS.iter().filter_map(|rule| explanation.of(*rule));
    rulings.filter_map(|ruling| ruling.decision.refusal()).next().cloned()
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
