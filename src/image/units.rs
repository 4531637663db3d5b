// SPDX-License-Identifier: MIT OR Apache-2.0

//! Durations (`1d 2h`, `10min`) and sizes (`2MiB`) as people write them.

use std::time::Duration;

/// A duration: whole numbers, each with a unit of systemd.time(7), added up.
/// `None` for anything else, also for a number without a unit.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim_start();
    let mut sum = None;
    while !rest.is_empty() {
        let (number, behind) = leading_number(rest)?;
        let (unit, behind) = leading_word(behind.trim_start());
        let milliseconds: u64 = match unit {
            "ms" | "msec" => 1,
            "s" | "sec" | "second" | "seconds" => 1000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 604_800_000,
            _ => return None,
        };
        let part = number.checked_mul(milliseconds)?;
        sum = Some(sum.unwrap_or(0_u64).checked_add(part)?);
        rest = behind.trim_start();
    }
    sum.map(Duration::from_millis)
}

/// A number of bytes: a whole number, with a unit of 1024 (`K`, `KiB`, ...) or of 1000
/// (`kB`, ...), or none. `None` for anything else.
pub fn size(text: &str) -> Option<u64> {
    let (number, behind) = leading_number(text.trim())?;
    let (unit, behind) = leading_word(behind.trim_start());
    if !behind.is_empty() {
        return None;
    }
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, behind) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, behind))
}

fn leading_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("10min", Some(600)),
            ("48h", Some(172_800)),
            ("1d 2h", Some(93_600)),
            ("1d2h", Some(93_600)),
            (" 1 week 30 s ", Some(604_830)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("min", None),
            ("10 parsecs", None),
            ("1.5h", None),
            ("-1s", None),
            ("1h 2", None),
            ("99999999999999999999s", None),
            ("18446744073709551615w", None),
            ("18446744073709551615ms 1ms", None),
        ] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("2MiB", Some(2 << 20)),
            ("2 M", Some(2 << 20)),
            ("500kB", Some(500_000)),
            ("17", Some(17)),
            ("0", Some(0)),
            ("", None),
            ("MiB", None),
            ("2 mib", None),
            ("2MiB/s", None),
            ("1GiB 1MiB", None),
            ("16777216TiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_none(text in "[0-9a-zA-Zµ .-]{0,24}") {
            let _ = (duration(&text), size(&text));
        }
    }
}
