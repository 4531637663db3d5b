// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Version`]: no version below the floor, and on the word of a mirror alone only one above
//! it.

use super::evaluation::Evaluation;
use super::policy_document::withdrawn;
use super::rule::shown;
use super::{Candidate, Rule, Verdict};
use crate::codes;
use flipside_core::refusal::Refusal;
use flipside_core::state::action::Action;
use flipside_core::state::host_state::HostState;
use flipside_image::code::Transient;
use flipside_image::version;

/// Asks it about an image with the version `new`.
///
/// What the other slot holds is no part of it: a version that fell back, or that a rollback left,
/// raises no floor. Nor does what runs, where its publisher has withdrawn it. Nothing lifts the
/// floor for an image on the way to another one, nor for what a graph names without a policy
/// document: whoever can move a tag, or answer for the graph server, chooses those.
pub(super) fn ask(evaluation: &mut Evaluation<'_>, new: &str, is_waypoint: bool) {
    let Candidate { means, host_state, target_release, .. } = evaluation.candidate;
    let config = means.config;
    let release = host_state.running_slot().release();
    let is_chosen_by_others =
        is_waypoint || (target_release.is_from_graph() && evaluation.document.is_none());
    let counts = is_chosen_by_others || !withdrawn::is_what_runs_withdrawn(evaluation);
    let min_version = MinVersion {
        running: release.map(|release| release.version.as_str()).filter(|_| counts),
        minimum: config.policy.min_version.as_deref(),
        allow_downgrade: config.update.allow_downgrade,
        is_fixed: is_chosen_by_others,
        mirror: evaluation.mirror_alone().map(|mirror| Mirror {
            repository: evaluation.candidate.source.repository(),
            host: mirror.to_owned(),
            newest: newest(evaluation.candidate.host_state).to_owned(),
        }),
    };
    let (observed, verdict) = decide(new, &min_version);
    evaluation.put(Rule::Version, &observed, verdict);
}

/// Asks it where nothing is to be installed. A mirror that is late names what runs although there
/// is something newer, which may even be armed.
pub(super) fn ask_of_what_runs(evaluation: &mut Evaluation<'_>, action: &Action) {
    let mirror = match action {
        Action::UpToDate => evaluation.mirror_alone(),
        // A document does not say which of its releases the tag names.
        Action::Unarm => evaluation.mirror.as_deref(),
        _ => None,
    };
    let Some(mirror) = mirror else { return };
    let host_state = evaluation.candidate.host_state;
    let (running, repository) =
        (shown(host_state.running_slot().version()), evaluation.candidate.source.repository());
    let observed = format!("{running} runs, which the mirror {mirror} names");
    let kept = match action {
        Action::Unarm => format!("; {} stays armed", shown(host_state.target_slot().version())),
        _ => String::new(),
    };
    let why = format!(
        "{repository} cannot be reached, and its mirror {mirror}, which may be late, names \
         {running}, which runs already{kept}"
    );
    evaluation.put(Rule::Version, &observed, unreachable(why));
}

/// Time may mend it.
fn unreachable(why: String) -> Verdict {
    Verdict::No(Refusal::defer(codes::REGISTRY_UNREACHABLE, why).passing(Transient::default()))
}

/// The version that a mirror has to be above: what runs or, where that is higher, what is armed.
fn newest(host_state: &HostState) -> &str {
    let running = host_state.running_slot().version();
    let armed = Some(host_state.target_slot().version()).filter(|_| host_state.is_armed());
    armed.filter(|armed| version::is_below(running, armed)).unwrap_or(running)
}

/// What a version must not be below. What was rolled back from, what fell back and what stands
/// in the other slot are no part of it: only what runs raises it.
#[derive(Debug, Clone, Default)]
struct MinVersion<'a> {
    /// The version that runs; `None` where it counts for nothing: unknown, or withdrawn.
    running: Option<&'a str>,
    /// `policy.min_version`.
    minimum: Option<&'a str>,
    /// `update.allow_downgrade`: the running version does not count.
    allow_downgrade: bool,
    /// The running version counts whatever `update.allow_downgrade` says.
    is_fixed: bool,
    /// Where nobody but a mirror says that the tag names this version.
    mirror: Option<Mirror>,
}

/// A mirror that names a tag in the place of a registry that cannot be reached.
#[derive(Debug, Clone)]
struct Mirror {
    /// The repository in the registry.
    repository: String,
    host: String,
    /// What the version has to be above.
    newest: String,
}

