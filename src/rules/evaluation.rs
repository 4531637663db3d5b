// SPDX-License-Identifier: MIT OR Apache-2.0

//! May this host take what the tag names? The one place where an update on offer is put to
//! every rule, in the order of [`Rule::ALL`]. What a rule goes by is fetched no sooner
//! than its turn comes (P3).

use super::upgrade_path::Stop;
use super::{Error, Means, Offer};
use super::{Explanation, Rule, Ruling, Verdict, hold, update_window};
use crate::config::window::Windows;
use crate::config::{self, Config, Initiative};
use crate::hooks::{Answer, Context, System};
use crate::host::Slot;
use crate::image::document::Document;
use crate::image::signature::Signed;
use crate::image::{Digest, Image};
use crate::printable;
use crate::refusal::Refusal;
use crate::system::zone_of;
use crate::update::course::Course;
use crate::update::situation::Situation;

/// The most characters that a ruling shows of what it went by.
const SHOWN: usize = 200;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Up to the first refusal, and no hooks: they may do as they please, and a check is no
    /// reason to.
    Check,
    /// Everything, up to the first refusal.
    Update,
    /// Everything; after a refusal, what can be asked all the same.
    Explain,
}

/// What the rules said, and what follows from it.
pub struct Approval {
    /// The rulings.
    pub explanation: Explanation,
    /// What to do. Where that is an install or an arming, every rule that was asked allows it.
    pub course: Course,
    /// What to do it with: what the tag names, or something on the way to it.
    pub stop: Stop,
    /// Who signed it, where that was asked.
    pub signed: Option<Signed>,
    /// The version of what the tag names, where it was looked at.
    pub goal: Option<String>,
    /// What boots next was withdrawn.
    pub is_revoked: bool,
    /// The answers of the hooks, where they were asked.
    pub answers: Option<Vec<Answer>>,
}

/// A rule could not be asked.
#[derive(Debug)]
pub struct Unasked {
    /// Why.
    pub error: Error,
    /// What the rules before it said.
    pub explanation: Explanation,
}

/// Puts `offer` to every rule.
///
/// # Errors
/// What keeps a rule from being asked; a refusal is a [`Course`].
pub fn approve(offer: &Offer<'_>, depth: Depth) -> Result<Approval, Box<Unasked>> {
    let mut asked = Asked {
        offer,
        depth,
        explanation: Explanation::default(),
        signed: None,
        goal: None,
        document: None,
        is_revoked: false,
    };
    let (stop, answers) = match asked.ask() {
        Ok(approved) => approved,
        Err(error) => return Err(Box::new(Unasked { error, explanation: asked.explanation })),
    };
    let refusal = asked.explanation.first_refusal().and_then(|r| r.decision.refusal().cloned());
    let course = match (stop.course.clone(), refusal, asked.publishers_refusal()) {
        (Course::Install | Course::Arm, Some(refusal), _) => Course::Refuse(refusal),
        // Who is kept from learning of an update looks like one who has none: that is said.
        (Course::UpToDate | Course::Waiting, _, Some(refusal)) => Course::Refuse(refusal),
        // Who has nothing to install is refused nothing else.
        (course, ..) => course,
    };
    let Asked { explanation, signed, goal, is_revoked, .. } = asked;
    Ok(Approval { explanation, course, stop, signed, goal, is_revoked, answers })
}

/// The questions, as far as they were asked.
pub(super) struct Asked<'a> {
    pub(super) offer: &'a Offer<'a>,
    pub(super) depth: Depth,
    pub(super) explanation: Explanation,
    /// Who signed the image that was looked at last.
    pub(super) signed: Option<Signed>,
    /// The version of what the tag names.
    pub(super) goal: Option<String>,
    /// The policy document, where there is one to go by.
    pub(super) document: Option<Document>,
    pub(super) is_revoked: bool,
}

