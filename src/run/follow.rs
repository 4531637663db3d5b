// SPDX-License-Identifier: MIT OR Apache-2.0

//! A run of `flipside check` or `flipside update`: from the tag to an armed slot.

use flipside_core::install::{self, Job, arm_installed};
use flipside_core::state::{Aftermath, Course, Situation};
use flipside_core::trial::{disarm_superseded, disarm_withdrawn, settle};
use flipside_core::{Host, Lock, architecture};

use super::ask::{Unasked, approve, means};
use super::{Run, UpdateError};
use crate::config::{self, Initiative};
use crate::hooks::{self, Asking, Kind};
use crate::reboot::Inhibitor;
use crate::rules::signature::open as open_verifier;
use crate::rules::{
    Approval, Depth, Explanation, Offer, Rule, TargetRelease, find_target_release, hook_context,
    nobody_holds, settings_now, still_stands, time_allows,
};
use crate::system::{Clock, zone_of};
use flipside_core::host::Slot;
use flipside_core::progress::{Event, Phase};
use flipside_core::refusal::Refusal;
use flipside_image::signature::Verifier;
use flipside_image::{Architecture, CONFIG_LIMIT, Digest, HOOK_PAYLOAD, Image};
use flipside_source::{self as source, Source};

/// What a check found.
#[derive(Debug, Clone)]
pub struct Check {
    /// What the tag points to.
    pub tag: Digest,
    /// What an update would do about it.
    pub course: Course,
    /// The version that an update would bring, where there is one.
    pub version: Option<String>,
    /// The version of what the tag names, where it was looked at. Another one than `version` where
    /// that is on the way to it.
    pub goal: Option<String>,
    /// What each rule said that was asked.
    pub explanation: Explanation,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No slots are recognised here, or `track.image` is not set.
    NothingToDo(&'static str),
    /// The running slot holds what the tag names.
    UpToDate {
        /// The running version.
        version: String,
        /// What the tag points to.
        tag: Digest,
    },
    /// The target holds what the tag names and boots at the next reboot.
    Armed {
        /// The target.
        slot: Slot,
        /// The version in it.
        version: String,
        /// What the tag points to.
        tag: Digest,
        /// Whether an earlier run did it.
        before: bool,
    },
    /// The tag went back to what runs: what was armed does not boot any more.
    Unarmed {
        /// The target.
        slot: Slot,
        /// The version in it.
        version: String,
    },
}

/// Says what an update of this initiative would do. Writes nothing.
///
/// # Errors
/// [`Unasked`]; a refusal is not an error here but a [`Course`]. `None` where there is
/// nothing to follow or no slot.
pub fn check(
    run: &Run,
    initiative: Initiative,
    depth: Depth,
) -> Result<Option<Check>, Box<Unasked>> {
    let Some(look) = look(run)? else { return Ok(None) };
    let offer = look.offer(run, initiative);
    let Approval { explanation, course, waypoint, goal, .. } = approve(run, &offer, depth)?;
    let version = match (&waypoint.image, &course) {
        (Some(image), _) => Some(image.version().to_owned()),
        (None, Course::Waiting | Course::Arm) => {
            Some(look.situation.target_slot().version().to_owned())
        }
        _ => None,
    };
    Ok(Some(Check { tag: look.named.digest, course, version, goal, explanation }))
}

/// What the tag points to, and this host as it is.
struct Look {
    situation: Situation,
    source: Box<dyn Source>,
    named: TargetRelease,
    verifier: Verifier,
    product: Option<String>,
    architecture: Architecture,
    options: source::Options,
}

impl Look {
    /// What is on offer, and to whom.
    fn offer<'a>(&'a self, run: &'a Run, initiative: Initiative) -> Offer<'a> {
        Offer {
            means: means(run, self.architecture, &self.options),
            initiative,
            situation: &self.situation,
            source: self.source.as_ref(),
            named: &self.named,
            verifier: &self.verifier,
            product: self.product.as_deref(),
            is_only_asked: false,
        }
    }
}

/// `None` where there is nothing to follow or no slot.
fn look(run: &Run) -> Result<Option<Look>, UpdateError> {
    if run.config.track.image.is_none() {
        return Ok(None);
    }
    let Some(host) = Host::open(&run.access())? else { return Ok(None) };
    let verifier = open_verifier(&run.root, &run.config)?;
    let product = product(run, &host);
    let situation = host.situation()?;
    let source = run.source()?;
    run.progress.event(Event::Phase(Phase::Checking));
    let situation = anticipate(run, situation);
    let (architecture, options) = (architecture()?, run.source_options());
    let means = means(run, architecture, &options);
    let named = find_target_release(&means, source.as_ref(), &situation)?;
    Ok(Some(Look { situation, source, named, verifier, product, architecture, options }))
}

/// What the hooks would be asked about the update on offer.
#[derive(Debug, Clone)]
pub struct HooksPlanned {
    /// What an update would bring.
    pub new: hooks::System,
    /// The hooks, in the order in which they would be asked.
    pub hooks: Vec<hooks::Planned>,
}

/// Says which hooks would be asked about what an update would install or arm, and runs none.
/// `None` where nothing is on offer.
///
/// # Errors
/// As [`ask_hooks_about_offer`].
pub fn plan_hooks(run: &Run, initiative: Initiative) -> Result<Option<HooksPlanned>, UpdateError> {
    let Some(look) = look(run)? else { return Ok(None) };
    let offer = Offer { is_only_asked: true, ..look.offer(run, initiative) };
    let Approval { course, waypoint, .. } = approve(run, &offer, Depth::Check)?;
    match course {
        Course::Refuse(refusal) => Err(refusal.into()),
        Course::Install | Course::Arm => {
            let context =
                hook_context(&run.config, initiative, &look.situation, waypoint.image.as_ref());
            let asking = Asking::new(&run.root, &run.config.policy.hooks, &context, &run.stop);
            // What is only to be armed is asked as well, and was not looked at so far.
            let image = match waypoint.image {
                Some(image) => image,
                None => fetch(waypoint.source(look.source.as_ref()), &waypoint.named)?,
            };
            let brings_one = image.layer(HOOK_PAYLOAD).is_some();
            let mut hooks: Vec<_> =
                brings_one.then(|| asking.plan(Kind::Image, HOOK_PAYLOAD)).into_iter().collect();
            hooks.extend(asking.plan_host()?);
            let container = run.config.policy.hooks.container.as_ref();
            hooks.extend(container.map(|set| asking.plan(Kind::Container, &set.image)));
            Ok(Some(HooksPlanned { new: context.new, hooks }))
        }
        Course::UpToDate | Course::Waiting | Course::Unarm => Ok(None),
    }
}

/// What the hooks said about the update on offer.
#[derive(Debug, Clone)]
pub struct HooksAsked {
    /// What an update would bring.
    pub new: hooks::System,
    /// The hooks' answers, up to the first that does not allow.
    pub answers: Vec<hooks::Answer>,
}

/// Asks the hooks about what an update would install or arm, as an update does, and goes no
/// further. `None` where nothing is on offer.
///
/// # Errors
/// [`UpdateError`]; also the refusal of an update that would not get as far as the hooks.
pub fn ask_hooks_about_offer(
    run: &Run,
    initiative: Initiative,
) -> Result<Option<HooksAsked>, UpdateError> {
    let Some(look) = look(run)? else { return Ok(None) };
    let offer = Offer { is_only_asked: true, ..look.offer(run, initiative) };
    let Approval { course, waypoint, answers, .. } = approve(run, &offer, Depth::Update)?;
    match (answers, course) {
        // A rule about hooks may refuse without an answer of one.
        (Some(answers), Course::Refuse(refusal)) if hooks::decide(&answers).is_allow() => {
            Err(refusal.into())
        }
        (Some(answers), _) => {
            let new =
                hook_context(&run.config, initiative, &look.situation, waypoint.image.as_ref()).new;
            Ok(Some(HooksAsked { new, answers }))
        }
        (None, Course::Refuse(refusal)) => Err(refusal.into()),
        (None, _) => Ok(None),
    }
}

/// Brings the host to what the tag names, as far as that goes before a reboot.
///
/// # Errors
/// [`UpdateError`]; the running slot boots as before.
pub fn update(run: &Run, initiative: Initiative) -> Result<Outcome, UpdateError> {
    if run.config.track.image.is_none() {
        return Ok(Outcome::NothingToDo("track.image is not set"));
    }
    let Some(host) = Host::open(&run.access())? else {
        return Ok(Outcome::NothingToDo("no slots are recognised on this host"));
    };
    let verifier = open_verifier(&run.root, &run.config)?;
    let product = product(run, &host);
    let facts = host.situation()?;
    let source = run.source()?;
    run.progress.event(Event::Phase(Phase::Checking));
    let (architecture, options) = (architecture()?, run.source_options());
    let means = means(run, architecture, &options);
    let named = find_target_release(&means, source.as_ref(), &facts)?;
    let tag = named.digest;

    let anticipated = anticipate(run, facts.clone());
    // Hooks may take their time: all rules are asked without the lock, and what they relied on
    // is read again under it.
    let offer = Offer {
        means,
        initiative,
        situation: &anticipated,
        source: source.as_ref(),
        named: &named,
        verifier: &verifier,
        product: product.as_deref(),
        is_only_asked: false,
    };
    let Approval { course: planned, waypoint, signed, goal, explanation, is_revoked, .. } =
        approve(run, &offer, Depth::Update)?;
    if is_revoked {
        unarm_withdrawn(run, &facts)?;
        return update(run, initiative);
    }
    // P10: the usual run ends here, and has written nothing. What became of a trial is noted
    // first, unless a rule refuses what follows.
    let nothing_happened = anticipated == facts;
    let is_refused_by_rule = matches!(planned, Course::Refuse(_))
        && explanation.of(Rule::Host).is_some_and(|ruling| ruling.decision.is_allow());
    if (nothing_happened || is_refused_by_rule)
        && let Some(outcome) = without_lock(&facts, &tag, &planned)?
    {
        return Ok(outcome);
    }
    let digest = waypoint.digest();

    let _lock = Lock::take(&run.root)?;
    let access = run.access();
    let host = Host::open(&access)?.ok_or_else(changed)?;
    let situation = host.situation()?;
    settle(&access, &host, &situation)?;
    let situation = host.situation()?;
    let course = named.course(&situation, &digest);
    if let Some(outcome) = without_lock(&situation, &tag, &course)? {
        return Ok(outcome);
    }
    let has_moved =
        || Ok::<_, UpdateError>(named.has_moved(source.as_ref())? || waypoint.has_moved()?);
    if course != planned || (waypoint.image.is_some() && has_moved()?) {
        return Err(changed().into());
    }
    run.stop.check()?;
    if matches!(course, Course::Install | Course::Arm) {
        let settings = settings_now(&means);
        time_allows(&means, &settings, initiative)?;
        say_hold(run, &settings);
    }
    let target = situation.target();
    let armed = |version: &str| Outcome::Armed {
        slot: target,
        version: version.to_owned(),
        tag,
        before: false,
    };
    // An install that began in a window is finished; a hold means what has not been armed yet.
    let still_stands = || {
        nobody_holds(&means, &settings_now(&means), initiative)?;
        still_stands(&offer, &waypoint.named)
    };
    match (course, &waypoint.image) {
        (Course::Install, Some(image)) => {
            let towards = goal.filter(|goal| goal != image.version());
            if let Some(goal) = &towards {
                tracing::info!("{} comes first, on the way to {goal}", image.version());
            }
            let from = waypoint.source(source.as_ref());
            let descriptor = &image.manifest.config;
            let config = || {
                let bytes = from.blob("config", descriptor, CONFIG_LIMIT);
                bytes.map_err(|error| error.to_string())
            };
            let job = Job {
                access: &access,
                host: &host,
                situation: &situation,
                source: from,
                repository: from.repository(),
                image,
                tag: waypoint.named,
                signed_by: signed.map(|signed| signed.key),
                towards,
                config: &config,
                still_stands: &still_stands,
            };
            let checked = install::check(&job)?;
            let what = format!("writing {} into slot {target}", image.version());
            let _inhibitor = Inhibitor::take(&run.root, &what);
            checked.run()?;
            run.progress.event(Event::Phase(Phase::Done));
            Ok(armed(image.version()))
        }
        (Course::Arm, _) => {
            still_stands()?;
            arm_installed(&host, &situation)?;
            Ok(armed(situation.target_slot().version()))
        }
        (Course::Unarm, _) => unarm(&host, &situation),
        _ => Err(changed().into()),
    }
}

/// Only a person gets this far on a host that is held.
fn say_hold(run: &Run, settings: &config::Update) {
    let zone = zone_of(&run.root);
    let hold = settings.hold.as_ref();
    if let Some(hold) = hold.filter(|hold| hold.holds(Clock::of(&run.root).shows(), &zone)) {
        tracing::warn!("{}; this update goes on, because a person asked for it", hold.text(&zone));
    }
}

/// What this host calls its own product.
fn product(run: &Run, host: &Host) -> Option<String> {
    let configured = run.config.policy.signature.product.as_deref();
    configured.or(host.os_id()).map(str::to_owned)
}

fn changed() -> Refusal {
    Refusal::defer("situation-changed", "this host or the tag changed while the hooks were asked")
}

/// The outcome of a course that touches nothing; `None` for one that needs the lock.
fn without_lock(
    situation: &Situation,
    tag: &Digest,
    course: &Course,
) -> Result<Option<Outcome>, UpdateError> {
    match course {
        Course::UpToDate => Ok(Some(Outcome::UpToDate {
            version: situation.running_slot().version().to_owned(),
            tag: *tag,
        })),
        Course::Waiting => Ok(Some(Outcome::Armed {
            slot: situation.target(),
            version: situation.target_slot().version().to_owned(),
            tag: *tag,
            before: true,
        })),
        Course::Refuse(refusal) => Err(refusal.clone().into()),
        Course::Unarm | Course::Arm | Course::Install => Ok(None),
    }
}

/// The situation as it will be once a trial that fell back has been counted.
fn anticipate(run: &Run, mut situation: Situation) -> Situation {
    if let Aftermath::FellBack { digest, version, arming } = situation.aftermath() {
        situation.failed.count(digest, &version, &arming, run.config.trial.attempts);
    }
    situation
}

/// Manifest and config, checked; no payload byte (P3).
pub(super) fn fetch(source: &dyn Source, tag: &Digest) -> Result<Image, UpdateError> {
    let architecture = architecture()?;
    let image = source::fetch_image(source, tag, architecture)?;
    image.config.check_architecture(architecture)?;
    Ok(image)
}

/// What was found to be withdrawn does not boot any more, where it is still what boots next.
fn unarm_withdrawn(run: &Run, facts: &Situation) -> Result<(), UpdateError> {
    let _lock = Lock::take(&run.root)?;
    let host = Host::open(&run.access())?.ok_or_else(changed)?;
    let situation = host.situation()?;
    if !situation.is_armed() || situation.target_slot() != facts.target_slot() {
        return Err(changed().into());
    }
    Ok(disarm_withdrawn(&host, &situation)?)
}

fn unarm(host: &Host, situation: &Situation) -> Result<Outcome, UpdateError> {
    let target = situation.target();
    let slot = situation.target_slot();
    disarm_superseded(host, situation)?;
    Ok(Outcome::Unarmed { slot: target, version: slot.version().to_owned() })
}
