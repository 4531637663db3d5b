// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is wrong with a policy document: errors, for which no host goes by it, and
//! warnings, for which its publisher should look again.

use std::fmt;

use jiff::SignedDuration;

use super::{Draft, DraftRelease, DraftRollout, RELEASES_LIMIT, Reason};
use crate::printable;
use crate::version;

/// The longest that anything in a document may lie from its making. What is further off is
/// a slip of the pen in the year.
const YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);
/// The most characters of a version, and of a reason.
const VERSION_LIMIT: usize = 128;
const REASON_LIMIT: usize = 500;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No host goes by the document.
    Error,
    /// Hosts do what it says, which may not be what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Which part of the document, such as `release 1.2`; empty for the whole.
    pub place: String,
    /// What; one sentence.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, place: &str, what: impl Into<String>) {
        self.0.push(Finding { level, place: place.to_owned(), what: what.into() });
    }

    fn error(&mut self, place: &str, what: impl Into<String>) {
        self.add(Level::Error, place, what);
    }

    fn warning(&mut self, place: &str, what: impl Into<String>) {
        self.add(Level::Warning, place, what);
    }
}

impl Draft {
    /// Everything that is wrong with it, errors first.
    pub fn lint(&self) -> Vec<Finding> {
        let mut found = Findings::default();
        self.lint_dates(&mut found);
        if self.releases.len() > RELEASES_LIMIT {
            let count = self.releases.len();
            found.error("", format!("it lists {count} releases, {RELEASES_LIMIT} are allowed"));
            return found.0;
        }
        if self.releases.is_empty() {
            found.warning("", "it lists no release: no host may take any");
        }
        let mut sorted: Vec<&DraftRelease> = self.releases.iter().collect();
        sorted.sort_by(|a, b| version::compare(&a.version, &b.version));
        for pair in sorted.windows(2) {
            if let [one, other] = pair
                && version::compare(&one.version, &other.version).is_eq()
            {
                found.error(&place(other), "the version is listed twice");
            }
        }
        sorted.sort_by_key(|release| release.digest);
        for pair in sorted.windows(2) {
            if let [one, other] = pair
                && one.digest == other.digest
            {
                let version = printable::line(&one.version, VERSION_LIMIT);
                found.error(&place(other), format!("the digest is that of release {version} too"));
            }
        }
        for release in &self.releases {
            lint_release(release, self, &mut found);
        }
        found.0.sort_by_key(|finding| finding.level);
        found.0
    }

    fn lint_dates(&self, found: &mut Findings) {
        let life = self.expires.duration_since(self.issued);
        if life <= SignedDuration::ZERO {
            found.error("", format!("it expires ({}) before it is issued", self.expires));
        } else if life > YEAR {
            let what = format!("it expires ({}) over a year after it is issued", self.expires);
            found.error("", what);
        }
    }
}

fn place(release: &DraftRelease) -> String {
    format!("release {}", printable::line(&release.version, VERSION_LIMIT))
}

fn lint_release(release: &DraftRelease, draft: &Draft, found: &mut Findings) {
    let place = place(release);
    let is_meant = |c: char| !c.is_whitespace() && !printable::line(&c.to_string(), 1).is_empty();
    let length = release.version.chars().count();
    if !(1..=VERSION_LIMIT).contains(&length) || !release.version.chars().all(is_meant) {
        let what =
            format!("a version has from 1 to {VERSION_LIMIT} characters, none of them white");
        found.error(&place, what);
    }
    let reasons = [
        ("barrier", &release.barrier),
        ("dead_end", &release.dead_end),
        ("withdrawn", &release.withdrawn),
    ];
    for (field, given) in reasons {
        let Some(Reason { reason, .. }) = given else { continue };
        if reason.chars().count() > REASON_LIMIT {
            found.error(&place, format!("the reason of {field} is over {REASON_LIMIT} characters"));
        } else if reason.trim().is_empty() {
            found.warning(&place, format!("{field} gives people no reason"));
        }
    }
    if release.barrier.is_some() {
        if release.withdrawn.is_some() {
            found.warning(
                &place,
                "a barrier that is withdrawn: no host below it goes on before another release is \
                 the barrier",
            );
        } else if release.dead_end.is_some() {
            found.warning(&place, "a barrier that is a dead end: every host ends there");
        }
    }
    if let Some(rollout) = &release.rollout {
        lint_rollout(&place, rollout, draft, found);
    }
}

fn lint_rollout(place: &str, rollout: &DraftRollout, draft: &Draft, found: &mut Findings) {
    let share = rollout.start_percentage;
    if !(0.0..=1.0).contains(&share) {
        let what = format!("start_percentage is {share}; it is a share from 0 to 1");
        found.error(place, what);
    }
    let duration = rollout.length();
    match duration.map(SignedDuration::try_from) {
        Some(Ok(duration)) if duration <= YEAR => {}
        Some(_) => found.error(place, format!("a rollout of {} is too long", rollout.duration)),
        None => {
            let text = printable::line(&rollout.duration, 40);
            found.error(place, format!("{text:?} is no duration; \"48h\" and \"2d 12h\" are"));
        }
    }
    let off = rollout.start.duration_since(draft.issued);
    if off > YEAR {
        let what = format!("the rollout starts ({}) over a year after `issued`", rollout.start);
        found.error(place, what);
    } else if off < -YEAR {
        let what = format!(
            "the rollout starts ({}) over a year before `issued`; one that is over is left out",
            rollout.start
        );
        found.error(place, what);
    } else if rollout.is_over(draft.issued) {
        // With the year before this one, it would be for every host at once.
        let what = format!(
            "the rollout that starts {} is over before `issued`: leave it out, or mend its year",
            rollout.start
        );
        found.error(place, what);
    } else if rollout.start >= draft.expires {
        let what = format!(
            "the rollout starts ({}) no sooner than the document expires: no host takes the \
             release by it",
            rollout.start
        );
        found.error(place, what);
    }
}
