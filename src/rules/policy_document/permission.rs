// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a document permits an image, by every digest that the image has: its manifest's and
//! those of the indexes that it was found in. Whoever can push to the repository can move a tag and
//! make an index, so neither of them says which release an image is. Pure.

use super::route::Journey;
use super::{because, dead_end, rollout, shown};
use crate::codes;
use crate::rules::{Rule, RuleResult, Verdict};
use flipside_image::Digest;
use flipside_image::document::Release;
use flipside_image::version;

impl Journey<'_> {
    /// What the publisher has against installing the image that has these digests; `None` where
    /// the document permits it. `is_waypoint`: another image leads to it, and not the document
    /// itself.
    pub fn objection(&self, digests: &[Digest], is_waypoint: bool) -> Option<RuleResult> {
        let Some(target) = self.target_release() else { return Some(self.target_is_not_listed()) };
        let leaving = dead_end::judge(&self.running.version, self.here_as_dead_end());
        if !leaving.verdict.is_allow() {
            return Some(leaving);
        }
        let listed = || digests.iter().filter_map(|digest| self.document.release(digest));
        let Some(first) = listed().next() else { return Some(not_listed(digests, target)) };
        if let Some(objection) = listed().find_map(|release| self.withheld(release)) {
            return Some(objection);
        }
        let way = self.way(target, self.here());
        let is_off = |release: &&Release| !way.iter().any(|on| on.digest == release.digest);
        if !is_waypoint {
            // One of its digests is the step; what else it is called need not be on the way.
            return listed()
                .all(|release| is_off(&release))
                .then(|| self.off_the_way(first, target, &way));
        }
        if let Some(dead) = listed().find(|release| release.dead_end.is_some()) {
            return Some(leads_nowhere(dead));
        }
        listed().find(is_off).map(|release| self.off_the_way(release, target, &way))
    }

    /// Whatever the way is: nobody takes it, or this host does not take it yet.
    fn withheld(&self, release: &Release) -> Option<RuleResult> {
        let version = shown(&release.version);
        if let Some(reason) = &release.withdrawn {
            let why = format!("{version} is withdrawn: {}", because(reason));
            return Some(refused(Rule::Withdrawn, Verdict::block(codes::RELEASE_WITHDRAWN, why)));
        }
        let is_reached = rollout::is_reached(self.place, self.now, release);
        (!is_reached).then(|| rollout::judge(self.place, self.now, release, None))
    }

    /// Why `release` is not on the `way` to `target`.
    fn off_the_way(&self, release: &Release, target: &Release, way: &[&Release]) -> RuleResult {
        if release.dead_end.is_some() {
            return leads_nowhere(release);
        }
        let here = self.here().map_or(self.running.version.as_str(), |here| &here.version);
        let (version, target) = (shown(&release.version), shown(&target.version));
        let order = version::compare(&release.version, here);
        if order.is_lt() {
            let why = format!("{version} would be a downgrade from {}", shown(here));
            return refused(Rule::Version, Verdict::block(codes::VERSION_TOO_OLD, why));
        }
        if order.is_eq() {
            let why = format!("the way through {version} leads back to the version that runs");
            return refused(Rule::Requires, Verdict::block(codes::VIA_CIRCULAR, why));
        }
        let barrier = way.last().filter(|last| last.barrier.is_some());
        let why = match barrier.and_then(|last| Some((last, last.barrier.as_ref()?))) {
            Some((last, reason)) if version::is_below(&last.version, &release.version) => {
                let reason = because(reason);
                format!("{} has to come before {version}: {reason}", shown(&last.version))
            }
            _ => format!("{version} is not between what runs and {target}"),
        };
        refused(Rule::Requires, Verdict::block(codes::RELEASE_OUT_OF_RANGE, why))
    }
}

fn leads_nowhere(release: &Release) -> RuleResult {
    let reason = release.dead_end.as_deref().unwrap_or_default();
    let why = format!("{} is a dead end: {}", shown(&release.version), because(reason));
    refused(Rule::DeadEnd, Verdict::block(codes::DEAD_END, why))
}

fn not_listed(digests: &[Digest], target: &Release) -> RuleResult {
    let digest = digests.last().map(Digest::short).unwrap_or_default();
    let target = shown(&target.version);
    let why = format!("the policy document does not list {digest}, which comes before {target}");
    refused(Rule::PolicyDocument, Verdict::defer(codes::RELEASE_NOT_LISTED, why))
}

fn refused(rule: Rule, verdict: Verdict) -> RuleResult {
    let observed = verdict.refusal().map(|refusal| refusal.message.clone()).unwrap_or_default();
    RuleResult::new(rule, observed, verdict)
}

#[cfg(test)]
mod tests {
    use super::super::route::example::{at, digest, document, running};
    use super::*;
    use flipside_image::graph::Running;
    use flipside_image::rollout::{Place, Wariness};

