// SPDX-License-Identifier: MIT OR Apache-2.0

//! The two timers that start updates, for hosts that are on all day or for two hours, and for a site
//! whose power comes back: systemd's rules are played with the times of the units, and flipside
//! itself says for each run whether it is to be made.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flipside::run::is_daily_run_enough;
use flipside_core::host::Root;
use flipside_image::units;

use crate::support::documents;
use crate::support::program_host::ProgramHost;

const BOOT_TIMER: &str = "flipside-update-boot.timer";
const STAMP: &str = "var/lib/systemd/timers/stamp-flipside-update.timer";
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A setting of a unit.
fn setting(unit: &str, key: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(unit);
    let text = std::fs::read_to_string(path).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
    value.unwrap_or_else(|| panic!("{unit} has no {key}=")).to_owned()
}

fn seconds(unit: &str, key: &str) -> u64 {
    units::duration(&setting(unit, key)).unwrap().as_secs()
}

/// A host, and the seconds since the start of the play at which it asked its registry.
struct Host {
    directory: tempfile::TempDir,
    /// Its delay of the daily timer.
    delay: u64,
    asked: Vec<u64>,
}

/// A fleet, its delays spread evenly.
struct Fleet {
    hosts: Vec<Host>,
    begin: SystemTime,
    /// Which part of the random delay after a boot the next host gets.
    draw: u64,
}

impl Fleet {
    fn new(size: u64) -> Self {
        let room = seconds("flipside-update.timer", "RandomizedDelaySec");
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * DAY);
        let host = |n| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(directory.path().join(STAMP).parent().unwrap()).unwrap();
            let host = Host { directory, delay: room * n / size, asked: Vec::new() };
            // The timer was enabled then.
            host.touch(begin);
            host
        };
        Self { hosts: (0..size).map(host).collect(), begin, draw: 0 }
    }

    /// Every host is on from `on` to `off`.
    fn run(&mut self, on: u64, off: u64) {
        let (start, room) =
            (seconds(BOOT_TIMER, "OnStartupSec"), seconds(BOOT_TIMER, "RandomizedDelaySec"));
        for host in &mut self.hosts {
            // Spread over the delay, and not by the order of the hosts.
            self.draw = (self.draw + 617) % 1000;
            let after_boot = on + start + room * self.draw / 1000;
            for (time, is_after_boot) in host.times(on, off, after_boot, self.begin) {
                let now = self.begin + Duration::from_secs(time);
                let root = Root::new(host.directory.path());
                if !is_after_boot {
                    host.touch(now);
                }
                let trigger = if is_after_boot { BOOT_TIMER } else { "flipside-update.timer" };
                if !is_daily_run_enough(&root, Some(trigger), now) {
                    host.asked.push(time);
                }
            }
        }
    }

    /// How many hosts ask in each slice of `length` seconds from `from` to `to`.
    fn load(&self, from: u64, to: u64, length: u64) -> BTreeMap<u64, usize> {
        let mut load = BTreeMap::new();
        let asked = self.hosts.iter().flat_map(|host| &host.asked);
        for time in asked.filter(|time| (from..to).contains(*time)) {
            *load.entry((time - from) / length).or_default() += 1;
        }
        load
    }
}

impl Host {
    /// When its timers elapse while it is on, and whether it is the one after the boot.
    fn times(&self, on: u64, off: u64, after_boot: u64, begin: SystemTime) -> Vec<(u64, bool)> {
        let stamp = std::fs::metadata(self.directory.path().join(STAMP)).unwrap();
        let stamp = stamp.modified().unwrap().duration_since(begin).unwrap().as_secs();
        // What was missed while it was off is made up for, after the delay (`Persistent=`).
        let midnight = stamp / DAY * DAY + DAY;
        let mut daily = if midnight < on { on + self.delay } else { midnight + self.delay };
        let mut times = vec![(after_boot, true)];
        while daily < off {
            times.push((daily, false));
            daily = (daily / DAY + 1) * DAY + self.delay;
        }
        times.retain(|(time, _)| *time < off);
        times.sort_unstable();
        times
    }

