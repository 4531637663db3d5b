// SPDX-License-Identifier: MIT OR Apache-2.0

use proptest::prelude::*;

use super::*;
use crate::code::sentence;

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A document with `release` as the further fields of its one release.
fn with(release: &str) -> String {
    format!(
        r#"{{"format_version":"1","issued":"2026-11-01T00:00:00Z","expires":"2026-12-01T00:00:00Z",
           "releases":[{{"version":"2","digest":"{}"{release}}}]}}"#,
        digest("2")
    )
}

fn error(text: &str) -> String {
    let error = Document::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.code().name(), "policy-document-invalid");
    sentence(&error)
}

#[test]
fn a_document_is_read_and_its_releases_are_put_in_order() {
    let text = format!(
        r#"{{"format_version":"1","issued":"2026-11-01T00:00:00Z","expires":"2026-12-01T00:00:00+01:00",
           "x-ticket":"OPS-7",
           "releases":[
             {{"version":"1.10","digest":"{}","withdrawn":{{"reason":"eats data"}}}},
             {{"version":"1.9","digest":"{}","barrier":{{"reason":"new keys"}},"x-who":[1,2],
               "rollout":{{"start":"2026-11-02T00:00:00Z","start_percentage":0.25,"duration":"48h"}}}},
             {{"version":"1.8","digest":"{}","dead_end":{{"reason":"reinstall"}},"barrier":null}}]}}"#,
        digest("10"),
        digest("9"),
        digest("8")
    );
    let document = Document::parse(text.as_bytes()).unwrap();
    assert_eq!(document.expires, "2026-11-30T23:00:00Z".parse().unwrap());
    let versions: Vec<&str> = document.releases.iter().map(|r| r.version.as_str()).collect();
    assert_eq!(versions, ["1.8", "1.9", "1.10"]);
    let [old, barrier, withdrawn] = &document.releases[..] else { panic!() };
    assert_eq!((old.dead_end.as_deref(), &old.barrier), (Some("reinstall"), &None));
    assert_eq!(barrier.barrier.as_deref(), Some("new keys"));
    assert_eq!(barrier.rollout.unwrap().start_share, 0.25);
    assert_eq!(barrier.rollout.unwrap().duration.as_secs(), 172_800);
    assert_eq!(withdrawn.withdrawn.as_deref(), Some("eats data"));
    assert_eq!(document.release(&digest("9")), Some(barrier));
    assert_eq!(document.version("01.9"), Some(barrier));
    assert_eq!(document.version("2"), None);
}