    /// The code of the objection, from 1 (unless told) to 9, a quarter into each rollout.
    fn said(releases: &str, runs: &Running, image: &[&str], is_waypoint: bool) -> String {
        let document = document(releases);
        let place = Place::Set(Wariness::new(0.5).unwrap());
        let (target, now) = (digest("9"), at(25));
        let journey =
            Journey { document: &document, running: runs, target: &target, now, place: &place };
        let digests: Vec<Digest> = image.iter().map(|version| digest(version)).collect();
        let objection = journey.objection(&digests, is_waypoint);
        let refusal = objection.and_then(|result| result.verdict.refusal().cloned());
        refusal.map_or("allow", |refusal| refusal.code.name()).to_owned()
    }

    #[test]
    fn a_waypoint_is_a_listed_release_between_what_runs_and_the_goal() {
        for (releases, runs, image, expected) in [
            ("1, 2, 9", "1", &["2"][..], "allow"),
            // Behind an index that is not listed, and in an index that is.
            ("1, 2, 9", "1", &["an index", "2"], "allow"),
            ("1, 2, 9", "1", &["2", "a manifest"], "allow"),
            ("1, 9", "1", &["2"], "release-not-listed"),
            ("1, 9", "1", &["an index", "2"], "release-not-listed"),
            ("1, 2", "1", &["2"], "release-not-listed"),
            ("1, 2 w, 9", "1", &["2"], "release-withdrawn"),
            ("1, 2 w, 9", "1", &["an index", "2"], "release-withdrawn"),
            ("1, 2, 3 w, 9", "1", &["2", "3"], "release-withdrawn"),
            ("1, 2 w, 3, 9", "1", &["2", "3"], "release-withdrawn"),
            ("1, 2 r, 9", "1", &["an index", "2"], "rollout-not-reached"),
            ("1, 2, 3 r, 9", "1", &["2", "3"], "rollout-not-reached"),
            ("1, 2 d, 9", "1", &["2"], "dead-end"),
            ("1, 2 d, 9", "1", &["an index", "2"], "dead-end"),
            ("1, 2, 3 d, 9", "1", &["2", "3"], "dead-end"),
            ("1, 9 d", "1", &["an index", "9"], "dead-end"),
            ("1 d, 2, 9", "1", &["2"], "dead-end"),
            ("1, 2, 9, 91", "1", &["91"], "release-out-of-range"),
            ("1, 2, 9, 91", "1", &["2", "91"], "release-out-of-range"),
            ("1, 2, 9, 91 d", "1", &["91"], "dead-end"),
            // Past a barrier.
            ("1, 2 b, 3, 9", "1", &["3"], "release-out-of-range"),
            ("1, 2 b, 3, 9", "1", &["2"], "allow"),
            ("1, 2 b, 3, 9", "2", &["3"], "allow"),
            // Down, and on the spot.
            ("1, 2, 9", "2", &["1"], "version-too-old"),
            ("1, 2, 9", "2.5", &["an index", "2"], "version-too-old"),
            ("1, 2, 9", "1", &["1"], "via-circular"),
            // What runs was withdrawn, or is above the target release.
            ("1, 2 w, 3, 9", "2", &["1"], "version-too-old"),
            ("1, 2 w, 3, 9", "2", &["3"], "allow"),
            ("1, 9, 91 w", "91", &["1"], "version-too-old"),
            ("1, 9, 91 w, 92", "91", &["92"], "release-out-of-range"),
        ] {
            let found = said(releases, &running(runs), image, true);
            assert_eq!(found, expected, "{releases}: {image:?} on the way from {runs}");
        }
    }

    #[test]
    fn the_step_that_a_document_names_has_to_be_good_by_all_its_digests() {
        for (releases, image, expected) in [
            ("1, 9", &["9", "a manifest"][..], "allow"),
            ("1, 9 d", &["9", "a manifest"], "allow"),
            ("1, 9, 91", &["9", "91"], "allow"),
            ("1, 9, 91 w", &["9", "91"], "release-withdrawn"),
            ("1, 9, 91 r", &["9", "91"], "rollout-not-reached"),
            // A later document: a barrier comes first, or it is no step any more.
            ("1, 2 b, 9", &["9"], "release-out-of-range"),
            ("1, 2 d, 9", &["2"], "dead-end"),
            ("1, 2, 9", &["3"], "release-not-listed"),
            ("1 d, 9", &["9"], "dead-end"),
        ] {
            assert_eq!(
                said(releases, &running("1"), image, false),
                expected,
                "{releases}: {image:?}"
            );
        }
    }

    #[test]
    fn what_runs_is_a_dead_end_by_any_of_its_digests() {
        let digests = vec![digest("1"), digest("2")];
        let runs = Running { digests, version: "1".to_owned() };
        assert_eq!(said("1, 2 d, 9", &runs, &["9"], false), "dead-end");
    }
}
