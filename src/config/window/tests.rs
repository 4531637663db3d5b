// SPDX-License-Identifier: MIT OR Apache-2.0

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(text: &str) -> Window {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// The opening after `now`, as it is shown.
fn next_of(windows: &[&str], host: &TimeZone, now: &str) -> (Timestamp, Timestamp, String) {
    let windows: Vec<Window> = windows.iter().map(|text| window(text)).collect();
    let opening = Windows { windows: &windows, host }.next(at(now)).unwrap();
    (opening.start, opening.end, opening.text())
}

#[test]
fn an_opening_has_its_elapsed_length_whatever_the_clocks_do() {
    for (text, now, start, end, shown) in [
        // An ordinary week, and its end.
        (
            "Sat 22:00 2h Europe/Berlin",
            "2026-11-21T12:00Z",
            "2026-11-21T21:00Z",
            "2026-11-21T23:00Z",
            "Sat 22:00–24:00 Europe/Berlin",
        ),
        (
            "Sun..Mon 23:00 4h UTC",
            "2026-11-22T23:00Z",
            "2026-11-23T23:00Z",
            "2026-11-24T03:00Z",
            "Mon 23:00–Tue 03:00 UTC",
        ),
        // Berlin, 2026-03-29: 02:00 becomes 03:00.
        (
            "Sun 01:00 3h Europe/Berlin",
            "2026-03-28T12:00Z",
            "2026-03-29T00:00Z",
            "2026-03-29T03:00Z",
            "Sun 01:00–05:00 Europe/Berlin",
        ),
        (
            "Sun 02:30 1h Europe/Berlin",
            "2026-03-28T12:00Z",
            "2026-03-29T01:30Z",
            "2026-03-29T02:30Z",
            "Sun 03:30–04:30 Europe/Berlin",
        ),
        // Berlin, 2026-10-25: 03:00 becomes 02:00.
        (
            "Sun 02:30 1h Europe/Berlin",
            "2026-10-24T12:00Z",
            "2026-10-25T00:30Z",
            "2026-10-25T01:30Z",
            "Sun 02:30+02–02:30+01 Europe/Berlin",
        ),
        (
            "Sat 22:00 8h Europe/Berlin",
            "2026-10-24T12:00Z",
            "2026-10-24T20:00Z",
            "2026-10-25T04:00Z",
            "Sat 22:00+02–Sun 05:00+01 Europe/Berlin",
        ),
        // New York, 2026-03-08 and 2026-11-01.
        (
            "Sun 02:15 30min America/New_York",
            "2026-03-08T00:00Z",
            "2026-03-08T07:15Z",
            "2026-03-08T07:45Z",
            "Sun 03:15–03:45 America/New_York",
        ),
        (
            "Sun 01:30 1h America/New_York",
            "2026-11-01T00:00Z",
            "2026-11-01T05:30Z",
            "2026-11-01T06:30Z",
            "Sun 01:30-04–01:30-05 America/New_York",
        ),
        // Lord Howe goes by half an hour: 2026-10-04 and 2026-04-05, at 02:00.
        (
            "Sun 02:15 1h Australia/Lord_Howe",
            "2026-10-03T00:00Z",
            "2026-10-03T15:45Z",
            "2026-10-03T16:45Z",
            "Sun 02:45–03:45 Australia/Lord_Howe",
        ),
        (
            "Sun 01:45 1h Australia/Lord_Howe",
            "2026-04-04T00:00Z",
            "2026-04-04T14:45Z",
            "2026-04-04T15:45Z",
            "Sun 01:45+11–02:15+10:30 Australia/Lord_Howe",
        ),
        // Santiago and Beirut change at midnight.
        (
            "Sun 00:00 2h America/Santiago",
            "2026-09-05T12:00Z",
            "2026-09-06T04:00Z",
            "2026-09-06T06:00Z",
            "Sun 01:00–03:00 America/Santiago",
        ),
        (
            "Sat 23:30 1h America/Santiago",
            "2026-04-04T12:00Z",
            "2026-04-05T02:30Z",
            "2026-04-05T03:30Z",
            "Sat 23:30-03–23:30-04 America/Santiago",
        ),
        (
            "Sun 00:30 1h Asia/Beirut",
            "2026-03-28T12:00Z",
            "2026-03-28T22:30Z",
            "2026-03-28T23:30Z",
            "Sun 01:30–02:30 Asia/Beirut",
        ),
    ] {
        let found = next_of(&[text], &TimeZone::UTC, now);
        assert_eq!(found, (at(start), at(end), shown.to_owned()), "{text} after {now}");
        let windows = [window(text)];
        let windows = Windows { windows: &windows, host: &TimeZone::UTC };
        let moment = Duration::from_nanos(1);
        for (time, until) in [
            (at(start) - moment, None),
            (at(start), Some(at(end))),
            (at(end) - moment, Some(at(end))),
            (at(end), None),
        ] {
            assert_eq!(windows.open_until(time), until, "{text} at {time}");
        }
    }
}

#[test]
fn the_host_s_zone_counts_where_none_is_named() {
    let (start, _, shown) = next_of(&["Sat 22:00 2h"], &zone("Asia/Kolkata"), "2026-11-21T12:00Z");
    assert_eq!((start, shown.as_str()), (at("2026-11-21T16:30Z"), "Sat 22:00–24:00 Asia/Kolkata"));
}

#[test]
fn the_next_of_several_is_the_one_that_begins_first_and_of_those_the_longest() {
    let windows = ["Sat 22:00 2h UTC", "Wed 03:00 1h UTC", "Wed 03:00 2h UTC", "Fri 01:00 5h UTC"];
    for (now, start, end) in [
        ("2026-11-21T22:00Z", "2026-11-25T03:00Z", "2026-11-25T05:00Z"),
        ("2026-11-25T04:00Z", "2026-11-27T01:00Z", "2026-11-27T06:00Z"),
        ("2026-11-27T06:00Z", "2026-11-28T22:00Z", "2026-11-29T00:00Z"),
    ] {
        let (found_start, found_end, _) = next_of(&windows, &TimeZone::UTC, now);
        assert_eq!((found_start, found_end), (at(start), at(end)), "{now}");
    }
}

#[test]
fn windows_that_overlap_or_follow_each_other_are_open_as_one() {
    let open_until = |windows: &[&str], now: &str| {
        let windows: Vec<Window> = windows.iter().map(|text| window(text)).collect();
        Windows { windows: &windows, host: &TimeZone::UTC }.open_until(at(now))
    };
    let three = ["Sun 00:00 1h", "Sat 22:00 2h", "Sun 00:30 2h", "Sun 03:00 1h"];
    assert_eq!(open_until(&three, "2026-11-21T23:55Z"), Some(at("2026-11-22T02:30Z")));
    assert_eq!(open_until(&three, "2026-11-22T02:30Z"), None);
    // The longest window is its own successor: there is no end in sight.
    let now = at("2026-11-21T12:00Z");
    let whole_week = open_until(&["Mon 00:00 7d"], "2026-11-21T12:00Z").unwrap();
    assert!(whole_week > now + Duration::from_secs(86_400), "{whole_week}");
    let every_day = open_until(&["Mon..Sun 00:00 1d"], "2026-11-21T12:00Z").unwrap();
    assert!(every_day > now + Duration::from_secs(6 * 86_400), "{every_day}");
    assert_eq!(open_until(&[], "2026-11-21T12:00Z"), None);
}

#[test]
fn a_date_that_a_zone_skipped_and_the_end_of_time_are_no_trouble() {
    // Samoa had no 2011-12-30, a Friday.
    let (start, _, _) =
        next_of(&["Fri 10:00 1h Pacific/Apia"], &TimeZone::UTC, "2011-12-31T00:00Z");
    assert_eq!(start, at("2012-01-05T20:00Z"));
    let windows = [window("Mon..Sun 23:00 7d")];
    let windows = Windows { windows: &windows, host: &TimeZone::UTC };
    for time in [Timestamp::MIN, Timestamp::MAX] {
        let _ = (windows.open_until(time), windows.next(time));
    }
}

#[test]
fn what_is_no_window_says_which_part_is_wrong() {
    for (text, part, wrong) in [
        ("", "", "a window is weekdays, start, length"),
        ("Sat 22:00", "Sat 22:00", "a window is weekdays, start, length"),
        ("Sat,Sab 22:00 2h", "Sat,Sab", "is no weekday"),
        ("Sat, 22:00 2h", "Sat,", "is no weekday"),
        ("Mon..  22:00 2h", "Mon..", "is no weekday"),
        ("Sa 22:00 2h", "Sa", "is no weekday"),
        ("Sat 22 2h", "22", "is no start"),
        ("Sat 22:60 2h", "22:60", "is no start"),
        ("Sat +2:00 2h", "+2:00", "is no start"),
        ("Sat 022:00 2h", "022:00", "is no start"),
        ("Sat 22:00 0h UTC", "0h", "is no length"),
        ("Sat 22:00 7d 1s", "7d 1s", "is no length"),
        ("Sat 22:00 Europe/Berlin", "Europe/Berlin", "is no length"),
        ("Sat 22:00 1h 2x UTC", "1h 2x", "is no length"),
        ("Sat 22:00 2h Mars/Olympus", "Mars/Olympus", "is no time zone"),
    ] {
        let error = text.parse::<Window>().unwrap_err();
        assert!(error.contains(&format!("{part:?}")) && error.contains(wrong), "{text:?}: {error}");
    }
    assert_eq!(window("sat..MON 9:05 1h 30 min UTC"), window("Sat,Sun,Mon 09:05 90min UTC"));
    assert_eq!(window("Mon..Mon 00:00 7d"), window("Monday 00:00 1w"));
}

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Beirut",
];

