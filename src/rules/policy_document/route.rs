// SPDX-License-Identifier: MIT OR Apache-2.0

//! The way from what runs to what the tag names, by the policy document: one step of it.
//!
//! The tag names the target release, the document the steps that may be taken. Pure.

use jiff::Timestamp;

use super::{barrier, dead_end, rollout, shown, withdrawn};
use crate::codes;
use crate::rules::{Rule, RuleResult, Verdict};
use flipside_image::Digest;
use flipside_image::document::{Document, Release};
use flipside_image::graph::Running;
use flipside_image::rollout::Place;
use flipside_image::version;

#[cfg(test)]
pub(super) mod example;
#[cfg(test)]
mod tests;

/// What is asked of a document.
#[derive(Debug, Clone, Copy)]
pub struct Journey<'a> {
    /// The document.
    pub document: &'a Document,
    /// Where the host stands.
    pub running: &'a Running,
    /// What the tag names.
    pub target: &'a Digest,
    /// The time.
    pub now: Timestamp,
    /// Where this host stands in rollouts.
    pub place: &'a Place,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route<'a> {
    /// The release that the host may take now; `None` where a result refuses.
    pub step: Option<&'a Release>,
    /// What each rule saw and said, in their order.
    pub results: Vec<RuleResult>,
}

impl<'a> Journey<'a> {
    /// The newest release that this host may take on its way to the target release: not beyond a barrier
    /// above what runs, not from a dead end, none that is withdrawn, none whose rollout has not
    /// reached this host. Where that is not above what runs, only it is meant.
    pub fn route(&self) -> Route<'a> {
        let Some(target) = self.target_release() else {
            return Route { step: None, results: vec![self.target_is_not_listed()] };
        };
        let here = self.here();
        let mut results = vec![self.listed(target)];
        if self.running.digests.contains(self.target) {
            results.extend([
                withdrawn::of_what_runs(target),
                dead_end::judge(&self.running.version, self.here_as_dead_end()),
            ]);
            let is_refused = results.iter().any(|result| !result.verdict.is_allow());
            return Route { step: Some(target).filter(|_| !is_refused), results };
        }
        let way = self.way(target, here);
        let last = way.last().copied().unwrap_or(target);
        let good: Vec<&'a Release> =
            way.iter().copied().filter(|release| release.withdrawn.is_none()).collect();
        let step = good
            .iter()
            .rev()
            .copied()
            .find(|release| rollout::is_reached(self.place, self.now, release));
        results.extend([
            withdrawn::judge(&way, &good),
            dead_end::judge(&self.running.version, self.here_as_dead_end()),
            barrier::judge(target, last),
        ]);
        if let Some(newest) = good.last().copied() {
            results.push(rollout::judge(self.place, self.now, newest, step));
        }
        let is_refused = results.iter().any(|result| !result.verdict.is_allow());
        Route { step: step.filter(|_| !is_refused), results }
    }

    /// Everything between what runs and the target release that the host might take, the lowest first; it
    /// ends with that or with the first barrier. Only the target release, where that is not above.
    pub(super) fn way(&self, target: &'a Release, here: Option<&Release>) -> Vec<&'a Release> {
        let is_ahead = |release: &&'a Release| {
            self.is_above(release, here)
                && !version::compare(&release.version, &target.version).is_gt()
        };
        let mut way: Vec<&'a Release> = self.document.releases.iter().filter(is_ahead).collect();
        if way.is_empty() {
            return vec![target];
        }
        if let Some(barrier) = way.iter().position(|release| release.barrier.is_some()) {
            way.truncate(barrier + 1);
        }
        // Who goes to a dead end on the way never gets any further.
        let last = way.pop();
        way.retain(|release| release.dead_end.is_none());
        way.extend(last);
        way
    }

    /// What runs, as the document lists it: found by its digest, or else by its version.
    pub(super) fn here(&self) -> Option<&'a Release> {
        let by_digest = self.running.digests.iter().find_map(|d| self.document.release(d));
        by_digest.or_else(|| self.document.version(&self.running.version))
    }

    /// The same for [`Rule::DeadEnd`]: a dead end by one of its digests is one.
    pub(super) fn here_as_dead_end(&self) -> Option<&'a Release> {
        let by_digest = self.running.digests.iter().filter_map(|d| self.document.release(d));
        by_digest.into_iter().find(|release| release.dead_end.is_some()).or_else(|| self.here())
    }

    /// The target release, as the document lists it. A graph by which this host stays calls what runs by its
    /// manifest, and the document may list its index.
    pub(super) fn target_release(&self) -> Option<&'a Release> {
        let digests = &self.running.digests;
        let others = if digests.contains(self.target) { digests.as_slice() } else { &[] };
        [self.target].into_iter().chain(others).find_map(|digest| self.document.release(digest))
    }

    pub(super) fn target_is_not_listed(&self) -> RuleResult {
        let target = self.target.short();
        let observed = format!("the tag names {target}, which is not listed");
        let reason = format!("the policy document does not list {target}, which the tag names");
        let refusal = Verdict::defer(codes::RELEASE_NOT_LISTED, reason);
        RuleResult::new(Rule::PolicyDocument, observed, refusal)
    }

    fn is_above(&self, release: &Release, here: Option<&Release>) -> bool {
        let running = here.map_or(self.running.version.as_str(), |here| &here.version);
        version::compare(&release.version, running).is_gt()
    }

    fn listed(&self, target: &Release) -> RuleResult {
        let observed = format!("the tag names {}, which is listed", shown(&target.version));
        RuleResult::new(Rule::PolicyDocument, observed, Verdict::Allow)
    }
}
