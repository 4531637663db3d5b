// SPDX-License-Identifier: MIT OR Apache-2.0

//! Windows of time that come every week, such as `Sat,Sun 22:00 2h Europe/Berlin`.
//!
//! A window opens at a time on the wall clock of its zone and stays open for an elapsed length:
//! two hours are two hours also in the night in which the clocks change. A start that the
//! clocks skip is taken as they would show it had they not been changed yet (02:30 in a gap from 02:00
//! to 03:00 is 03:30); of a start that comes twice, the first counts (RFC 5545, section 3.3.5).

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone};

mod parse;
#[cfg(test)]
mod tests;

/// The longest that a window may stay open: longer, and it would run into itself.
pub const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// A window of time on some days of the week.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    days: Weekdays,
    start: Time,
    /// More than zero, at most [`LONGEST`].
    length: Duration,
    /// `None`: the host's.
    zone: Option<TimeZone>,
}

/// A set of weekdays, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weekdays(u8);

impl Weekdays {
    fn add(&mut self, day: Weekday) {
        self.0 |= 1 << day.to_monday_zero_offset();
    }

    fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

/// One time that a window is open: from `start`, up to but not including `end`.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// When it begins.
    pub start: Timestamp,
    /// When it is over.
    pub end: Timestamp,
    zone: TimeZone,
}

impl Window {
    /// How long it stays open.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The opening that begins on `date`, if one does; `None` also beyond the end of time.
    fn on(&self, date: Date, host: &TimeZone) -> Option<Opening> {
        if !self.days.has(date.weekday()) {
            return None;
        }
        let zone = self.zone.as_ref().unwrap_or(host);
        let start = zone.to_ambiguous_timestamp(date.to_datetime(self.start)).compatible().ok()?;
        let end = start.checked_add(self.length).ok()?;
        Some(Opening { start, end, zone: zone.clone() })
    }

    /// The openings that can matter to `now`: those that begin from eight days before it to
    /// eight days after it. A day more than a week, because a date may be skipped.
    fn around<'a>(
        &'a self,
        now: Timestamp,
        host: &'a TimeZone,
    ) -> impl Iterator<Item = Opening> + 'a {
        let today = self.zone.as_ref().unwrap_or(host).to_datetime(now).date();
        (-8_i64..=8).filter_map(move |days| {
            let date = today.checked_add(jiff::Span::new().days(days)).ok()?;
            self.on(date, host)
        })
    }
}

/// Several windows together, on a host in the zone `host`.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    /// The windows.
    pub windows: &'a [Window],
    /// The zone of those that name none.
    pub host: &'a TimeZone,
}

impl Windows<'_> {
    fn around(&self, now: Timestamp) -> impl Iterator<Item = Opening> {
        self.windows.iter().flat_map(move |window| window.around(now, self.host))
    }

    /// Until when it is open without a break, where it is open at `now`: windows that overlap
    /// or follow each other are one. At most a little over a week is looked ahead.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let mut openings: Vec<Opening> = self.around(now).collect();
        openings.sort_by_key(|opening| opening.start);
        let mut until = now;
        for opening in openings {
            if opening.start <= until && opening.end > until {
                until = opening.end;
            }
        }
        (until > now).then_some(until)
    }

    /// The next opening that begins after `now`: of several at once, the longest.
    pub fn next(&self, now: Timestamp) -> Option<Opening> {
        self.around(now)
            .filter(|opening| opening.start > now)
            .min_by_key(|opening| (opening.start, std::cmp::Reverse(opening.end)))
    }
}

impl Opening {
    /// How long it is open.
    pub fn length(&self) -> Duration {
        self.end.duration_since(self.start).unsigned_abs()
    }

    /// For people: `Sat 22:00–24:00 Europe/Berlin`, `Sat 22:00–Sun 02:00 Europe/Berlin`; with the
    /// offsets where clocks are put back inside of it: `Sun 02:30+02–02:30+01 Europe/Berlin`.
    pub fn text(&self) -> String {
        let (start, end) = (self.zone.to_datetime(self.start), self.zone.to_datetime(self.end));
        let (before, after) = (self.zone.to_offset(self.start), self.zone.to_offset(self.end));
        let is_put_back = after < before;
        let clock = |time: DateTime, offset: Offset| match is_put_back {
            true => format!("{}{offset}", time.strftime("%H:%M")),
            false => time.strftime("%H:%M").to_string(),
        };
        let ends_next_midnight =
            end.time() == Time::midnight() && start.date().tomorrow().ok() == Some(end.date());
        let end = match () {
            () if start.date() == end.date() => clock(end, after),
            () if ends_next_midnight && !is_put_back => "24:00".to_owned(),
            () => format!("{} {}", end.strftime("%a"), clock(end, after)),
        };
        let zone = self.zone.iana_name().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{} {}–{end}{zone}", start.strftime("%a"), clock(start, before))
    }
}