    fn touch(&self, time: SystemTime) {
        let path = self.directory.path().join(STAMP);
        File::options().create(true).append(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn machines_that_are_always_on_ask_once_a_day() {
    let mut fleet = Fleet::new(300);
    fleet.run(10 * HOUR, 10 * DAY);
    for host in &fleet.hosts {
        assert_eq!(host.asked.len(), 9, "{:?}", host.asked);
    }
    // Also those that boot for a minute of maintenance in the afternoon.
    let mut fleet = Fleet::new(300);
    fleet.run(10 * HOUR, 3 * DAY + 15 * HOUR);
    fleet.run(3 * DAY + 15 * HOUR + MINUTE, 10 * DAY);
    for host in &fleet.hosts {
        assert_eq!(host.asked.len(), 9, "{:?}", host.asked);
    }
    let night = fleet.load(5 * DAY, 6 * DAY, HOUR);
    assert_eq!(night.values().copied().collect::<Vec<_>>(), [50; 6]);
}

#[test]
fn a_machine_that_is_on_two_hours_a_day_asks_every_day() {
    let mut fleet = Fleet::new(60);
    for day in 0..10 {
        fleet.run(day * DAY + 17 * HOUR, day * DAY + 19 * HOUR);
    }
    for host in &fleet.hosts {
        // The first day's stamp is the one that enabling the timer made.
        for day in 1..10 {
            let that_day = day * DAY..(day + 1) * DAY;
            assert!(host.asked.iter().any(|time| that_day.contains(time)), "day {day}");
        }
    }
}

#[test]
fn a_site_whose_power_comes_back_asks_over_three_quarters_of_an_hour() {
    let mut fleet = Fleet::new(300);
    let (cut, back) = (3 * DAY + 10 * HOUR, 4 * DAY + 16 * HOUR);
    fleet.run(10 * HOUR, cut);
    fleet.run(back, 6 * DAY);
    let slices = fleet.load(back, back + HOUR, 5 * MINUTE);
    // Whose delay is nearly none are made up for at once, as ever; the others come after 15 minutes.
    let early: usize = slices.range(..3).map(|(_, hosts)| hosts).sum();
    assert!(early <= 300 / 20, "{slices:?}");
    assert!(slices.range(3..).count() == 9, "{slices:?}");
    assert!(slices.values().all(|hosts| *hosts <= 300 / 6), "{slices:?}");
    assert!(slices.values().sum::<usize>() >= 280, "{slices:?}");
    // A short one in the afternoon makes nobody ask.
    let mut fleet = Fleet::new(300);
    let (cut, back) = (3 * DAY + 14 * HOUR, 3 * DAY + 15 * HOUR);
    fleet.run(10 * HOUR, cut);
    fleet.run(back, 6 * DAY);
    assert_eq!(fleet.load(back, 4 * DAY, HOUR), BTreeMap::new());
}

#[test]
fn a_run_after_a_boot_is_made_where_the_daily_one_is_overdue() {
    let host = ProgramHost::new();
    let stamp = |age: u64| {
        let time = SystemTime::now() - Duration::from_secs(age);
        host.write(STAMP, "");
        File::options().append(true).open(host.file(STAMP)).unwrap().set_modified(time).unwrap();
    };
    let update = || {
        let mut command = host.command(["update", "--automatic"]);
        let output = documents::output(command.env("TRIGGER_UNIT", BOOT_TIMER));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for age in [0, 19 * HOUR] {
        stamp(age);
        let said = "nothing to do: the daily timer has elapsed in the last 20 hours\n";
        assert_eq!(update(), said);
    }
    stamp(21 * HOUR);
    assert!(update().starts_with("2 is installed in slot B"));
    // The daily timer, and a person, are never asked for the stamp.
    stamp(0);
    let root = Root::new(host.0.path());
    for trigger in [None, Some("flipside-update.timer"), Some("flipside-update-window.timer")] {
        assert!(!is_daily_run_enough(&root, trigger, SystemTime::now()), "{trigger:?}");
    }
    // Nobody knows when it was.
    std::fs::remove_file(host.file(STAMP)).unwrap();
    assert!(!is_daily_run_enough(&root, Some(BOOT_TIMER), SystemTime::now()));
    stamp(0);
    let past = SystemTime::now() - Duration::from_secs(HOUR);
    assert!(!is_daily_run_enough(&root, Some(BOOT_TIMER), past));
}

/// Otherwise who switched updates off would find them switched on again by a new package.
#[test]
fn the_timer_after_a_boot_is_on_only_where_the_daily_one_is() {
    for (key, value) in [
        ("WantedBy", "flipside-update.timer"),
        ("PartOf", "flipside-update.timer"),
        ("Unit", "flipside-update.service"),
    ] {
        assert_eq!(setting(BOOT_TIMER, key), value);
    }
}