/// Whether a window with this start begins at the minute `time`: by what the clock on the wall
/// shows then, for the first time that day.
fn begins_at(time: Timestamp, start: Time, days: Weekdays, zone: &TimeZone) -> bool {
    let shown = zone.to_datetime(time);
    let is_second = zone.to_ambiguous_timestamp(shown).earlier().is_ok_and(|first| first < time);
    shown.time() == start && days.has(shown.date().weekday()) && !is_second
}

proptest! {
    #[test]
    fn a_window_opens_when_a_clock_on_the_wall_shows_its_start(
        // 2020 to 2039, by minutes.
        minute in 26_297_280_i64..36_820_800,
        days in 1_u8..128,
        start in 0_i8..24,
        quarter in 0_i8..4,
        length in 1_i64..600,
        which in 0..ZONES.len(),
    ) {
        let now = Timestamp::from_second(minute * 60).unwrap();
        let zone = zone(ZONES[which]);
        let minutes = |count: i64| Duration::from_secs(u64::try_from(count).unwrap() * 60);
        let window = Window {
            days: Weekdays(days),
            start: Time::new(start, quarter * 15, 0, 0).unwrap(),
            length: minutes(length),
            zone: Some(zone.clone()),
        };
        let windows = [window.clone()];
        let windows = Windows { windows: &windows, host: &TimeZone::UTC };
        // A start that no clock shows has its own table.
        let is_shown = |day: i64| {
            let date = zone.to_datetime(now).date() + jiff::Span::new().days(day);
            !zone.to_ambiguous_timestamp(date.to_datetime(window.start)).is_ambiguous()
                || !window.days.has(date.weekday())
        };
        prop_assume!((-2..9).all(is_shown));
        let begins = |time| begins_at(time, window.start, window.days, &zone);
        let is_open = (0..length).any(|ago| begins(now - minutes(ago)));
        prop_assert_eq!(windows.open_until(now).is_some(), is_open);
        let next = windows.next(now).unwrap();
        prop_assert!(begins(next.start));
        let between = (next.start.as_second() - now.as_second()) / 60;
        prop_assert!((1..between).all(|later| !begins(now + minutes(later))));
    }

    #[test]
    fn any_text_is_a_window_or_says_why_not(text in "[A-Za-z0-9:., /]{0,30}") {
        if let Err(error) = text.parse::<Window>() {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
