// SPDX-License-Identifier: MIT OR Apache-2.0

//! The second step of a run: what is on offer is put to the rules, and the status tells what they
//! say.

use flipside_core::state::Action;

use super::Run;
use super::status::{note_check, note_rules};
use super::trial_due::note_trial_due;
use super::withdrawn::note_withdrawn;
use crate::rules::{self, Candidate, Depth, Evaluated, Unasked};

/// Puts `candidate` to every rule. The results go to the status, also where it ends with an error.
///
/// # Errors
/// What keeps a rule from being asked; a refusal is a [`Action`].
pub(super) fn judge(
    run: &Run,
    candidate: &Candidate<'_>,
    depth: Depth,
) -> Result<Evaluated, Box<Unasked>> {
    if candidate.is_only_asked {
        return rules::evaluate(candidate, depth);
    }
    let Candidate { target_release, host_state, .. } = candidate;
    // What is on offer is known before any rule has been asked.
    let action = target_release.action(host_state, &target_release.digest, None);
    note_check(run, &target_release.digest, None, is_new(&action));
    let asked = rules::evaluate(candidate, depth);
    note_rules(
        run,
        match &asked {
            Ok(evaluated) => &evaluated.explanation,
            Err(unasked) => &unasked.explanation,
        },
    );
    let evaluated = asked?;
    if let Some(withdrawals) = &evaluated.withdrawals {
        note_withdrawn(run, host_state, withdrawals);
    }
    // Who has nothing to install may be refused the tag all the same.
    let waypoint = &evaluated.waypoint;
    let action = match waypoint.action {
        Action::UpToDate => &Action::UpToDate,
        _ => &evaluated.action,
    };
    let is_new = is_new(action) || waypoint.is_adopted_on_the_way(&target_release.digest);
    note_check(run, &target_release.digest, evaluated.target_version.as_deref(), is_new);
    note_trial_due(&run.root, target_release.waits_for_firmware(host_state, &waypoint.tagged));
    Ok(evaluated)
}

/// Whether `action` is about another OS than the one that runs.
fn is_new(action: &Action) -> bool {
    !matches!(action, Action::UpToDate | Action::Adopt | Action::Unarm)
}
