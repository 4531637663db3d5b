// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Withdrawn`]: the release was not withdrawn. What is to be installed is asked about on
//! the way, again before it is armed, and what boots next whenever a document is at hand.

use super::consult::consult;
use super::running::{digests, running};
use super::{because, shown};
use crate::rules::evaluation::Evaluation;
use crate::rules::{Offer, Rule, Ruling, Verdict};
use flipside_core::refusal::Refusal;
use flipside_core::state::course::is_persons_rollback;
use flipside_core::state::situation::Situation;
use flipside_image::Digest;
use flipside_image::document::{Document, Release};
use flipside_image::printable;

/// `way`: what the host could take; `good`: what of it is not withdrawn.
pub(super) fn judge(way: &[&Release], good: &[&Release]) -> Ruling {
    let Some((last, reason)) = way.iter().rev().find_map(|r| Some((r, r.withdrawn.as_ref()?)))
    else {
        return Ruling::new(
            Rule::Withdrawn,
            "nothing on the way is withdrawn".into(),
            Verdict::Allow,
        );
    };
    let version = shown(&last.version);
    let saw = format!("{version} is withdrawn");
    let decision = match good {
        [] => Verdict::block(
            "release-withdrawn",
            format!("{version} is withdrawn: {}", because(reason)),
        ),
        _ => Verdict::Allow,
    };
    Ruling::new(Rule::Withdrawn, saw, decision)
}

/// Of a goal that is reached.
pub(super) fn of_what_runs(goal: &Release) -> Ruling {
    let withdrawn = if goal.withdrawn.is_some() { ", and is withdrawn" } else { "" };
    let saw = format!("{} runs{withdrawn}", shown(&goal.version));
    Ruling::new(Rule::Withdrawn, saw, Verdict::Allow)
}

/// Puts it to the document whether something on the way to the step was withdrawn; `false` where it
/// was.
pub(in crate::rules) fn is_not_withdrawn(evaluation: &mut Evaluation<'_>, named: &Digest) -> bool {
    let Some(document) = &evaluation.document else { return true };
    let Some(why) = document.release(named).and_then(sentence) else { return true };
    evaluation.put(Rule::Withdrawn, &why, Verdict::block("release-withdrawn", why.clone()));
    false
}

/// Whether what runs was withdrawn: then it raises no floor for versions.
pub(in crate::rules) fn is_what_runs_withdrawn(evaluation: &Evaluation<'_>) -> bool {
    let Some(document) = &evaluation.document else { return false };
    let running = running(evaluation.offer.situation);
    let by_digest = running.digests.iter().find_map(|digest| document.release(digest));
    let release = by_digest.or_else(|| document.version(&running.version));
    release.and_then(sentence).is_some()
}

/// Whether the target boots next and was withdrawn. Where a person goes back to it, that is no
/// matter of the publisher's.
pub(super) fn is_target_revoked(document: &Document, situation: &Situation) -> bool {
    let target = situation.target_slot();
    let is_armed = situation.is_armed() && target.is_installed();
    let may_be_revoked = is_armed && !is_persons_rollback(situation);
    may_be_revoked
        && digests(target).iter().any(|d| document.release(d).and_then(sentence).is_some())
}

/// Refuses what was approved before, where the publisher has withdrawn it since: hooks and writing
/// take their time. Where nobody answers, what was said before holds.
///
/// # Errors
/// `release-withdrawn`, and a wish to stop.
pub fn still_stands(offer: &Offer<'_>, named: &Digest) -> Result<(), flipside_core::Error> {
    let Offer { means, source, verifier, .. } = offer;
    let consulted = match consult(means, *source, verifier, named, means.clock().now()) {
        Ok(consulted) => consulted,
        Err(error) => {
            means.stop.check()?;
            tracing::debug!("cannot ask for the policy document again: {error}");
            return Ok(());
        }
    };
    consulted.remember(means.files);
    let document = consulted.document.as_ref();
    match document.and_then(|document| document.release(named)).and_then(sentence) {
        Some(why) => Err(Refusal::block("release-withdrawn", why).into()),
        None => Ok(()),
    }
}

/// That it is withdrawn; `None` where it is not.
fn sentence(release: &Release) -> Option<String> {
    let reason = printable::line(release.withdrawn.as_ref()?, 300);
    Some(format!("{} is withdrawn: {reason}", shown(&release.version)))
}
