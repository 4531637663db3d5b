// SPDX-License-Identifier: MIT OR Apache-2.0

//! A window as people write it: weekdays, start, length and, if they like, a time zone.

use std::str::FromStr;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::{LONGEST, Weekdays, Window};
use crate::config::units;

/// What is wrong with a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A part is missing.
    #[error(
        "a window is weekdays, start, length and, where it is not the host's, a time zone, such as \
         \"Sat,Sun 22:00 2h Europe/Berlin\", not {0:?}"
    )]
    Form(String),
    /// No weekday.
    #[error("{0:?} is no weekday: write Mon, Mon,Wed or Mon..Fri")]
    Day(String),
    /// No time of day.
    #[error("{0:?} is no start: write it as 00:00 to 23:59")]
    Start(String),
    /// No length, none at all, or too long a one.
    #[error("{0:?} is no length of a window: write more than zero and at most 7d, such as 2h")]
    Length(String),
    /// No time zone.
    #[error("{0:?} is no time zone that is known here: write it as Europe/Berlin or UTC")]
    Zone(String),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let form = || WindowError::Form(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let [days, start, rest @ ..] = words.as_slice() else { return Err(form()) };
        let days = weekdays(days)?;
        let start = clock(start).ok_or_else(|| WindowError::Start((*start).to_owned()))?;
        let (last, first) = rest.split_last().ok_or_else(form)?;
        // A length may have several words; the name of a zone begins with no digit, and is
        // no unit either.
        let all = rest.join(" ");
        let (length, zone) = match units::duration(&all) {
            Some(_) => (all, None),
            None if first.is_empty() => return Err(WindowError::Length(all)),
            None => (first.join(" "), Some(zone(last)?)),
        };
        let parsed = units::duration(&length).filter(|l| !l.is_zero() && *l <= LONGEST);
        Ok(Self { days, start, length: parsed.ok_or(WindowError::Length(length))?, zone })
    }
}

/// `Mon`, `Sat,Sun`, `Mon..Fri`, and any of these joined by commas, as in systemd.time(7). A
/// range may go over the end of the week.
fn weekdays(text: &str) -> Result<Weekdays, WindowError> {
    let wrong = || WindowError::Day(text.to_owned());
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
fn zone(name: &str) -> Result<TimeZone, WindowError> {
    TimeZone::get(name).map_err(|_| WindowError::Zone(name.to_owned()))
}
