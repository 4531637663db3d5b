// SPDX-License-Identifier: MIT OR Apache-2.0

use proptest::prelude::*;

use super::example::{at, digest, document, release, running, start};
use super::*;
use flipside_core::refusal::{Refusal, Severity};
use flipside_image::rollout::Wariness;

/// The version of the step, or the code of the refusal.
fn go(document: &Document, running: &Running, target: &str, wariness: f64, hours: i64) -> String {
    let place = Place::Set(Wariness::new(wariness).unwrap());
    let journey =
        Journey { document, running, target: &digest(target), now: at(hours), place: &place };
    let route = journey.route();
    let refusal = route.results.iter().find(|result| !result.verdict.is_allow());
    assert!(route.results.is_sorted_by_key(|result| result.rule), "{:?}", route.results);
    match (route.step, refusal.and_then(|result| result.verdict.refusal())) {
        (Some(step), None) => step.version.clone(),
        (None, Some(Refusal { severity: Severity::Defer, code, .. })) => format!("defer {code}"),
        (None, Some(Refusal { severity: Severity::Block, code, .. })) => format!("block {code}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_permitted_release_on_the_way_to_the_goal_is_the_step() {
    // What the document lists, what runs, what the tag names; a host of middling wariness, a
    // quarter and three quarters into the rollouts.
    for (releases, runs, target, early, late) in [
        ("1, 2, 3", "1", "3", "3", "3"),
        ("1, 2, 3", "1", "2", "2", "2"),
        ("1, 2, 3", "3", "3", "3", "3"),
        // The tag is ahead of what the publisher lists, or the document behind.
        ("1, 2", "1", "3", "defer release-not-listed", "defer release-not-listed"),
        ("", "1", "1", "defer release-not-listed", "defer release-not-listed"),
        // Rollouts: older ones meanwhile.
        ("1, 2, 3 r", "1", "3", "2", "3"),
        ("1, 2 r, 3 r", "1", "3", "defer rollout-not-reached", "3"),
        ("1, 2 r", "2", "2", "2", "2"),
        // Barriers: the first one above what runs, not the one that runs.
        ("1, 2 b, 3, 4 b, 5", "1", "5", "2", "2"),
        ("1, 2 b, 3, 4 b, 5", "2", "5", "4", "4"),
        ("1, 2 b, 3, 4 b, 5", "4", "5", "5", "5"),
        ("1, 2 b, 3, 4 b, 5", "1.5", "5", "2", "2"),
        ("1, 2, 3 br, 4", "1", "4", "2", "3"),
        ("1, 2 br, 3", "1", "3", "defer rollout-not-reached", "2"),
        ("1, 2 bw, 3", "1", "3", "block release-withdrawn", "block release-withdrawn"),
        ("1, 2, 3 bw, 4", "1", "4", "2", "2"),
        // A barrier beyond the target release is nobody's matter.
        ("1, 2, 3 b", "1", "2", "2", "2"),
        // Withdrawn ones are passed by.
        ("1, 2, 3 w", "1", "3", "2", "2"),
        ("1, 2 w, 3", "1", "3", "3", "3"),
        ("1, 2 w", "1", "2", "block release-withdrawn", "block release-withdrawn"),
        ("1, 2 r, 3 w", "1", "3", "defer rollout-not-reached", "2"),
        ("1, 2 w", "2", "2", "2", "2"),
        // Dead ends: never left, and not walked into on the way to something else.
        ("1 d, 2", "1", "2", "block dead-end", "block dead-end"),
        ("1, 2 d", "2", "2", "block dead-end", "block dead-end"),
        ("1, 2 d, 3 r", "1", "3", "defer rollout-not-reached", "3"),
        ("1, 2 d", "1", "2", "2", "2"),
        ("1, 2 bd, 3", "1", "3", "2", "2"),
        // Back: to the target release or nowhere.
        ("1, 2 b, 3", "3", "1", "1", "1"),
        ("1 w, 2, 3", "3", "1", "block release-withdrawn", "block release-withdrawn"),
        ("1 r, 2, 3", "3", "1", "defer rollout-not-reached", "1"),
        // From below everything, from between, from above.
        ("2, 3 b, 4", "1", "4", "3", "3"),
        ("2, 3 b, 4", "3.5", "4", "4", "4"),
        ("2, 3 b, 4", "unknown", "4", "3", "3"),
        ("2, 3", "9", "3", "3", "3"),
    ] {
        let document = document(releases);
        for (hours, expected) in [(25, early), (75, late)] {
            let step = go(&document, &running(runs), target, 0.5, hours);
            assert_eq!(step, expected, "{releases}: from {runs} to {target} after {hours} h");
        }
    }
}

#[test]
fn what_runs_is_known_by_its_digest_first_and_by_its_version_second() {
    let document = document("1, 2 d, 3");
    for (version, digests, expected) in [
        // A rebuilt 1 calls itself 2: it is 1.
        ("2", vec![digest("1")], "3"),
        ("1", vec![digest("2")], "block dead-end"),
        // By the index that it was in.
        ("1", vec![digest("its manifest"), digest("2")], "block dead-end"),
        // Not installed by flipside, or of an image that nobody lists.
        ("2", vec![], "block dead-end"),
        ("2", vec![digest("unheard of")], "block dead-end"),
        ("1", vec![], "3"),
    ] {
        let running = Running { digests, version: version.to_owned() };
        assert_eq!(go(&document, &running, "3", 0.5, 0), expected, "{running:?}");
    }
}

#[test]
fn nobody_is_reached_before_the_start_and_each_rule_says_what_it_saw() {
    let document = document("1, 2 r");
    assert_eq!(go(&document, &running("1"), "2", 0.0, -1), "defer rollout-not-reached");
    assert_eq!(go(&document, &running("1"), "2", 0.0, 0), "2");

    let place = Place::Unknown;
    let journey = Journey {
        document: &document,
        running: &running("1"),
        target: &digest("2"),
        now: at(50),
        place: &place,
    };
    let results = journey.route().results;
    let said: Vec<String> =
        results.iter().map(|result| format!("{}: {}", result.rule, result.observed)).collect();
    assert_eq!(
        said,
        [
            "policy-document: the tag names 2, which is listed",
            "withdrawn: nothing on the way is withdrawn",
            "dead-end: 1 is none",
            "barrier: none before 2",
            "rollout: 2: its rollout is at 0.500, this host's wariness is 1.000 for want of a machine ID",
        ]
    );
    let last = results.last().and_then(|result| result.verdict.refusal());
    let Some(Refusal { severity: Severity::Defer, message: reason, .. }) = last else {
        panic!("{results:?}");
    };
    assert!(reason.ends_with("it does at 2026-11-05 04:00 UTC"), "{reason}");
}

#[test]
fn what_a_publisher_writes_reaches_people_as_plain_text() {
    let mut document = document("1 d, 2");
    document.releases[0].dead_end = Some("\x1b[2Jreinstall\n\u{202e}".into());
    let (running, target, place) = (running("1"), digest("2"), Place::Unknown);
    let journey = Journey {
        document: &document,
        running: &running,
        target: &target,
        now: at(0),
        place: &place,
    };
    let results = journey.route().results;
    let first = results.iter().find_map(|result| result.verdict.refusal());
    let Some(Refusal { severity: Severity::Block, message: reason, .. }) = first else {
        panic!("{results:?}");
    };
    assert_eq!(reason, "1 is a dead end: [2Jreinstall");
}

prop_compose! {
    fn documents()(marks in prop::collection::vec("[bdwr]{0,2}", 1..8)) -> Document {
        let releases = marks.iter().enumerate().map(|(n, marks)| release(&n.to_string(), marks));
        Document { issued: start(), expires: at(24 * 300), releases: releases.collect() }
    }
}

proptest! {
    #[test]
    fn no_walk_breaks_a_rule(
        document in documents(), from in 0_usize..9, target in 0_usize..8, wariness in 0.0..=1.0_f64,
        hours in -10_i64..120,
    ) {
        let running = running(&from.to_string());
        let place = Place::Set(Wariness::new(wariness).unwrap());
        let target = digest(&target.min(document.releases.len() - 1).to_string());
        let journey = Journey {
            document: &document, running: &running, target: &target, now: at(hours), place: &place,
        };
        let Some(step) = journey.route().step else { return Ok(()) };
        let number = |release: &Release| release.version.parse::<usize>().unwrap();
        let here = document.releases.get(from);
        prop_assert!(here.is_none_or(|here| here.dead_end.is_none()));
        if running.digests.contains(&target) {
            prop_assert_eq!(step.digest, target);
            return Ok(());
        }
        prop_assert!(step.withdrawn.is_none());
        let target = document.release(&target).unwrap();
        prop_assert!(number(step) <= number(target));
        prop_assert!(number(step) > from || step == target, "up, or to the target release itself");
        let passed = document.releases.iter().filter(|r| number(r) > from && number(r) < number(step));
        for release in passed {
            prop_assert!(release.barrier.is_none(), "{release:?} was passed by");
        }
        if let Some(rollout) = step.rollout {
            prop_assert!(hours >= 0 && rollout.threshold(at(hours)).unwrap() >= wariness);
        }
    }

    #[test]
    fn what_may_be_taken_never_falls_back_as_time_goes_on(
        document in documents(), from in 0_usize..8, wariness in 0.0..=1.0_f64,
    ) {
        let running = running(&from.to_string());
        let place = Place::Set(Wariness::new(wariness).unwrap());
        let target = document.releases.last().unwrap().digest;
        let steps: Vec<Option<usize>> = (-5..110).step_by(5).map(|hours| {
            let now = at(hours);
            let journey =
                Journey { document: &document, running: &running, target: &target, now, place: &place };
            journey.route().step.map(|step| step.version.parse().unwrap())
        }).collect();
        prop_assert!(steps.is_sorted(), "{steps:?}");
    }
}
