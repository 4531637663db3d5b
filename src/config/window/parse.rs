// SPDX-License-Identifier: MIT OR Apache-2.0

//! A window as people write it: weekdays, start, length and, if they like, a time zone.

use std::str::FromStr;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::{LONGEST, Weekdays, Window};
use crate::config::units;

impl FromStr for Window {
    /// What is wrong with it, in a sentence.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "a window is weekdays, start, length and, where it is not the host's, a time zone, \
                 such as \"Sat,Sun 22:00 2h Europe/Berlin\", not {text:?}"
            )
        };
        let wrong_length = |text: &str| {
            format!(
                "{text:?} is no length of a window: write more than zero and at most 7d, such as 2h"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [days, start, rest @ ..] = words.as_slice() else { return Err(form()) };
        let days = weekdays(days)?;
        let start = clock(start)
            .ok_or_else(|| format!("{start:?} is no start: write it as 00:00 to 23:59"))?;
        let (last, first) = rest.split_last().ok_or_else(form)?;
        // A length may have several words; the name of a zone begins with no digit, and is
        // no unit either.
        let all = rest.join(" ");
        let (length, zone) = match units::duration(&all) {
            Some(_) => (all, None),
            None if first.is_empty() => return Err(wrong_length(&all)),
            None => (first.join(" "), Some(zone(last)?)),
        };
        let parsed = units::duration(&length).filter(|l| !l.is_zero() && *l <= LONGEST);
        Ok(Self { days, start, length: parsed.ok_or_else(|| wrong_length(&length))?, zone })
    }
}

/// `Mon`, `Sat,Sun`, `Mon..Fri`, and any of these joined by commas, as in systemd.time(7). A
/// range may go over the end of the week.
fn weekdays(text: &str) -> Result<Weekdays, String> {
    let wrong = || format!("{text:?} is no weekday: write Mon, Mon,Wed or Mon..Fri");
    let mut days = Weekdays::default();
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (mut day, last) = (weekday(first).ok_or_else(wrong)?, weekday(last).ok_or_else(wrong)?);
        days.add(day);
        while day != last {
            day = day.next();
            days.add(day);
        }
    }
    Ok(days)
}

fn weekday(text: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.to_ascii_lowercase();
    let is_meant = |name: &&str| **name == text || name.get(..3) == Some(&text);
    let offset = NAMES.iter().position(is_meant)?;
    Weekday::from_monday_zero_offset(i8::try_from(offset).ok()?).ok()
}

/// `HH:MM`.
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| -> Option<i8> {
        let is_number = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    Time::new(number(hour, 1..=2)?, number(minute, 2..=2)?, 0, 0).ok()
}

/// By its name in the time zone database. `UTC` has the name that people know it by.
fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("{name:?} is no time zone that is known here: write it as Europe/Berlin or UTC")
    })
}
