// SPDX-License-Identifier: MIT OR Apache-2.0

//! The last step of a run: under the lock, what the rules relied on is read again, and then done.

use flipside_core::host::Record;
use flipside_core::install::{self, Job, arm_installed};
use flipside_core::refusal::Refusal;
use flipside_core::state::transition::Reason;
use flipside_core::state::{Action, HostState};
use flipside_core::trial::{self, record_trial_outcome};
use flipside_core::{Access, Host, Lock};
use flipside_image::{Digest, Image};

use super::outcome::{Outcome, without_lock};
use super::status::note_download;
use super::{Error, Run, old_image};
use crate::codes;
use crate::config;
use crate::rules::{
    Candidate, Evaluated, Withdrawal, nobody_holds, settings_now, still_stands, time_allows,
};
use crate::system::{Clock, Inhibitor, zone_of};

/// What the rules said, and the host that was read under the lock.
struct Act<'a> {
    lock: &'a Lock,
    run: &'a Run,
    access: &'a Access,
    candidate: &'a Candidate<'a>,
    evaluated: &'a Evaluated,
    host: &'a Host,
    host_state: &'a HostState,
}

/// Does what was approved, if this host and the tag are still what they were.
///
/// # Errors
/// [`Error`]; the running slot boots as before.
pub(super) fn act(
    run: &Run,
    candidate: &Candidate<'_>,
    evaluated: &Evaluated,
) -> Result<Outcome, Error> {
    let lock = Lock::take(&run.root)?;
    let access = run.access();
    let host = Host::open(&access)?.ok_or_else(changed)?;
    let (_, mut host_state) = record_trial_outcome(&lock, &access, &host)?;
    // What is installed has them looked for in its preflight.
    if matches!(evaluated.action, Action::Refuse(_)) {
        host.look_for_obstacles(&mut host_state, &run.stop)?;
    }
    let waypoint = &evaluated.waypoint;
    let content = waypoint.image.as_ref().map(|image| host_state.content_of(&image.config));
    let action = candidate.target_release.action(&host_state, &waypoint.digest(), content);
    if let Some(outcome) = without_lock(&host_state, &candidate.target_release.digest, &action)? {
        return Ok(outcome);
    }
    let act = Act {
        lock: &lock,
        run,
        access: &access,
        candidate,
        evaluated,
        host: &host,
        host_state: &host_state,
    };
    act.refuse_changed(&action)?;
    run.stop.check()?;
    if matches!(action, Action::Install | Action::Arm) {
        act.refuse_held()?;
    }
    match (action, &waypoint.image) {
        (Action::Adopt, Some(image)) => act.adopt(image),
        (Action::Install, Some(image)) => act.install(image),
        (Action::Arm, _) => act.arm(),
        (Action::Unarm, _) => act.disarm(),
        _ => Err(changed().into()),
    }
}

