// SPDX-License-Identifier: MIT OR Apache-2.0

//! The images between the tag and this host: what the tag names, or what it wants to be installed
//! first. Each of them is put to every rule that is about an image.

use super::Error;
use super::evaluation::Asked;
use super::requires::{self, Way};
use super::version::{self, Floor};
use super::{Rule, Verdict};
use crate::image::constraints::{AskError, Asks, COMPATIBLE, END_OF_LIFE};
use crate::image::{Digest, Image};
use crate::printable;
use crate::source::{self, Source, SourceError};
use crate::system::zone_of;
use crate::update::course::{Course, decide};

/// The most images that a tag may lead through, besides its own.
const STEPS: usize = 8;

/// One of these images.
pub struct Stop {
    /// Where it is, where that is not where the tag is.
    source: Option<Box<dyn Source>>,
    /// What is named there: the image, or an index that lists it.
    pub named: Digest,
    /// What to do about it on this host.
    pub course: Course,
    /// The image; `None` where nothing is to be fetched.
    pub image: Option<Image>,
    /// Nobody signed it: nothing more of it may be looked at.
    is_closed: bool,
}

impl Stop {
    /// What the tag names, or the policy document in its place.
    pub fn at_tag(tag: Digest, course: Course) -> Self {
        Self { source: None, named: tag, course, image: None, is_closed: false }
    }

    fn on_the_way(source: Box<dyn Source>, named: Digest, course: Course) -> Self {
        Self { source: Some(source), named, course, image: None, is_closed: false }
    }

    /// Where it is, for a tag at `tagged`.
    pub fn source<'a>(&'a self, tagged: &'a dyn Source) -> &'a dyn Source {
        self.source.as_deref().unwrap_or(tagged)
    }

    /// The digest of the image, as far as that is known.
    pub fn digest(&self) -> Digest {
        self.image.as_ref().map_or(self.named, |image| image.digest)
    }

    /// Whether it is anything that rules are asked about.
    pub fn needs_approval(&self) -> bool {
        matches!(self.course, Course::Install | Course::Arm)
    }

    /// Whether it is on the way to something and runs already: it is below what was asked for, and
    /// does not become any higher.
    fn is_back(&self) -> bool {
        self.source.is_some() && matches!(self.course, Course::UpToDate | Course::Unarm)
    }

    /// Whether something else is named there by now, where that is not where the tag is.
    ///
    /// # Errors
    /// The source's.
    pub fn has_moved(&self) -> Result<bool, SourceError> {
        self.source.as_ref().map_or(Ok(false), |source| Ok(source.resolve()? != self.named))
    }
}