/// What the rule saw of an image with this version, and says.
fn decide(new: &str, min_version: &MinVersion<'_>) -> (String, Verdict) {
    let minimum =
        min_version.minimum.map(|minimum| format!(", policy.min_version is {}", shown(minimum)));
    let mirror =
        min_version.mirror.as_ref().map(|mirror| format!(", named by mirror {}", mirror.host));
    let observed = format!(
        "{}, {} runs{}{}",
        shown(new),
        min_version.running.map_or("what counts for nothing".to_owned(), shown),
        minimum.unwrap_or_default(),
        mirror.unwrap_or_default()
    );
    if let Some(minimum) = min_version.minimum.filter(|minimum| version::is_below(new, minimum)) {
        let why = format!("{} is below policy.min_version, {}", shown(new), shown(minimum));
        return (observed, Verdict::block(codes::VERSION_TOO_OLD, why));
    }
    if let Some(Mirror { repository, host, newest }) = &min_version.mirror
        && !version::is_below(newest, new)
    {
        let why = format!(
            "{repository} cannot be reached, and what its mirror {host} names, {}, is not above {}",
            shown(new),
            shown(newest)
        );
        return (observed, unreachable(why));
    }
    let is_downgrade = min_version.running.is_some_and(|running| version::is_below(new, running));
    if is_downgrade && (min_version.is_fixed || !min_version.allow_downgrade) {
        let running = shown(min_version.running.unwrap_or_default());
        let because = match min_version.is_fixed {
            true => "update.allow_downgrade is only for what the tag itself names",
            false => "update.allow_downgrade is false",
        };
        let why = format!("{} would be a downgrade from {running}, and {because}", shown(new));
        return (observed, Verdict::block(codes::VERSION_TOO_OLD, why));
    }
    (observed, Verdict::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::refusal::Severity;

    #[test]
    fn the_floor_is_the_higher_of_what_runs_and_the_minimum() {
        let is_fixed = false;
        for (new, running, minimum, allow_downgrade, allowed) in [
            ("2", Some("1"), None, false, true),
            // Built again under the same version.
            ("1", Some("1"), None, false, true),
            ("1", Some("2"), None, false, false),
            ("1", Some("2"), None, true, true),
            ("2026.11.9", Some("2026.11.10"), None, false, false),
            ("2~rc1", Some("2"), None, false, false),
            ("2", Some("1"), Some("3"), false, false),
            ("3", Some("1"), Some("3"), false, true),
            // Downgrades are one thing, what is too old for this host another.
            ("2", Some("4"), Some("3"), true, false),
            ("3", Some("4"), Some("3"), true, true),
            ("1", None, None, false, true),
            ("1", None, Some("2"), false, false),
        ] {
            let min_version =
                MinVersion { running, minimum, allow_downgrade, is_fixed, mirror: None };
            let (_, verdict) = decide(new, &min_version);
            assert_eq!(verdict.is_allow(), allowed, "{new} {min_version:?}: {verdict:?}");
            if let Some(Refusal { severity, code, message: reason, .. }) = verdict.refusal() {
                assert_eq!((*severity, *code), (Severity::Block, codes::VERSION_TOO_OLD));
                let names =
                    if reason.contains("downgrade") { "allow_downgrade" } else { "min_version" };
                assert!(reason.contains(names), "{reason}");
            }
        }
    }

    #[test]
    fn no_setting_lifts_a_floor_that_is_fixed() {
        for (new, allowed) in [("0.9", false), ("1~rc1", false), ("1", true), ("1.1", true)] {
            let running = Some("1");
            let min_version = MinVersion {
                running,
                allow_downgrade: true,
                is_fixed: true,
                ..MinVersion::default()
            };
            let (_, verdict) = decide(new, &min_version);
            assert_eq!(verdict.is_allow(), allowed, "{new}");
        }
    }

    #[test]
    fn on_the_word_of_a_mirror_only_what_is_above_is_installed() {
        for (new, running, newest, minimum, expected) in [
            ("3", Some("2"), "2", None, None),
            ("2", Some("2"), "2", None, Some("registry-unreachable")),
            ("1", Some("2"), "2", None, Some("registry-unreachable")),
            ("2~rc1", Some("2"), "2", None, Some("registry-unreachable")),
            // What runs was withdrawn, and raises no floor otherwise.
            ("1", None, "2", None, Some("registry-unreachable")),
            ("3", Some("2"), "4", None, Some("registry-unreachable")),
            ("3", Some("2"), "2", Some("4"), Some("version-too-old")),
        ] {
            let mirror =
                Mirror { repository: "r/a".into(), host: "m".into(), newest: newest.into() };
            let min_version = MinVersion {
                running,
                minimum,
                allow_downgrade: true,
                mirror: Some(mirror),
                ..MinVersion::default()
            };
            let (_, verdict) = decide(new, &min_version);
            let refusal = verdict.refusal();
            assert_eq!(
                refusal.map(|refusal| refusal.code.name()),
                expected,
                "{new} {min_version:?}"
            );
            // The timer comes back for it the same day.
            let is_transient = refusal.is_some_and(|refusal| refusal.transient.is_some());
            assert_eq!(is_transient, expected == Some("registry-unreachable"));
        }
    }
}
