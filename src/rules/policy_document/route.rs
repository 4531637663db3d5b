// SPDX-License-Identifier: MIT OR Apache-2.0

//! The way from what runs to what the tag names, by the policy document: one step of it.
//!
//! The tag names the goal, the document the steps that may be taken. Pure.

use jiff::Timestamp;

use crate::image::Digest;
use crate::image::document::{Document, Release};
use crate::image::rollout::Place;
use crate::image::version;
use crate::printable;
use crate::rules::{Rule, Ruling, Verdict};

pub use crate::image::graph::Running;

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
    pub goal: &'a Digest,
    /// The time.
    pub now: Timestamp,
    /// Where this host stands in rollouts.
    pub place: &'a Place,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route<'a> {
    /// The release that the host may take now; `None` where a ruling refuses.
    pub step: Option<&'a Release>,
    /// What each rule saw and said, in their order.
    pub rulings: Vec<Ruling>,
}

impl<'a> Journey<'a> {
    /// The newest release that this host may take on its way to the goal: not beyond a barrier
    /// above what runs, not from a dead end, none that is withdrawn, none whose rollout has not
    /// reached this host. Where the goal is not above what runs, only the goal itself is meant.
    pub fn route(&self) -> Route<'a> {
        let Some(goal) = self.document.release(self.goal) else {
            let saw = format!("the tag names {}, which is not listed", self.goal.short());
            let reason = format!(
                "the policy document does not list {}, which the tag names",
                self.goal.short()
            );
            let refusal = Verdict::defer("release-not-listed", reason);
            return Route { step: None, rulings: vec![ruling(Rule::PolicyDocument, saw, refusal)] };
        };
        let here = self.here();
        let mut rulings = vec![self.listed(goal)];
        if self.running.digests.contains(self.goal) {
            rulings.extend([runs(goal), self.dead_end(here)]);
            let is_refused = rulings.iter().any(|ruling| !ruling.decision.is_allow());
            return Route { step: Some(goal).filter(|_| !is_refused), rulings };
        }
        let way = self.way(goal, here);
        let last = way.last().copied().unwrap_or(goal);
        let good: Vec<&'a Release> =
            way.iter().copied().filter(|release| release.withdrawn.is_none()).collect();
        let step = good.iter().rev().copied().find(|release| self.is_reached(release));
        rulings.extend([withdrawn(&way, &good), self.dead_end(here), passes(goal, last)]);
        if let Some(newest) = good.last().copied() {
            rulings.push(self.rollout(newest, step));
        }
        let is_refused = rulings.iter().any(|ruling| !ruling.decision.is_allow());
        Route { step: step.filter(|_| !is_refused), rulings }
    }

    /// Everything between what runs and the goal that the host might take, the lowest first; it
    /// ends with the goal or with the first barrier. Only the goal, where that is not above.
    fn way(&self, goal: &'a Release, here: Option<&Release>) -> Vec<&'a Release> {
        let is_ahead = |release: &&'a Release| {
            self.is_above(release, here)
                && !version::compare(&release.version, &goal.version).is_gt()
        };
        let mut way: Vec<&'a Release> = self.document.releases.iter().filter(is_ahead).collect();
        if way.is_empty() {
            return vec![goal];
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
    fn here(&self) -> Option<&'a Release> {
        let by_digest = self.running.digests.iter().find_map(|d| self.document.release(d));
        by_digest.or_else(|| self.document.version(&self.running.version))
    }

    fn is_above(&self, release: &Release, here: Option<&Release>) -> bool {
        let running = here.map_or(self.running.version.as_str(), |here| &here.version);
        version::compare(&release.version, running).is_gt()
    }

    fn listed(&self, goal: &Release) -> Ruling {
        let saw = format!("the tag names {}, which is listed", shown(&goal.version));
        ruling(Rule::PolicyDocument, saw, Verdict::Allow)
    }

    fn dead_end(&self, here: Option<&Release>) -> Ruling {
        let running = shown(&self.running.version);
        let Some(here) = here else {
            let saw = format!("{running} runs, which is not listed");
            return ruling(Rule::DeadEnd, saw, Verdict::Allow);
        };
        let Some(reason) = &here.dead_end else {
            return ruling(Rule::DeadEnd, format!("{running} is none"), Verdict::Allow);
        };
        let reason = format!("{running} is a dead end: {}", because(reason));
        let decision = Verdict::block("dead-end", reason);
        ruling(Rule::DeadEnd, format!("{running} is a dead end"), decision)
    }

    fn is_reached(&self, release: &Release) -> bool {
        let wariness = self.place.wariness(&release.version);
        release.rollout.is_none_or(|rollout| rollout.reaches(wariness, self.now))
    }

    /// `newest`: what the host would take were it its turn; `step`: what it may take.
    fn rollout(&self, newest: &Release, step: Option<&Release>) -> Ruling {
        let version = shown(&newest.version);
        let Some(rollout) = newest.rollout else {
            let saw = format!("{version} is for every host");
            return ruling(Rule::Rollout, saw, Verdict::Allow);
        };
        let wariness = self.place.wariness(&newest.version);
        let share = rollout.threshold(self.now).map_or_else(
            || "its rollout has not begun".to_owned(),
            |threshold| format!("its rollout is at {threshold:.3}"),
        );
        let of = match self.place {
            Place::Set(_) => "as policy.wariness says",
            Place::Hashed(_) => "by its machine ID",
            Place::Unknown => "for want of a machine ID",
        };
        let instead = match step {
            Some(step) if step.digest != newest.digest => {
                format!("; {} is taken meanwhile", shown(&step.version))
            }
            _ => String::new(),
        };
        let saw = format!(
            "{version}: {share}, this host's wariness is {:.3} {of}{instead}",
            wariness.share()
        );
        let decision = match step {
            Some(_) => Verdict::Allow,
            None => {
                let turn = rollout.turn(wariness).map_or_else(
                    || "never".to_owned(),
                    |turn| format!("at {}", turn.strftime("%Y-%m-%d %H:%M UTC")),
                );
                let reason =
                    format!("the rollout of {version} has not reached this host; it does {turn}");
                Verdict::defer("rollout-not-reached", reason)
            }
        };
        ruling(Rule::Rollout, saw, decision)
    }
}

