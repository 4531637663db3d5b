// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Requires`]: the image can be installed from what runs, or says what has to be in between.

use super::evaluation::Evaluation;
use super::rule::shown;
use super::{Rule, Verdict};
use crate::codes;
use flipside_image::constraints::Requires;
use flipside_image::printable;
use flipside_image::version;

/// Asks it about an image of the version `new`, at the end of `trail`. Returns what is to be
/// installed first.
pub(super) fn ask(
    evaluation: &mut Evaluation<'_>,
    new: &str,
    requires: Option<&Requires>,
    trail: &mut Vec<String>,
) -> Option<String> {
    let running = evaluation.candidate.host_state.running_slot().version();
    let (observed, verdict) = decide(new, requires, running);
    trail.push(observed);
    evaluation.put(Rule::Requires, &trail.join("; "), verdict);
    match way(requires, running) {
        Path::Through(via) => Some(via.to_owned()),
        Path::Direct | Path::None => None,
    }
}

/// Refuses a way through `via` that goes in a circle.
pub(super) fn leads_back(evaluation: &mut Evaluation<'_>, via: &str, trail: &[String]) {
    let via = printable::line(via, 80);
    let why = format!("the way through {via} leads back to what runs or was passed already");
    evaluation.put(Rule::Requires, &trail.join("; "), Verdict::block(codes::VIA_CIRCULAR, why));
}

/// Refuses a way of more than `most` images.
pub(super) fn leads_too_far(evaluation: &mut Evaluation<'_>, most: usize, trail: &[String]) {
    let why = format!("the tag leads through more than {most} other images");
    evaluation.put(Rule::Requires, &trail.join("; "), Verdict::block(codes::VIA_TOO_LONG, why));
}

/// How to get to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Path<'a> {
    /// Install it.
    Direct,
    /// Install what this tag or digest names first.
    Through(&'a str),
    /// There is none.
    None,
}

/// How to get to an image of the version `new` from `running`.
fn way<'a>(requires: Option<&'a Requires>, running: &str) -> Path<'a> {
    match requires {
        Some(Requires { lowest, via }) if version::is_below(running, lowest) => {
            via.as_deref().map_or(Path::None, Path::Through)
        }
        _ => Path::Direct,
    }
}

/// What the rule saw at an image of the version `new`, and says where there is no way to it.
fn decide(new: &str, requires: Option<&Requires>, running: &str) -> (String, Verdict) {
    let Some(Requires { lowest, via }) = requires else {
        return (format!("{} asks for no version", shown(new)), Verdict::Allow);
    };
    let observed = format!("{} asks for {}, {} runs", shown(new), shown(lowest), shown(running));
    match way(requires, running) {
        Path::Direct => (observed, Verdict::Allow),
        Path::Through(_) => {
            let via = via.as_deref().map(shown).unwrap_or_default();
            (format!("{observed}: by way of {via}"), Verdict::Allow)
        }
        Path::None => {
            let why = format!(
                "{} can be installed from {} on, {} runs, and it names nothing to pass through",
                shown(new),
                shown(lowest),
                shown(running)
            );
            (observed, Verdict::block(codes::REQUIRES_NEWER, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_too_low_goes_through_another_image_or_nowhere() {
        let asks = |via: Option<&str>| {
            Some(Requires { lowest: "1.10".into(), via: via.map(str::to_owned) })
        };
        for (wanted, running, expected, code) in [
            (None, "1", Path::Direct, None),
            (asks(None), "1.10", Path::Direct, None),
            (asks(Some("b")), "2", Path::Direct, None),
            (asks(Some("b")), "1.9", Path::Through("b"), None),
            (asks(Some("b")), "1.10~rc1", Path::Through("b"), None),
            (asks(None), "1.9", Path::None, Some("requires-newer")),
            (asks(None), "unknown", Path::None, Some("requires-newer")),
        ] {
            assert_eq!(way(wanted.as_ref(), running), expected, "{wanted:?} {running}");
            let (_, verdict) = decide("2", wanted.as_ref(), running);
            let found = verdict.refusal().map(|refusal| refusal.code.name());
            assert_eq!(found, code, "{wanted:?} {running}");
        }
    }
}
