// SPDX-License-Identifier: MIT OR Apache-2.0

//! May this host update now? Each question is a [`Rule`], its answer a [`Verdict`], what it saw and
//! said a [`RuleResult`], and all results about one update an [`Explanation`].
//!
//! [`evaluate`] asks them in the order of [`Rule::ALL`], the cheap ones first, and nobody else does.
//! Each rule has a file: what it fetches, no sooner than its turn comes (P3), and what it says.
//! Nothing here writes a slot: policy documents are remembered, and hooks run. `docs/policy.md`
//! describes every rule.
//!
//! - `candidate`, `target_release`, `waypoint`: what is asked about; `running`: what a slot holds
//! - `graph`: what an update graph says comes next, in place of the tag
//! - `host`, `clock` (`hold`, `update_window`), `policy_document`: asked about a digest
//! - `upgrade_path`: the images between what runs and the target release, each put to `signature`,
//!   `compatible`, `version`, `requires` and `end_of_life`
//! - `programs` (`image_hook`, `host_hooks`, `container_hook`): asked last
//!
//! One question is core's to ask, and is answered here: `secure_boot`, about a boot file that is there.

use crate::hooks::Answer;
use flipside_core::state::action::Action;
use flipside_image::signature::Signed;

mod candidate;
mod clock;
mod compatible;
mod container_hook;
mod end_of_life;
mod evaluation;
mod graph;
mod hold;
mod host;
mod host_hooks;
mod image_hook;
mod policy_document;
mod programs;
mod requires;
mod rule;
mod running;
pub mod secure_boot;
pub mod signature;
mod target_release;
mod update_window;
mod upgrade_path;
mod version;
mod waypoint;

pub use candidate::{Candidate, Means};
pub use clock::{nobody_holds, settings_now, time_allows};
pub use evaluation::Depth;
pub use flipside_core::refusal::Verdict;
pub use graph::find as find_target_release;
pub use policy_document::{Withdrawal, remembered_document, still_stands, withdrawals};
pub use programs::context as hook_context;
pub use rule::{Explanation, Rule, RuleResult};
pub use target_release::TargetRelease;
pub use waypoint::Waypoint;

use crate::error::Error;
use evaluation::Evaluation;

/// What the rules said, and what follows from it.
pub struct Evaluated {
    /// The results.
    pub explanation: Explanation,
    /// What to do. Where that is an install or an arming, every rule that was asked allows it.
    pub action: Action,
    /// What to do it with: what the tag names, or something on the way to it.
    pub waypoint: Waypoint,
    /// Who signed it, where that was asked.
    pub signed: Option<Signed>,
    /// The version of what the tag names, where it was looked at.
    pub target_version: Option<String>,
    /// What boots next was withdrawn.
    pub is_revoked: bool,
    /// The slots whose release was withdrawn, where a document tells.
    pub withdrawals: Option<Vec<Withdrawal>>,
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

impl From<Error> for Box<Unasked> {
    fn from(error: Error) -> Self {
        Self::new(Unasked { error, explanation: Explanation::default() })
    }
}

impl From<Box<Unasked>> for Error {
    fn from(unasked: Box<Unasked>) -> Self {
        unasked.error
    }
}

/// Puts `candidate` to every rule.
///
/// # Errors
/// What keeps a rule from being asked; a refusal is a [`Action`].
pub fn evaluate(candidate: &Candidate<'_>, depth: Depth) -> Result<Evaluated, Box<Unasked>> {
    let mut evaluation = Evaluation::new(candidate, depth);
    let asked = ask(&mut evaluation);
    let Evaluation { explanation, signed, target_version, is_revoked, withdrawals, .. } =
        evaluation;
    let (waypoint, answers) = match asked {
        Ok(asked) => asked,
        Err(error) => return Err(Box::new(Unasked { error, explanation })),
    };
    let refusal = explanation.first_refusal().and_then(|r| r.verdict.refusal().cloned());
    let publishers = policy_document::refusal(&explanation);
    let unheard = explanation.of(Rule::Version).and_then(|result| result.verdict.refusal());
    let action = match (waypoint.action.clone(), refusal, publishers, unheard.cloned()) {
        (Action::Install | Action::Arm | Action::Adopt, Some(refusal), ..) => {
            Action::Refuse(refusal)
        }
        // Who is kept from learning of an update looks like one who has none: that is said.
        (Action::UpToDate | Action::Waiting, _, Some(refusal), _)
        | (Action::UpToDate | Action::Unarm, _, _, Some(refusal)) => Action::Refuse(refusal),
        // Who has nothing to install is refused nothing else.
        (action, ..) => action,
    };
    Ok(Evaluated {
        explanation,
        action,
        waypoint,
        signed,
        target_version,
        is_revoked,
        withdrawals,
        answers,
    })
}

/// The order of the rules, as it is read.
fn ask(evaluation: &mut Evaluation<'_>) -> Result<(Waypoint, Option<Vec<Answer>>), Error> {
    let Candidate { host_state, target_release, .. } = evaluation.candidate;
    let at_tag =
        |digest| Waypoint::at_tag(digest, target_release.action(host_state, &digest, None));
    let mut waypoint = at_tag(target_release.digest);
    clock::ask(evaluation);
    // What is about to boot may have been withdrawn, whatever keeps from installing more.
    if evaluation.goes_on() || !waypoint.needs_approval() || host_state.is_armed() {
        waypoint = at_tag(policy_document::ask(evaluation)?);
    }
    host::ask(evaluation, &waypoint.action, &waypoint.tagged);
    // That has to go first: what else there is to do depends on it.
    if evaluation.is_revoked && evaluation.depth == Depth::Update {
        return Ok((waypoint, None));
    }
    if waypoint.needs_approval() && evaluation.goes_on() {
        waypoint = upgrade_path::walk(evaluation, waypoint)?;
    }
    version::ask_of_what_runs(evaluation, &waypoint.action);
    // Whatever costs more than a look comes last, and only where all else allows it.
    let asks_programs =
        evaluation.depth != Depth::Check && waypoint.changes_host() && !evaluation.is_refused();
    let answers = match asks_programs {
        true => Some(programs::ask(evaluation, &waypoint)?),
        false => None,
    };
    Ok((waypoint, answers))
}