/// Of a goal that is reached.
fn runs(goal: &Release) -> Ruling {
    let withdrawn = if goal.withdrawn.is_some() { ", and is withdrawn" } else { "" };
    let saw = format!("{} runs{withdrawn}", shown(&goal.version));
    ruling(Rule::Withdrawn, saw, Verdict::Allow)
}

/// `way`: what the host could take; `good`: what of it is not withdrawn.
fn withdrawn(way: &[&Release], good: &[&Release]) -> Ruling {
    let Some((last, reason)) = way.iter().rev().find_map(|r| Some((r, r.withdrawn.as_ref()?)))
    else {
        return ruling(Rule::Withdrawn, "nothing on the way is withdrawn".into(), Verdict::Allow);
    };
    let version = shown(&last.version);
    let saw = format!("{version} is withdrawn");
    let decision = match good {
        [] => Verdict::block(
            "release-withdrawn",
            format!("{version} is withdrawn: {}", because(reason)),
        ),
        _ => Verdict::Allow,
    };
    ruling(Rule::Withdrawn, saw, decision)
}

/// `last`: as far as the host may go.
fn passes(goal: &Release, last: &Release) -> Ruling {
    let (goal, version) = (shown(&goal.version), shown(&last.version));
    let saw = match &last.barrier {
        Some(reason) if goal != version => {
            format!("{version} comes before {goal}: {}", because(reason))
        }
        _ => format!("none before {goal}"),
    };
    ruling(Rule::Barrier, saw, Verdict::Allow)
}

fn ruling(rule: Rule, saw: String, decision: Verdict) -> Ruling {
    Ruling { rule, saw, decision }
}

fn shown(version: &str) -> String {
    printable::line(version, 80)
}

fn because(reason: &str) -> String {
    match printable::line(reason, 300) {
        none if none.is_empty() => "no reason is given".to_owned(),
        reason => reason,
    }
}
