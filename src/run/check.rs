// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an update would do: a look and a judgement, and nothing after them.

use flipside_core::Slot;
use flipside_core::progress::{Event, Phase};
use flipside_core::state::Action;
use flipside_image::Digest;
use flipside_image::delta::Download;

use super::judge::judge;
use super::look::{Looked, look};
use super::retry::obey_retry_after;
use super::status::note_download;
use super::update::end;
use super::withdrawn::let_timer_take_back;
use super::{Error, Run, old_image};
use crate::config::Initiative;
use crate::rules::{Depth, Evaluated, Explanation, Unasked};

/// What a check found.
#[derive(Debug, Clone)]
pub struct Check {
    /// What the tag points to.
    pub tag: Digest,
    /// What an update would do about it.
    pub action: Action,
    /// The version that an update would bring, where there is one.
    pub version: Option<String>,
    /// The version of what the tag names, where it was looked at. Another one than `version` where
    /// that is on the way to it.
    pub target_version: Option<String>,
    /// Whether that runs already.
    pub runs: bool,
    /// Whether what would be adopted leads to something else.
    pub leads_on: bool,
    /// What the update costs, where it would be installed.
    pub download: Option<Download>,
    /// The slot that boots next although its release was withdrawn.
    pub revoked: Option<Slot>,
    /// What each rule said that was asked.
    pub explanation: Explanation,
}

/// Says what an update of this initiative would do. Writes nothing outside `/run`, but for a policy
/// document that withdraws what a slot holds: that is remembered.
///
/// # Errors
/// [`Unasked`]; a refusal is not an error here but a [`Action`]. `None` where there is
/// nothing to follow or no slot.
pub fn check(
    run: &Run,
    initiative: Initiative,
    depth: Depth,
) -> Result<Option<Check>, Box<Unasked>> {
    obey_retry_after(run, initiative)?;
    let Looked::At(snapshot) = look(run)? else { return Ok(None) };
    let candidate = snapshot.candidate(run, initiative);
    let Evaluated { explanation, action, waypoint, target_version, is_revoked, .. } =
        judge(run, &candidate, depth)?;
    let target = snapshot.host_state.target_slot();
    let download = match &waypoint.image {
        Some(image) if action == Action::Install => {
            let (host, host_state) = (&snapshot.host, &snapshot.host_state);
            let source = waypoint.source(candidate.source);
            let old = old_image::find(run, host, host_state, source, image);
            let old = old.map_err(Error::from)?;
            let download = old_image::download(host_state, image, old.as_ref());
            note_download(run, download.clone());
            Some(download)
        }
        _ => None,
    };
    let version = match &waypoint.image {
        Some(image) => Some(image.version().to_owned()),
        None => target.is_of(&waypoint.tagged).then(|| target.version().to_owned()),
    };
    let runs = snapshot.host_state.running_slot().is_of(&waypoint.tagged);
    let leads_on = waypoint.is_adopted_on_the_way(&snapshot.target_release.digest);
    let revoked = is_revoked.then_some(snapshot.host_state.target());
    Ok(Some(Check {
        tag: snapshot.target_release.digest,
        action,
        version,
        target_version,
        runs,
        leads_on,
        download,
        revoked,
        explanation,
    }))
}

/// Ends a check: what an update would be refused for stands in the status, as after an update.
pub fn finish_check(
    run: &Run,
    initiative: Initiative,
    checked: &Result<Option<Check>, Box<Unasked>>,
) {
    let refused: Error;
    let error = match checked {
        Ok(Some(Check { action: Action::Refuse(refusal), .. })) => {
            refused = refusal.clone().into();
            Some(&refused)
        }
        Ok(_) => None,
        Err(unasked) => Some(&unasked.error),
    };
    // A refusal is an answer too.
    if checked.is_ok() {
        run.progress.event(Event::Phase(Phase::Done));
    }
    end(run, initiative, error);
    if let Ok(Some(Check { revoked: Some(_), .. })) = checked {
        let_timer_take_back(run);
    }
}
