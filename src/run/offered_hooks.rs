// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hooks that an update on offer would ask, asked alone or only named (`flipside hooks run`).

use flipside_core::state::Action;
use flipside_image::HOOK_PAYLOAD;
use flipside_source::fetch_image;

use super::judge::judge;
use super::look::{Looked, look};
use super::{Error, Run};
use crate::config::Initiative;
use crate::hooks::{self, Asking, Kind};
use crate::rules::{Candidate, Depth, Evaluated, hook_context};

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
pub fn plan_hooks(run: &Run, initiative: Initiative) -> Result<Option<HooksPlanned>, Error> {
    let Looked::At(snapshot) = look(run)? else { return Ok(None) };
    let candidate = Candidate { is_only_asked: true, ..snapshot.candidate(run, initiative) };
    let Evaluated { action, waypoint, .. } = judge(run, &candidate, Depth::Check)?;
    match action {
        Action::Refuse(refusal) => Err(refusal.into()),
        Action::Install | Action::Arm => {
            let context = hook_context(
                &run.config,
                initiative,
                &snapshot.host_state,
                waypoint.image.as_ref(),
            );
            let asking = Asking::new(&run.root, &run.config.policy.hooks, &context, &run.stop);
            // What is only to be armed is asked as well, and was not looked at so far.
            let image = match waypoint.image {
                Some(image) => image,
                None => {
                    let source = waypoint.source(snapshot.source.as_ref());
                    fetch_image(source, &waypoint.tagged, snapshot.architecture)?
                }
            };
            let brings_one = image.layer(HOOK_PAYLOAD).is_some();
            let mut hooks: Vec<_> =
                brings_one.then(|| asking.plan(Kind::Image, HOOK_PAYLOAD)).into_iter().collect();
            hooks.extend(asking.plan_host()?);
            let container = run.config.policy.hooks.container.image.as_deref();
            hooks.extend(container.map(|image| asking.plan(Kind::Container, image)));
            Ok(Some(HooksPlanned { new: context.new, hooks }))
        }
        Action::UpToDate | Action::Adopt | Action::Waiting | Action::Unarm => Ok(None),
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
/// [`Error`]; also the refusal of an update that would not get as far as the hooks.
pub fn ask_hooks_about_offer(
    run: &Run,
    initiative: Initiative,
) -> Result<Option<HooksAsked>, Error> {
    let Looked::At(snapshot) = look(run)? else { return Ok(None) };
    let candidate = Candidate { is_only_asked: true, ..snapshot.candidate(run, initiative) };
    let Evaluated { action, waypoint, answers, .. } = judge(run, &candidate, Depth::Update)?;
    match (answers, action) {
        // A rule about hooks may refuse without an answer of one.
        (Some(answers), Action::Refuse(refusal)) if hooks::decide(&answers).is_allow() => {
            Err(refusal.into())
        }
        (Some(answers), _) => {
            let new = hook_context(
                &run.config,
                initiative,
                &snapshot.host_state,
                waypoint.image.as_ref(),
            )
            .new;
            Ok(Some(HooksAsked { new, answers }))
        }
        (None, Action::Refuse(refusal)) => Err(refusal.into()),
        (None, _) => Ok(None),
    }
}