impl Asked<'_> {
    /// The order of the rules, as it is read.
    fn ask(&mut self) -> Result<(Stop, Option<Vec<Answer>>), Error> {
        let Offer { means, initiative, situation, named, .. } = self.offer;
        let goal = named.digest;
        let mut stop = Stop::at_tag(goal, named.course(situation, &goal));
        for (rule, (saw, decision)) in ask_of_the_time(means, &means.config.update, *initiative) {
            self.put(rule, &saw, decision);
        }
        // What is about to boot may have been withdrawn, whatever keeps from installing more.
        if self.goes_on() || !stop.needs_approval() || situation.is_armed() {
            let step = self.document()?;
            stop = Stop::at_tag(step, named.course(situation, &step));
        }
        self.host(&stop.course, &stop.named);
        // That has to go first: what else there is to do depends on it.
        if self.is_revoked && self.depth == Depth::Update {
            return Ok((stop, None));
        }
        if stop.needs_approval() && self.goes_on() {
            stop = self.passage(stop)?;
        }
        // Whatever costs more than a look comes last, and only where all else allows it.
        let asks_hooks = self.depth != Depth::Check && stop.needs_approval() && !self.is_refused();
        let answers = match asks_hooks {
            true => Some(self.hooks(&stop)?),
            false => None,
        };
        Ok((stop, answers))
    }

    /// Whether a rule refused so far.
    pub(super) fn is_refused(&self) -> bool {
        self.explanation.first_refusal().is_some()
    }

    /// Whether to ask further after what was said so far.
    pub(super) fn goes_on(&self) -> bool {
        self.depth == Depth::Explain || !self.is_refused()
    }

    pub(super) fn put(&mut self, rule: Rule, saw: &str, decision: Verdict) {
        let saw = printable::line(saw, SHOWN);
        self.explanation.note(Ruling { rule, saw, decision });
    }

    pub(super) fn host(&mut self, course: &Course, digest: &Digest) {
        let running = self.offer.situation.running;
        let saw = format!("slot {running} runs {}", self.offer.situation.running_slot().version());
        let decision = match course {
            Course::Refuse(refusal) => Verdict::No(refusal.clone()),
            _ => Verdict::Allow,
        };
        self.put(Rule::Host, &format!("{saw}, the tag names {}", digest.short()), decision);
    }
}

/// The rules that go by the clock alone: asked first, and under the lock again.
fn ask_of_the_time(
    means: &Means<'_>,
    settings: &config::Update,
    initiative: Initiative,
) -> [(Rule, (String, Verdict)); 2] {
    let zone = zone_of(means.root);
    // Asked where it matters: it may take a service to tell.
    let has_dates = settings.hold.as_ref().is_some_and(|hold| hold.until.is_some());
    let asks = initiative == Initiative::Automatic && (has_dates || !settings.windows.is_empty());
    let clock = means.clock();
    let now = if asks { clock.now() } else { Some(clock.shows()) };
    let windows = Windows { windows: &settings.windows, host: &zone };
    [
        (Rule::Hold, hold::decide(settings.hold.as_ref(), initiative, now, &zone)),
        (Rule::UpdateWindow, update_window::decide(windows, initiative, now)),
    ]
}

/// `[update]` as the files have it by now: somebody may have held this host meanwhile. Files that
/// cannot be read any more change nothing.
pub fn settings_now(means: &Means<'_>) -> config::Update {
    Config::load(means.root).map(|config| config.update).unwrap_or_else(|error| {
        tracing::warn!("the settings stay what they were: {error}");
        means.config.update.clone()
    })
}

/// Whether the time still allows what it did when the rules were asked: hooks may take theirs.
///
/// # Errors
/// The refusal.
pub fn time_allows(
    means: &Means<'_>,
    settings: &config::Update,
    initiative: Initiative,
) -> Result<(), Refusal> {
    let [(_, (_, hold)), (_, (_, window))] = ask_of_the_time(means, settings, initiative);
    hold.into_result().and_then(|()| window.into_result())
}

/// The same of a hold alone, for an install that goes on beyond its window.
///
/// # Errors
/// The refusal.
pub fn nobody_holds(
    means: &Means<'_>,
    settings: &config::Update,
    initiative: Initiative,
) -> Result<(), Refusal> {
    let [(_, (_, hold)), _] = ask_of_the_time(means, settings, initiative);
    hold.into_result()
}

/// What the hooks are told: an image that is to be installed, or the one that the target holds.
pub fn hook_context(
    config: &Config,
    initiative: Initiative,
    situation: &Situation,
    image: Option<&Image>,
) -> Context {
    let system = |slot: Slot| {
        let facts = situation.slot(slot);
        let version = facts.record.as_ref().map(|record| record.version.clone());
        System { slot, version, digest: facts.digest() }
    };
    let target = situation.target();
    Context {
        image: config.track.image.clone().unwrap_or_default(),
        initiative,
        running: system(situation.running),
        new: match image {
            Some(image) => System {
                slot: target,
                version: Some(image.version().to_owned()),
                digest: Some(image.digest),
            },
            None => system(target),
        },
    }
}
