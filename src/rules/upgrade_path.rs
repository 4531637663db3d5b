// SPDX-License-Identifier: MIT OR Apache-2.0

//! The images between the tag and this host: what the tag names, or what it wants to be installed
//! first. Each of them is put to every rule that is about an image.

use super::evaluation::Evaluation;
use super::policy_document::permits;
use super::waypoint::Waypoint;
use super::{
    Candidate, Error, Rule, Verdict, compatible, end_of_life, host, requires, signature, version,
};
use crate::codes;
use flipside_core::state::action::{Action, decide};
use flipside_image::constraints::{AskError, Asks, COMPATIBLE, END_OF_LIFE};
use flipside_source::{self as source, Tagged};

/// The most images that a tag may lead through, besides its own.
const STEPS: usize = 8;

/// Goes from `waypoint` to the image that can be installed on this host now, and puts each on the
/// way to the rules.
///
/// # Errors
/// What keeps a rule from being asked.
pub(super) fn walk(
    evaluation: &mut Evaluation<'_>,
    mut waypoint: Waypoint,
) -> Result<Waypoint, Error> {
    let mut passed = vec![waypoint.tagged];
    let mut trail = Vec::new();
    loop {
        look_at(evaluation, &mut waypoint)?;
        if waypoint.is_back() {
            requires::leads_back(evaluation, &waypoint.tagged.short(), &trail);
            waypoint.action = Action::Install;
            return Ok(waypoint);
        }
        if !waypoint.needs_approval() || waypoint.is_closed || !evaluation.goes_on() {
            return Ok(waypoint);
        }
        let Some(via) = judge(evaluation, &waypoint, &mut trail) else { return Ok(waypoint) };
        if evaluation.is_refused() {
            return Ok(waypoint);
        }
        if passed.len() > STEPS {
            requires::leads_too_far(evaluation, STEPS, &trail);
            return Ok(waypoint);
        }
        let source = waypoint.source(evaluation.candidate.source).sibling(&via)?;
        let Tagged { digest: tagged, mirror } = source.tagged()?;
        evaluation.mirror = evaluation.mirror.take().or(mirror);
        let action = decide(evaluation.candidate.host_state, &tagged, None);
        let next = Waypoint::on_the_way(source, tagged, action);
        if next.is_back() || passed.contains(&tagged) {
            requires::leads_back(evaluation, &via, &trail);
            return Ok(waypoint);
        }
        passed.push(tagged);
        host::ask(evaluation, &next.action, &tagged);
        waypoint = next;
    }
}

/// Finds out what is at `waypoint`, no further than the rules allow: its manifest, who signed it,
/// and only then its config.
fn look_at(evaluation: &mut Evaluation<'_>, waypoint: &mut Waypoint) -> Result<(), Error> {
    evaluation.signed = None;
    let Candidate { means, host_state, target_release, .. } = evaluation.candidate;
    if waypoint.action == Action::Arm {
        let digests = waypoint.digests(host_state);
        if !permits(evaluation, &digests, waypoint.is_on_the_way()) && !evaluation.goes_on() {
            return Ok(());
        }
        return signature::ask_of_installed(evaluation);
    }
    if waypoint.action != Action::Install {
        return Ok(());
    }
    let source = waypoint.source.as_deref().unwrap_or(evaluation.candidate.source);
    let found = source::find_manifest(source, &waypoint.tagged, means.architecture)?;
    // An index may come again with the same image for this host: the image counts.
    waypoint.action = decide(host_state, &found.digest, None);
    host::ask(evaluation, &waypoint.action, &found.digest);
    if !waypoint.needs_approval() || !evaluation.goes_on() {
        return Ok(());
    }
    // P3: before the config, and before any payload.
    let digests: Vec<_> = found.index.into_iter().chain([found.digest]).collect();
    if !permits(evaluation, &digests, waypoint.is_on_the_way()) && !evaluation.goes_on() {
        return Ok(());
    }
    if !signature::ask(evaluation, source, &digests)? {
        waypoint.is_closed = true;
        return Ok(());
    }
    let image = source::fetch_config(source, found, means.architecture)?;
    signature::ask_of_product(evaluation, source, &digests, &image)?;
    if waypoint.tagged == target_release.digest {
        evaluation.target_version = Some(image.version().to_owned());
    }
    // Another manifest of what runs, or of what failed (P7).
    waypoint.action = decide(host_state, &image.digest, Some(host_state.content_of(&image.config)));
    host::ask(evaluation, &waypoint.action, &image.digest);
    waypoint.image = Some(image);
    Ok(())
}

/// Puts `waypoint` to the rules that are about an image. Returns what it wants to be installed
/// first.
fn judge(
    evaluation: &mut Evaluation<'_>,
    waypoint: &Waypoint,
    trail: &mut Vec<String>,
) -> Option<String> {
    // What an earlier run installed was asked for all of this then, but for the version.
    let Some(image) = &waypoint.image else {
        let installed = evaluation.candidate.host_state.target_slot().version();
        version::ask(evaluation, installed, waypoint.is_on_the_way());
        return None;
    };
    let asks = match Asks::of(&image.manifest.annotations) {
        Ok(asks) => asks,
        Err(error) => {
            misunderstood(evaluation, &error);
            return None;
        }
    };
    compatible::ask(evaluation, &asks.compatible);
    version::ask(evaluation, image.version(), waypoint.is_on_the_way());
    let via = requires::ask(evaluation, image.version(), asks.requires.as_ref(), trail);
    end_of_life::ask(evaluation, asks.end_of_life.as_ref());
    via
}

fn misunderstood(evaluation: &mut Evaluation<'_>, error: &AskError) {
    let verdict = Verdict::block(codes::ANNOTATION_INVALID, error.to_string());
    evaluation.put(rule_about(error.annotation), error.annotation, verdict);
}

/// The rule that cannot be asked where this annotation is not understood.
fn rule_about(annotation: &str) -> Rule {
    match annotation {
        COMPATIBLE => Rule::Compatible,
        END_OF_LIFE => Rule::EndOfLife,
        _ => Rule::Requires,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::constraints::{REQUIRES, VIA};

    #[test]
    fn an_annotation_that_is_not_understood_belongs_to_its_rule() {
        for (annotation, rule) in [
            (REQUIRES, Rule::Requires),
            (VIA, Rule::Requires),
            (COMPATIBLE, Rule::Compatible),
            (END_OF_LIFE, Rule::EndOfLife),
        ] {
            assert_eq!(rule_about(annotation), rule, "{annotation}");
        }
    }
}