impl Asked<'_> {
    /// Goes from `stop` to the image that can be installed on this host now, and puts each on the
    /// way to the rules.
    ///
    /// # Errors
    /// What keeps a rule from being asked.
    pub(super) fn passage(&mut self, mut stop: Stop) -> Result<Stop, Error> {
        let mut passed = vec![stop.named];
        let mut trail = Vec::new();
        loop {
            self.look_at(&mut stop)?;
            if stop.is_back() {
                self.leads_back(&stop.named.short(), &trail);
                stop.course = Course::Install;
                return Ok(stop);
            }
            if !stop.needs_approval() || stop.is_closed || !self.goes_on() {
                return Ok(stop);
            }
            let Some(via) = self.judge(&stop, &mut trail) else { return Ok(stop) };
            if self.is_refused() {
                return Ok(stop);
            }
            if passed.len() > STEPS {
                let why = format!("the tag leads through more than {STEPS} other images");
                self.put(Rule::Requires, &trail.join("; "), Verdict::block("via-too-long", why));
                return Ok(stop);
            }
            let source = stop.source(self.offer.source).sibling(&via)?;
            let named = source.resolve()?;
            let course = decide(self.offer.situation, &named);
            let next = Stop::on_the_way(source, named, course);
            if next.is_back() || passed.contains(&named) {
                self.leads_back(&via, &trail);
                return Ok(stop);
            }
            if !self.is_not_withdrawn(&named) {
                return Ok(stop);
            }
            passed.push(named);
            self.host(&next.course, &named);
            stop = next;
        }
    }

    fn leads_back(&mut self, via: &str, trail: &[String]) {
        let via = printable::line(via, 80);
        let why = format!("the way through {via} leads back to what runs or was passed already");
        self.put(Rule::Requires, &trail.join("; "), Verdict::block("via-circular", why));
    }

    /// Finds out what is at `stop`, no further than the rules allow: its manifest, who signed it,
    /// and only then its config.
    fn look_at(&mut self, stop: &mut Stop) -> Result<(), Error> {
        self.signed = None;
        if stop.course == Course::Arm {
            return self.signature_of_installed();
        }
        if stop.course != Course::Install {
            return Ok(());
        }
        let architecture = self.offer.means.architecture;
        let source = stop.source.as_deref().unwrap_or(self.offer.source);
        let found = source::find_manifest(source, &stop.named, architecture)?;
        // An index may come again with the same image for this host: the image counts.
        stop.course = decide(self.offer.situation, &found.digest);
        self.host(&stop.course, &found.digest);
        if !stop.needs_approval() || !self.goes_on() {
            return Ok(());
        }
        // P3: before the config, and before any payload.
        let digests: Vec<_> = found.index.into_iter().chain([found.digest]).collect();
        if !self.signature(source, &digests)? {
            stop.is_closed = true;
            return Ok(());
        }
        let image = source::fetch_config(source, found, architecture)?;
        self.product(source, &digests, &image)?;
        if stop.named == self.offer.named.digest {
            self.goal = Some(image.version().to_owned());
        }
        stop.image = Some(image);
        Ok(())
    }

    /// Puts `stop` to the rules that are about an image. Returns what it wants to be installed
    /// first.
    fn judge(&mut self, stop: &Stop, trail: &mut Vec<String>) -> Option<String> {
        // What an earlier run installed was asked for all of this then, but for the version.
        let Some(image) = &stop.image else {
            let installed = self.offer.situation.target_slot().version();
            self.version(installed);
            return None;
        };
        let asks = match Asks::of(&image.manifest.annotations) {
            Ok(asks) => asks,
            Err(error) => {
                self.misunderstood(&error);
                return None;
            }
        };
        let config = self.offer.means.config;
        let (saw, decision) = requires::compatible(&asks.compatible, &config.host.compatible);
        self.put(Rule::Compatible, &saw, decision);
        self.version(image.version());
        let running = self.offer.situation.running_slot().version();
        let requires = asks.requires.as_ref();
        let (saw, decision) = requires::requires(image.version(), requires, running);
        trail.push(saw);
        self.put(Rule::Requires, &trail.join("; "), decision);
        let zone = zone_of(self.offer.means.root);
        let told = requires::end_of_life(asks.end_of_life.as_ref(), &zone);
        self.put(Rule::EndOfLife, &told, Verdict::Allow);
        match requires::way(requires, running) {
            Way::Through(via) => Some(via.to_owned()),
            Way::Direct | Way::None => None,
        }
    }

    fn misunderstood(&mut self, error: &AskError) {
        let decision = Verdict::block("annotation-invalid", error.to_string());
        self.put(rule_about(error.annotation), error.annotation, decision);
    }

    /// What the other slot holds is no part of it: a version that fell back, or that a rollback
    /// left, raises no floor. Nor does what runs, where its publisher has withdrawn it.
    fn version(&mut self, new: &str) {
        let config = self.offer.means.config;
        let record = self.offer.situation.running_slot().record.as_ref();
        let counts = !self.has_withdrawn_what_runs();
        let floor = Floor {
            running: record.map(|record| record.version.as_str()).filter(|_| counts),
            minimum: config.policy.min_version.as_deref(),
            allow_downgrade: config.update.allow_downgrade,
        };
        let (saw, decision) = version::decide(new, &floor);
        self.put(Rule::Version, &saw, decision);
    }
}

/// The rule that cannot be asked where this annotation is not understood.
fn rule_about(annotation: &str) -> Rule {
    match annotation {
        COMPATIBLE => Rule::Compatible,
        END_OF_LIFE => Rule::EndOfLife,
        _ => Rule::Requires,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::constraints::{REQUIRES, VIA};

    #[test]
    fn an_annotation_that_is_not_understood_belongs_to_its_rule() {
        for (annotation, rule) in [
            (REQUIRES, Rule::Requires),
            (VIA, Rule::Requires),
            (COMPATIBLE, Rule::Compatible),
            (END_OF_LIFE, Rule::EndOfLife),
        ] {
            assert_eq!(rule_about(annotation), rule, "{annotation}");
        }
    }
}
