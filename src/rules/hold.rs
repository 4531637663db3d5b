// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Hold`](super::Rule::Hold): a person wants no automatic updates for a while.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Verdict;
use crate::codes;
use crate::config::{Hold, Initiative};

/// What the rule saw and says. `now` is `None` where the clock is not synchronised.
pub fn decide(
    hold: Option<&Hold>,
    initiative: Initiative,
    now: Option<Timestamp>,
    host: &TimeZone,
) -> (String, Verdict) {
    let Some(hold) = hold else { return ("no hold".to_owned(), Verdict::Allow) };
    let text = hold.text(host);
    let is_over = match (&hold.until, now) {
        (None, _) => Some(false),
        (Some(until), Some(now)) => Some(now >= until.time(host)),
        (Some(_), None) => None,
    };
    match (is_over, initiative) {
        (Some(true), _) => ("the hold is over".to_owned(), Verdict::Allow),
        (_, Initiative::Manual) => {
            (format!("{text} (what a person asks for does not wait)"), Verdict::Allow)
        }
        (Some(false), Initiative::Automatic) => {
            ("a hold".to_owned(), Verdict::defer(codes::UPDATES_HELD, text))
        }
        (None, Initiative::Automatic) => {
            let why = "the clock was not set since the boot, so that nobody knows whether the hold is over; \
                       see `timedatectl`, or set policy.clock";
            (text, Verdict::defer(codes::CLOCK_UNSET, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Allow => "allow",
            Verdict::No(refusal) => refusal.code.name(),
        }
    }

    #[test]
    fn a_hold_holds_the_timer_until_its_time_comes() {
        use Initiative::{Automatic, Manual};
        let now = Some("2026-11-30T22:59:59Z".parse::<Timestamp>().unwrap());
        let later = Some("2026-11-30T23:00:00Z".parse::<Timestamp>().unwrap());
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let for_good = Hold::default();
        let a_while = Hold { until: Some("2026-12-01".parse().unwrap()), reason: None };
        for (hold, initiative, now, expected) in [
            (None, Automatic, None, "allow"),
            (Some(&for_good), Automatic, now, "updates-held"),
            (Some(&for_good), Automatic, None, "updates-held"),
            (Some(&for_good), Manual, now, "allow"),
            (Some(&a_while), Automatic, now, "updates-held"),
            (Some(&a_while), Automatic, later, "allow"),
            (Some(&a_while), Automatic, None, "clock-unset"),
            (Some(&a_while), Manual, None, "allow"),
        ] {
            let (observed, verdict) = decide(hold, initiative, now, &berlin);
            assert_eq!(code(&verdict), expected, "{hold:?} {initiative:?} {now:?}");
            assert!(!observed.is_empty());
        }
    }
}