#[test]
fn what_has_not_the_form_of_a_document_is_refused() {
    let good = with("");
    Document::parse(good.as_bytes()).unwrap();
    for (text, expected) in [
        (String::new(), "malformed"),
        ("[]".to_owned(), "malformed"),
        (good.replace(r#""1","issued"#, r#""2","issued"#), "has the format \"2\""),
        (good.replace(r#""format_version":"1","#, ""), "missing field `format_version`"),
        (good.replace("2026-11-01", "2026-13-01"), "malformed"),
        (good.replace("expires", "expire"), "expire"),
        (with(r#","withdrawm":{"reason":"x"}"#), "unknown field \"withdrawm\""),
        (with(r#","withdrawn":{"reason":"x","until":"y"}"#), "unknown field \"until\""),
        (with(r#","withdrawn":true"#), "malformed"),
        (with(r#","withdrawn":{}"#), "missing field `reason`"),
        // The later one of two would win in one reader and the first in another.
        (with(r#","barrier":{"reason":"a"},"barrier":null"#), "duplicate field `barrier`"),
        (
            with(
                r#","rollout":{"start":"2026-11-02T00:00:00Z","duration":"48h","start_percentage":NaN}"#,
            ),
            "malformed",
        ),
        (
            with(
                r#","rollout":{"start":"2026-11-02T00:00:00Z","duration":"48h","start_percentage":"NaN"}"#,
            ),
            "malformed",
        ),
        (
            with(
                r#","rollout":{"start":"2026-11-02T00:00:00Z","duration":"48h","start_percentage":1e999}"#,
            ),
            "malformed",
        ),
    ] {
        let said = error(&text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let long = good + &" ".repeat(SIZE_LIMIT as usize);
    assert!(error(&long).contains("are allowed"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let rollout = |start: &str, share: &str, duration: &str| {
        with(&format!(
            r#","rollout":{{"start":"{start}","start_percentage":{share},"duration":"{duration}"}}"#
        ))
    };
    let day = "2026-11-02T00:00:00Z";
    for (text, expected) in [
        (rollout(day, "-0.1", "48h"), "share from 0 to 1"),
        (rollout(day, "50", "48h"), "share from 0 to 1"),
        (rollout(day, "0", "-48h"), "no duration"),
        (rollout(day, "0", "48"), "no duration"),
        (rollout(day, "0", "9000h"), "too long"),
        (rollout(day, "0", "30000000000w"), "too long"),
        (rollout("2027-12-02T00:00:00Z", "0", "48h"), "over a year after"),
        (rollout("2025-10-02T00:00:00Z", "0", "48h"), "over a year before"),
        // The right day, and a slip of the pen in the year.
        (rollout("2025-11-01T00:00:00Z", "0", "48h"), "over before `issued`: leave it out"),
        (rollout("2025-11-02T00:00:00Z", "0.05", "300d"), "over before `issued`"),
        (rollout("2027-11-01T00:00:00Z", "0", "48h"), "no sooner than the document expires"),
        (rollout("2027-11-02T00:00:00Z", "0", "48h"), "no sooner than the document expires"),
        (rollout("2026-10-30T00:00:00Z", "0", "48h"), "over before `issued`"),
        (rollout("2026-12-01T00:00:00Z", "0", "48h"), "no sooner than the document expires"),
        (with("").replace("2026-12-01", "2026-10-01"), "before it is issued"),
        (with("").replace("2026-12-01", "2026-11-01"), "before it is issued"),
        (with("").replace("2026-12-01", "2027-12-01"), "over a year after"),
        (with("").replace(r#""version":"2""#, r#""version":"""#), "from 1 to 128"),
        (with("").replace(r#""version":"2""#, r#""version":"2 1""#), "none of them white"),
        (with("").replace(r#""version":"2""#, r#""version":"2\u001b""#), "none of them white"),
        (with(&format!(r#","dead_end":{{"reason":"{}"}}"#, "x".repeat(501))), "over 500"),
    ] {
        let said = error(&text);
        assert!(said.contains(expected) && said.contains("is not valid"), "{text}: {said}");
    }
    // At the edge of sense.
    let last = "2026-11-30T23:59:59Z";
    for text in [
        rollout(day, "1.0", "0s"),
        rollout(last, "0", "366d"),
        rollout("2026-10-30T00:00:01Z", "0", "48h"),
    ] {
        Document::parse(text.as_bytes()).unwrap();
    }
}

fn draft(releases: Vec<DraftRelease>) -> Draft {
    let issued = "2026-11-01T00:00:00Z".parse().unwrap();
    let expires = "2026-12-01T00:00:00Z".parse().unwrap();
    let mut draft = Draft::new(issued, expires);
    draft.releases = releases;
    draft
}

#[test]
fn no_version_and_no_digest_is_listed_twice() {
    for (one, other, expected) in [
        (("1.0", "a"), ("1.00", "b"), Some("the version is listed twice")),
        (("1.0", "a"), ("1.1", "a"), Some("the digest is that of release 1.0 too")),
        (("1.0", "a"), ("1.0~rc1", "b"), None),
    ] {
        let releases = [one, other].map(|(version, of)| DraftRelease::new(version, digest(of)));
        let found = draft(releases.to_vec()).lint();
        assert_eq!(
            found.first().map(|finding| finding.what.as_str()),
            expected,
            "{one:?} {other:?}"
        );
    }
}

#[test]
fn every_finding_is_told_at_once_errors_first() {
    let mut trap = DraftRelease::new("2", digest("2"));
    trap.barrier = Some(Reason::new(" "));
    trap.withdrawn = Some(Reason::new("breaks boot"));
    let mut broken = DraftRelease::new("3", digest("3"));
    broken.rollout =
        Some(DraftRollout::new("2026-11-01T00:00:00Z".parse().unwrap(), f64::NAN, "x"));
    let draft = draft(vec![trap, broken]);
    let found = draft.lint();
    let said: Vec<String> = found.iter().map(|f| format!("{:?} {f}", f.level)).collect();
    let begins = |at: usize, text: &str| said[at].starts_with(text);
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(begins(0, "Error release 3: start_percentage is NaN"), "{said:#?}");
    assert!(begins(1, "Error release 3: \"x\" is no duration"), "{said:#?}");
    assert!(begins(2, "Warning release 2: barrier gives people no reason"), "{said:#?}");
    assert!(begins(3, "Warning release 2: a barrier that is withdrawn"), "{said:#?}");
    let error = Document::from_draft(&draft).unwrap_err().to_string();
    assert!(error.ends_with("(and 1 more)"), "{error}");
}

#[test]
fn too_many_releases_are_refused() {
    let many = |count: usize| {
        let release = |n: usize| DraftRelease::new(n.to_string(), digest(&n.to_string()));
        Document::from_draft(&draft((0..count).map(release).collect()))
    };
    assert_eq!(many(RELEASES_LIMIT).unwrap().releases.len(), RELEASES_LIMIT);
    assert!(many(RELEASES_LIMIT + 1).is_err());
}

#[test]
fn a_draft_survives_the_round_trip() {
    let mut release = DraftRelease::new("2", digest("2"));
    release.rollout = Some(DraftRollout::new("2026-11-02T00:00:00Z".parse().unwrap(), 0.5, "2d"));
    release.withdrawn = Some(Reason::new("x"));
    let draft = draft(vec![release]);
    assert_eq!(Draft::parse(&draft.to_bytes().unwrap()).unwrap(), draft);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Document::parse(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let rollout = r#","rollout":{"start":"2026-11-02T00:00:00Z","start_percentage":0.5,"duration":"48h"}"#;
        let mut bytes = with(rollout).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(document) = Document::parse(&bytes) {
            prop_assert!(document.expires > document.issued);
            for rollout in document.releases.iter().filter_map(|release| release.rollout) {
                prop_assert!((0.0..=1.0).contains(&rollout.start_share));
            }
        }
    }
}
