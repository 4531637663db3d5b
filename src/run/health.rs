// SPDX-License-Identifier: MIT OR Apache-2.0

//! The health of the system that runs, as its checks see it.

use flipside_core::Host;

use super::{Error, Run};
use crate::health::{self, Answer, Context, Importance};

/// Asks the required checks, then the wanted ones. In a trial nothing is asked any more once a
/// required one failed. `None` where no slots are recognised or `track.image` is not set.
///
/// # Errors
/// [`Error`]; a check that fails is an answer.
pub fn health(run: &Run) -> Result<Option<Vec<Answer>>, Error> {
    if run.config.track.image.is_none() {
        return Ok(None);
    }
    let Some(host) = Host::open(&run.access())? else { return Ok(None) };
    let host_state = host.host_state()?;
    let slot = host_state.running_slot();
    let release = slot.release();
    let context = Context {
        slot: host_state.running,
        version: release.map(|release| release.version.clone()),
        digest: release.and_then(|release| release.digest),
        is_trial: !slot.is_proven(),
    };
    // The ESP may be an automount, and the checks may take their time.
    drop(host);
    let timeout = *run.config.health.timeout;
    let ask = |importance| {
        health::ask(&run.root, importance, &context, timeout, context.is_trial, &run.stop)
    };
    let mut answers = ask(Importance::Required)?;
    if answers.is_empty() {
        answers.push(health::multi_user(&run.root));
    }
    if context.is_trial && answers.iter().any(|answer| answer.failure.is_some()) {
        return Ok(Some(answers));
    }
    let wanted = health::ask(&run.root, Importance::Wanted, &context, timeout, false, &run.stop)?;
    for answer in &wanted {
        if let Some(why) = &answer.failure {
            tracing::warn!("wanted health check {} {why}", answer.check);
        }
    }
    answers.extend(wanted);
    Ok(Some(answers))
}
