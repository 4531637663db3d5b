// SPDX-License-Identifier: MIT OR Apache-2.0

//! Times as people say them: `3 weeks ago`, `in 19 h`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How far a clock may be ahead before a past event that lies in the future is given with
/// its date: machines without a battery begin somewhere.
const TOLERANCE_SECONDS: i64 = 60;

/// When something in the past was, seen from `now`.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    match seconds(time, now) {
        passed if passed < -TOLERANCE_SECONDS => format!("at {}", date(time)),
        passed if passed < 60 => "just now".to_owned(),
        passed => format!("{} ago", span(passed)),
    }
}

/// When something planned is, seen from `now`.
pub fn until(time: Timestamp, now: Timestamp) -> String {
    match seconds(now, time) {
        left if left < -TOLERANCE_SECONDS => format!("due since {}", date(time)),
        left if left < 60 => "in a moment".to_owned(),
        left => format!("in {}", span(left)),
    }
}

/// A time on this machine's clock, to the minute.
pub fn date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second().saturating_sub(from.as_second())
}

/// In the largest unit of which there are at least two, rounded down.
fn span(seconds: i64) -> String {
    const UNITS: [(i64, &str); 5] = [
        (365 * 86_400, "years"),
        (30 * 86_400, "months"),
        (7 * 86_400, "weeks"),
        (86_400, "days"),
        (3600, "h"),
    ];
    for (length, unit) in UNITS {
        let count = seconds / length;
        if count >= 2 {
            return format!("{count} {unit}");
        }
    }
    format!("{} min", seconds / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_and_the_plan() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let now = at(0);
        for (seconds, past, planned) in [
            (0, "just now", "in a moment"),
            (59, "just now", "in a moment"),
            (60, "1 min ago", "in 1 min"),
            (3600, "60 min ago", "in 60 min"),
            (7200, "2 h ago", "in 2 h"),
            (19 * 3600 + 1800, "19 h ago", "in 19 h"),
            (2 * 86_400, "2 days ago", "in 2 days"),
            (21 * 86_400, "3 weeks ago", "in 3 weeks"),
            (90 * 86_400, "3 months ago", "in 3 months"),
            (800 * 86_400, "2 years ago", "in 2 years"),
        ] {
            assert_eq!(ago(at(-seconds), now), past);
            assert_eq!(until(at(seconds), now), planned);
        }
        assert_eq!(ago(at(30), now), "just now");
        assert!(ago(at(300), now).starts_with("at 2027-01-1"));
        assert!(until(at(-300), now).starts_with("due since 2027-01-1"));
        assert!(!ago(Timestamp::MIN, Timestamp::MAX).is_empty());
    }
}
