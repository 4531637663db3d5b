// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that are asked about an update: the one that the new image brings, this host's, and
//! the one in a container, in this order.

use super::evaluation::Evaluation;
use super::waypoint::Waypoint;
use super::{Candidate, Error, Rule, container_hook, host_hooks, image_hook};
use crate::config::{Config, Initiative};
use crate::hooks::{self, Answer, Asking, Context, System};
use flipside_core::host::Slot;
use flipside_core::progress::{Event, Phase};
use flipside_core::state::host_state::HostState;
use flipside_image::Image;

/// Asks them, up to the first that does not allow.
pub(super) fn ask(
    evaluation: &mut Evaluation<'_>,
    waypoint: &Waypoint,
) -> Result<Vec<Answer>, Error> {
    let Candidate { means, initiative, host_state, .. } = evaluation.candidate;
    means.progress.event(Event::Phase(Phase::Hooks));
    let context = context(means.config, *initiative, host_state, waypoint.image.as_ref());
    if let Some(answer) = hooks::nested() {
        evaluation.put(Rule::HostHooks, &answer.hook, answer.verdict.clone());
        return Ok(vec![answer]);
    }
    let asking = Asking::new(means.root, &means.config.policy.hooks, &context, means.stop);
    let mut answers = Vec::new();
    answers.extend(image_hook::ask(evaluation, &asking, waypoint)?);
    if !evaluation.is_refused() {
        answers.extend(host_hooks::ask(evaluation, &asking)?);
    }
    if !evaluation.is_refused() {
        answers.extend(container_hook::ask(evaluation, &asking)?);
    }
    Ok(answers)
}

/// What they are told: an image that is to be installed, or the one that the target holds.
pub fn context(
    config: &Config,
    initiative: Initiative,
    host_state: &HostState,
    image: Option<&Image>,
) -> Context {
    let system = |slot: Slot| {
        let facts = host_state.slot(slot);
        let release = facts.release();
        let version = release.map(|release| release.version.clone());
        System { slot, version, digest: release.and_then(|release| release.digest) }
    };
    let target = host_state.target();
    Context {
        image: config.track.image.as_deref().unwrap_or_default().to_owned(),
        initiative,
        running: system(host_state.running),
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
