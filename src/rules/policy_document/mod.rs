// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules that go by the policy document: it names the step that may be taken to what the tag
//! names, and what is not to boot any more although it is installed.

use super::evaluation::{Asked, Depth};
use super::{Error, Means, Offer, Rule, Verdict};
use crate::image::Digest;
use crate::image::document::{Document, Release};
use crate::image::rollout::{APPLICATION, Place};
use crate::printable;
use crate::refusal::Refusal;
use crate::system::MachineId;
use crate::update::course::is_persons_rollback;
use crate::update::situation::{Situation, SlotFacts};

mod consult;
mod freshness;
mod route;

use consult::consult;
use route::{Journey, Running};

/// The rules that the publisher's word is asked by. They are no matter of this host's, so they are
/// told also where there is nothing to install.
const PUBLISHERS: [Rule; 5] =
    [Rule::PolicyDocument, Rule::Withdrawn, Rule::DeadEnd, Rule::Barrier, Rule::Rollout];

impl Asked<'_> {
    /// Asks the policy document which step may be taken to what the tag names: that itself where
    /// there is no document. Where a rule refuses, it stays the goal.
    ///
    /// # Errors
    /// The source's: nobody knows whether there is a document.
    pub(in crate::rules) fn document(&mut self) -> Result<Digest, Error> {
        let Offer { means, source, verifier, situation, named, .. } = self.offer;
        let goal = &named.digest;
        let now = means.clock().now();
        let consulted = consult(means, *source, verifier, goal, now)?;
        // A check writes nothing, and so remembers nothing.
        if self.depth == Depth::Update && !self.offer.is_only_asked {
            consulted.remember(means.durable);
        }
        for said in &named.rulings {
            self.put(said.rule, &said.saw, said.decision.clone());
        }
        let graph = named.rulings.iter().map(|said| format!("{}; ", said.saw));
        let saw = format!("{}{}", graph.collect::<String>(), consulted.saw);
        self.put(Rule::PolicyDocument, &saw, consulted.decision.clone());
        let (Some(document), Some(now)) = (consulted.document, now) else { return Ok(*goal) };
        self.is_revoked = is_revoked(&document, situation);
        let running = running(situation);
        // It stays, and is not known by a digest: no way leads there.
        if !named.is_to_be_reached() && running.digests.is_empty() {
            self.document = Some(document);
            return Ok(*goal);
        }
        let place = place(means);
        let journey = Journey { document: &document, running: &running, goal, now, place: &place };
        let route = journey.route();
        for ruling in route.rulings {
            let saw = match ruling.rule {
                Rule::PolicyDocument => format!("{saw}; {}", ruling.saw),
                _ => ruling.saw,
            };
            self.put(ruling.rule, &saw, ruling.decision);
        }
        let step = route.step.map(|step| step.digest);
        self.goal = document.release(goal).map(|goal| goal.version.clone());
        self.document = Some(document);
        Ok(step.unwrap_or(*goal))
    }

    /// Puts it to the document whether something on the way to the step was withdrawn; `false` where
    /// it was.
    pub(in crate::rules) fn is_not_withdrawn(&mut self, named: &Digest) -> bool {
        let Some(document) = &self.document else { return true };
        let Some(why) = document.release(named).and_then(withdrawn) else { return true };
        self.put(Rule::Withdrawn, &why, Verdict::block("release-withdrawn", why.clone()));
        false
    }

    /// Whether what runs was withdrawn: then it raises no floor for versions.
    pub(in crate::rules) fn has_withdrawn_what_runs(&self) -> bool {
        let Some(document) = &self.document else { return false };
        let running = running(self.offer.situation);
        let by_digest = running.digests.iter().find_map(|digest| document.release(digest));
        let release = by_digest.or_else(|| document.version(&running.version));
        release.and_then(withdrawn).is_some()
    }

    /// What the publisher has against this host's being where it is.
    pub(in crate::rules) fn publishers_refusal(&self) -> Option<Refusal> {
        let rulings = PUBLISHERS.iter().filter_map(|rule| self.explanation.of(*rule));
        rulings.filter_map(|ruling| ruling.decision.refusal()).next().cloned()
    }
}

/// Refuses what was approved before, where the publisher has withdrawn it since: hooks and writing
/// take their time. Where nobody answers, what was said before holds.
///
/// # Errors
/// `release-withdrawn`, and a wish to stop.
pub fn still_stands(offer: &Offer<'_>, named: &Digest) -> Result<(), flipside_core::Error> {
    let Offer { means, source, verifier, .. } = offer;
    let consulted = match consult(means, *source, verifier, named, means.clock().now()) {
        Ok(consulted) => consulted,
        Err(error) => {
            means.stop.check()?;
            tracing::debug!("cannot ask for the policy document again: {error}");
            return Ok(());
        }
    };
    consulted.remember(means.durable);
    let document = consulted.document.as_ref();
    match document.and_then(|document| document.release(named)).and_then(withdrawn) {
        Some(why) => Err(Refusal::block("release-withdrawn", why).into()),
        None => Ok(()),
    }
}

fn withdrawn(release: &Release) -> Option<String> {
    let reason = printable::line(release.withdrawn.as_ref()?, 300);
    Some(format!("{} is withdrawn: {reason}", printable::line(&release.version, 80)))
}

/// Whether the target boots next and was withdrawn. Where a person goes back to it, that is no
/// matter of the publisher's.
fn is_revoked(document: &Document, situation: &Situation) -> bool {
    let target = situation.target_slot();
    let is_armed = situation.is_armed() && target.is_installed();
    let may_be_revoked = is_armed && !is_persons_rollback(situation);
    may_be_revoked
        && digests(target).iter().any(|d| document.release(d).and_then(withdrawn).is_some())
}

/// Where this host's place in rollouts comes from.
pub(in crate::rules) fn place(means: &Means<'_>) -> Place {
    match (means.config.policy.wariness, MachineId::read(means.root)) {
        (Some(wariness), _) => Place::Set(wariness),
        (None, Some(id)) => Place::Hashed(id.app_specific(APPLICATION)),
        (None, None) => Place::Unknown,
    }
}

/// What runs, as documents and graphs know it.
pub(in crate::rules) fn running(situation: &Situation) -> Running {
    let facts = situation.running_slot();
    Running { digests: digests(facts), version: facts.version().to_owned() }
}

fn digests(facts: &SlotFacts) -> Vec<Digest> {
    let record = facts.record.as_ref();
    record.map_or_else(Vec::new, |r| r.index_digest.into_iter().chain(r.digest).collect())
}