impl Act<'_> {
    fn refuse_changed(&self, action: &Action) -> Result<(), Error> {
        let Evaluated { action: planned, waypoint, .. } = self.evaluated;
        let is_fetched = waypoint.image.is_some();
        if action != planned || (is_fetched && self.has_tag_moved()?) {
            return Err(changed().into());
        }
        Ok(())
    }

    fn has_tag_moved(&self) -> Result<bool, Error> {
        let Candidate { target_release, source, .. } = self.candidate;
        Ok(target_release.has_moved(*source)? || self.evaluated.waypoint.has_moved()?)
    }

    /// Hooks may have taken their time.
    fn refuse_held(&self) -> Result<(), Error> {
        let Candidate { means, initiative, .. } = self.candidate;
        let settings = settings_now(means);
        time_allows(means, &settings, *initiative)?;
        say_hold(self.run, &settings);
        Ok(())
    }

    /// An install that began in a window is finished; a hold means what has not been armed yet.
    fn still_stands(&self) -> Result<(), flipside_core::Error> {
        let Candidate { means, initiative, .. } = self.candidate;
        nobody_holds(means, &settings_now(means), *initiative)?;
        still_stands(self.candidate, &self.evaluated.waypoint, self.host_state)
    }

    fn install(&self, image: &Image) -> Result<Outcome, Error> {
        let Evaluated { waypoint, signed, target_version, .. } = self.evaluated;
        let towards =
            target_version.clone().filter(|target_version| target_version != image.version());
        if let Some(target_version) = &towards {
            tracing::info!("{} comes first, on the way to {target_version}", image.version());
        }
        let source = waypoint.source(self.candidate.source);
        let old = old_image::find(self.run, self.host, self.host_state, source, image)?;
        let download = old_image::download(self.host_state, image, old.as_ref());
        note_download(self.run, download);
        let job = Job {
            lock: self.lock,
            access: self.access,
            host: self.host,
            host_state: self.host_state,
            source,
            repository: source.repository(),
            image,
            old: old.as_ref(),
            tag: waypoint.tagged,
            signed_by: signed.as_ref().map(|signed| signed.key.clone()),
            towards,
            still_stands: &|| self.still_stands(),
        };
        let checked = install::check(&job)?;
        let what = format!("writing {} into slot {}", image.version(), self.host_state.target());
        let _inhibitor = Inhibitor::take(&self.run.root, &what);
        checked.run()?;
        Ok(self.armed(image.version()))
    }

    fn adopt(&self, image: &Image) -> Result<Outcome, Error> {
        let Evaluated { waypoint, signed, .. } = self.evaluated;
        still_stands(self.candidate, waypoint, self.host_state)?;
        let repository = waypoint.source(self.candidate.source).repository();
        let release = Record {
            signed_by: signed.as_ref().map(|signed| signed.key.clone()),
            content_id: Some(self.host_state.content_of(&image.config)),
            ..Record::of(image, waypoint.tagged, Some(repository))
        };
        trial::adopt(self.lock, self.host, self.host_state, release)?;
        let version = image.version().to_owned();
        Ok(Outcome::Adopted { version, tag: self.candidate.target_release.digest })
    }

    fn arm(&self) -> Result<Outcome, Error> {
        self.still_stands()?;
        arm_installed(self.lock, self.host, self.host_state)?;
        Ok(self.armed(self.host_state.target_slot().version()))
    }

    fn disarm(&self) -> Result<Outcome, Error> {
        trial::disarm(self.lock, self.host, self.host_state, &Reason::TagMoved)?;
        let version = self.host_state.target_slot().version().to_owned();
        Ok(Outcome::Unarmed { slot: self.host_state.target(), version })
    }

    fn armed(&self, version: &str) -> Outcome {
        let (slot, tag): (_, Digest) =
            (self.host_state.target(), self.candidate.target_release.digest);
        Outcome::Armed { slot, version: version.to_owned(), tag, before: false }
    }
}

/// What was found to be withdrawn does not boot any more, where it is still what boots next.
///
/// # Errors
/// [`Error`].
pub(super) fn disarm_revoked(
    run: &Run,
    facts: &HostState,
    evaluated: &Evaluated,
) -> Result<(), Error> {
    let lock = Lock::take(&run.root)?;
    let host = Host::open(&run.access())?.ok_or_else(changed)?;
    let host_state = host.host_state()?;
    if !host_state.is_armed() || host_state.target_slot() != facts.target_slot() {
        return Err(changed().into());
    }
    let of_target = |found: &&Withdrawal| found.slot == host_state.target();
    let found = evaluated.withdrawals.iter().flatten().find(of_target);
    let reason = found.map(|found| found.reason.clone()).unwrap_or_default();
    Ok(trial::disarm(&lock, &host, &host_state, &Reason::Withdrawn(reason))?)
}

/// Only a person gets this far on a host that is held.
fn say_hold(run: &Run, settings: &config::Update) {
    let zone = zone_of(&run.root);
    let hold = settings.hold();
    if let Some(hold) = hold.filter(|hold| hold.holds(Clock::of(&run.root).shows(), &zone)) {
        tracing::warn!("{}; this update goes on, because a person asked for it", hold.text(&zone));
    }
}

fn changed() -> Refusal {
    Refusal::defer(
        codes::SITUATION_CHANGED,
        "this host or the tag changed while the hooks were asked",
    )
}
