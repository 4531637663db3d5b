// SPDX-License-Identifier: MIT OR Apache-2.0

//! A run, from the tag to an armed slot: look, judge, act under the lock.

use flipside_core::progress::{Event, Phase};
use flipside_core::state::Action;

use super::act::{act, disarm_revoked};
use super::asked_retry::do_asked_retries;
use super::judge::judge;
use super::look::{Looked, Snapshot, look};
use super::outcome::{Outcome, without_lock};
use super::retry::{note_failure, obey_retry_after};
use super::status::finish;
use super::withdrawn::note_remembered;
use super::{Error, Run};
use crate::codes;
use crate::config::Initiative;
use crate::rules::{Depth, Evaluated, Rule, TargetRelease};
use flipside_image::code::Coded as _;

/// Brings the host to what the tag names, as far as that goes before a reboot.
///
/// # Errors
/// [`Error`]; the running slot boots as before.
pub fn update(run: &Run, initiative: Initiative) -> Result<Outcome, Error> {
    do_asked_retries(run);
    obey_retry_after(run, initiative)?;
    update_once(run, initiative, true)
}

/// One way from the tag to a slot. `may_go_on`: what is adopted on the way may lead to another one.
fn update_once(run: &Run, initiative: Initiative, may_go_on: bool) -> Result<Outcome, Error> {
    let snapshot = match look(run)? {
        Looked::Nothing(why) => return Ok(Outcome::NothingToDo(why)),
        Looked::At(snapshot) => snapshot,
    };
    // Hooks may take their time: all rules are asked without the lock, and what they relied on
    // is read again under it.
    let candidate = snapshot.candidate(run, initiative);
    let evaluated = judge(run, &candidate, Depth::Update)?;
    if evaluated.is_revoked {
        disarm_revoked(run, &snapshot.facts, &evaluated)?;
        return update_once(run, initiative, may_go_on);
    }
    // P10: the usual run ends here, and has written nothing.
    if ends_here(&snapshot, &evaluated)
        && let Some(outcome) =
            without_lock(&snapshot.facts, &snapshot.target_release.digest, &evaluated.action)?
    {
        return Ok(outcome);
    }
    let acted = act(run, &candidate, &evaluated);
    // What was adopted is no end where it only leads to something, or where something else is armed.
    // Once: a graph may lead in a circle.
    let TargetRelease { digest, .. } = &snapshot.target_release;
    let leads_on = evaluated.waypoint.is_adopted_on_the_way(digest)
        || snapshot.target_release.is_from_graph()
        || snapshot.facts.is_armed();
    if leads_on && may_go_on && matches!(acted, Ok(Outcome::Adopted { .. })) {
        return update_once(run, initiative, false);
    }
    // Withdrawn while it was written: by now the newest document is remembered.
    if acted.as_ref().is_err_and(|error| error.code() == codes::RELEASE_WITHDRAWN) {
        note_remembered(run);
    }
    acted
}

/// Ends a run: what it came to goes to the status, and whether it is to be made again is noted.
pub fn finish_update(run: &Run, initiative: Initiative, error: Option<&Error>) {
    if error.is_none() {
        run.progress.event(Event::Phase(Phase::Done));
    }
    end(run, initiative, error);
}

pub(super) fn end(run: &Run, initiative: Initiative, error: Option<&Error>) {
    do_asked_retries(run);
    note_failure(run, initiative, error);
    finish(run, error);
}

/// Whether an action that touches nothing ends the run. What became of a trial is noted first, unless
/// a rule refuses what follows.
fn ends_here(snapshot: &Snapshot, evaluated: &Evaluated) -> bool {
    let nothing_happened = snapshot.host_state == snapshot.facts;
    let is_host_fine =
        evaluated.explanation.of(Rule::Host).is_some_and(|result| result.verdict.is_allow());
    let is_refused_by_rule = matches!(evaluated.action, Action::Refuse(_)) && is_host_fine;
    nothing_happened || is_refused_by_rule
}
