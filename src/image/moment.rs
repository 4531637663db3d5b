// SPDX-License-Identifier: MIT OR Apache-2.0

//! Days and moments as people write them: `2026-12-01`, `2026-12-01T18:00+01:00`,
//! `2026-12-01T18:00[Europe/Berlin]` (RFC 3339, RFC 9557).

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::de::{self, Deserialize, Deserializer};

/// The most bytes that one may have.
const LIMIT: usize = 100;

/// A day, which begins at midnight of the host that reads it, or a moment, which is the same
/// everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// A day of the calendar.
    Day(Date),
    /// A moment, with a zone or without.
    Time(Timestamp, Option<TimeZone>),
}

/// What text has to be.
const FORM: &str =
    "a day such as 2026-12-01, or a time with its zone such as 2026-12-01T18:00+01:00";

/// What is no day and no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write {}", FORM)]
pub struct NoMoment;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if text.len() > LIMIT {
            return Err(NoMoment);
        }
        if let Ok(zoned) = text.parse::<Zoned>() {
            return Ok(Self::Time(zoned.timestamp(), Some(zoned.time_zone().clone())));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::Time(time, None));
        }
        // jiff takes the date of a time without a zone for a date: whose time would that be?
        let is_day = text.len() == "2026-12-01".len();
        match text.parse::<Date>() {
            Ok(day) if is_day => Ok(Self::Day(day)),
            _ => Err(NoMoment),
        }
    }
}

/// From its text. A format with dates of its own gives them as text.
impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORM)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                text.parse().map_err(invalid)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

impl Moment {
    /// When it is, or begins, on a host in the zone `host`.
    pub fn time(&self, host: &TimeZone) -> Timestamp {
        match self {
            Self::Time(time, _) => *time,
            Self::Day(day) => {
                let midnight = day.to_zoned(host.clone()).map(|zoned| zoned.timestamp());
                midnight.unwrap_or(if day.year() > 0 { Timestamp::MAX } else { Timestamp::MIN })
            }
        }
    }

    /// For people on a host in the zone `host`: `2026-12-01`, `2026-12-01 18:00 Europe/Berlin`.
    pub fn text(&self, host: &TimeZone) -> String {
        match self {
            Self::Day(day) => day.to_string(),
            Self::Time(time, zone) => {
                let zone = zone.as_ref().unwrap_or(host);
                let clock = zone.to_datetime(*time).strftime("%Y-%m-%d %H:%M");
                let name = zone.iana_name().map(str::to_owned);
                format!("{clock} {}", name.unwrap_or_else(|| zone.to_offset(*time).to_string()))
            }
        }
    }
}

/// As it is read again.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Time(time, Some(zone)) => time.to_zoned(zone.clone()).fmt(f),
            Self::Time(time, None) => time.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_and_moments_are_read_and_begin_where_they_should() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (text, time, shown) in [
            ("2026-12-01", "2026-11-30T23:00Z", "2026-12-01"),
            ("2026-12-01T18:00Z", "2026-12-01T18:00Z", "2026-12-01 19:00 Europe/Berlin"),
            ("2026-12-01T18:00+01:00", "2026-12-01T17:00Z", "2026-12-01 18:00 Europe/Berlin"),
            (
                "2026-12-01T18:00[America/New_York]",
                "2026-12-01T23:00Z",
                "2026-12-01 18:00 America/New_York",
            ),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.time(&berlin), time.parse().unwrap(), "{text}");
            assert_eq!(moment.text(&berlin), shown, "{text}");
            assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment, "{text}");
        }
    }

    #[test]
    fn what_has_no_zone_or_is_no_date_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-12",
            "2026-13-01",
            "2026-12-01T18:00",
            "2026-12-01 18:00",
            "18:00",
            "20261201",
            "2026-12-01T18:00[Nowhere/City]",
            &"2".repeat(200),
        ] {
            assert_eq!(text.parse::<Moment>(), Err(NoMoment), "{text}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_told_what_it_has_to_be() {
        let read = serde_json::from_str::<Moment>;
        assert_eq!(read("\"2026-12-01\"").unwrap(), "2026-12-01".parse().unwrap());
        for text in ["20261201", "\"tomorrow\"", "null"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("expected a day such as 2026-12-01"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_none(text in "[0-9TZ:+\\[\\]A-Za-z/-]{0,40}") {
            if let Ok(moment) = text.parse::<Moment>() {
                let _ = (moment.time(&TimeZone::UTC), moment.text(&TimeZone::UTC));
                prop_assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
            }
        }

        #[test]
        fn every_moment_survives_being_written(second in -9_000_000_000_i64..250_000_000_000) {
            let time = Timestamp::from_second(second).unwrap();
            for moment in [
                Moment::Time(time, None),
                Moment::Time(time, Some(TimeZone::get("Europe/Berlin").unwrap())),
                Moment::Day(TimeZone::UTC.to_datetime(time).date()),
            ] {
                prop_assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
            }
        }
    }
}
