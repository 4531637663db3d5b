// SPDX-License-Identifier: MIT OR Apache-2.0

//! The worked examples in hooks/examples, by dash with the machine's programs and by busybox with
//! its own.

use std::path::PathBuf;
use std::process::Command;

use jiff::{Timestamp, ToSpan as _, Unit};

use crate::support::example::{Example, examples};

#[test]
fn every_example_is_a_clean_posix_script_with_a_licence_and_a_line_in_the_documentation() {
    let documentation = std::fs::read_to_string("docs/hooks.md").unwrap();
    for path in examples() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("#!/bin/sh\n# SPDX-License-Identifier: MIT OR Apache-2.0\n"),
            "{name}"
        );
        assert!(documentation.contains(&format!("| `{name}` |")), "{name} is not described");
        assert!(Example::new(name).is_executable(), "{name}");
    }
    let mut shellcheck = Command::new("shellcheck");
    match shellcheck.args(["--shell=sh"]).args(examples()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(error) => println!("skipped: shellcheck: {error}"),
    }
}

#[test]
fn maintenance_marker_defers_while_the_file_exists() {
    for (file, text, status, said) in [
        ("etc/other", "", 0, ""),
        ("etc/maintenance", "", 75, "maintenance: /etc/maintenance exists"),
        ("run/maintenance", "until 18:00\nmore\n", 75, "until 18:00"),
        ("run/maintenance", "no line feed", 75, "no line feed"),
    ] {
        Example::new("maintenance-marker").file(file, text).says(status, said);
    }
}

#[test]
fn battery_wants_mains_power_or_charge() {
    // As a laptop's kernel has them: files that end in a line feed.
    let battery = |files: &[(&str, &str)]| {
        let mut all = vec![("type", "Battery"), ("present", "1"), ("scope", "System")];
        all.extend(files);
        supply("BAT0", &all)
    };
    let mains = |online| supply("AC", &[("type", "Mains"), ("online", online)]);
    let low = "the battery is at 20 %, 50 % or mains power are needed";
    let discharging = [("status", "Discharging"), ("capacity", "20")];
    for (supplies, settings, status, said) in [
        (vec![], "", 0, ""),
        (vec![mains("1")], "", 0, ""),
        (vec![mains("0")], "", 0, ""),
        (vec![mains("1"), battery(&discharging)], "", 0, ""),
        (vec![mains("0"), battery(&discharging)], "", 75, low),
        (vec![battery(&discharging)], "", 75, low),
        (vec![battery(&discharging)], "MINIMUM=20", 0, ""),
        (vec![battery(&discharging)], "MINIMUM=10\nMAINS=yes", 75, "on battery power (20 %)"),
        (vec![battery(&[("status", "Charging"), ("capacity", "3")])], "MAINS=yes", 0, ""),
        (vec![battery(&[("status", "Full"), ("capacity", "100")])], "", 0, ""),
        // Firmware that tells the energy only.
        (
            vec![battery(&[
                ("status", "Discharging"),
                ("energy_now", "10000000"),
                ("energy_full", "50000000"),
            ])],
            "",
            75,
            low,
        ),
        // One that says nothing of its charge is taken for empty.
        (
            vec![battery(&[("status", "Unknown")])],
            "",
            75,
            "the battery is at 0 %, 50 % or mains power are needed",
        ),
        (
            vec![
                battery(&discharging),
                supply("BAT1", &[("type", "Battery"), ("capacity", "60"), ("status", "Unknown")]),
            ],
            "",
            0,
            "",
        ),
        (
            vec![battery(&[("capacity", "1")]), supply("BAT1", &[("present", "0")])],
            "MINIMUM=1",
            0,
            "",
        ),
        // A mouse's, and a charger on USB.
        (
            vec![supply("hid", &[("type", "Battery"), ("scope", "Device"), ("capacity", "1")])],
            "",
            0,
            "",
        ),
        (
            vec![battery(&discharging), supply("ucsi", &[("type", "USB"), ("online", "1")])],
            "",
            0,
            "",
        ),
    ] {
        let mut example = Example::new("battery").settings(settings);
        for (path, text) in supplies.iter().flatten() {
            example = example.file(path, text);
        }
        example.says(status, said);
    }
    let example = Example::new("battery").settings("MINIMUM=half");
    assert!(example.last_line_with(1).ends_with("battery.conf: MINIMUM is not a number"));
}

fn supply(name: &str, files: &[(&str, &str)]) -> Vec<(String, String)> {
    let file = |(file, text): &(&str, &str)| {
        (format!("sys/class/power_supply/{name}/{file}"), format!("{text}\n"))
    };
    files.iter().map(file).collect()
}

#[test]
fn free_space_looks_at_the_file_system_of_each_directory() {
    let new = || Example::new("free-space").file("var/lib/app/data", "").file("srv/x", "");
    new().settings("ROOM='/var 1'").says(0, "");
    new().settings("ROOM='/var 1\n/srv 1\n/var/lib/app 1'").says(0, "");
    let example = new().settings("ROOM='/srv 1\n/var 999999999'");
    // Others write there meanwhile.
    for said in example.last_lines_with(75) {
        assert!(said.starts_with("/var has "), "{said}");
        assert!(said.ends_with(" MiB free, 999999999 MiB are needed"), "{said}");
    }
    assert!(
        new().settings("ROOM=/var").last_line_with(1).ends_with("no number of MiB behind /var")
    );
    let said = new().settings("ROOM='/gone 1'").last_line_with(1);
    assert_eq!(said, "cannot find out how much room /gone has");
}

#[test]
fn allow_until_allows_before_its_date_and_at_no_other_time() {
    let now = Timestamp::now();
    let utc = |time: Timestamp, format| time.strftime(format).to_string();
    let (before, after) = (now - 2.hours(), now + 2.hours());
    let minutes = "%Y-%m-%dT%H:%MZ";
    let (earlier, later) = (utc(before, minutes), utc(after, minutes));
    let local = after.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M").to_string();
    let tomorrow = utc(now + 50.hours(), "%Y-%m-%d");
    let today = utc(now, "%Y-%m-%dZ");
    for (date, status, said) in [
        (later.as_str(), 0, String::new()),
        (local.as_str(), 0, String::new()),
        (tomorrow.as_str(), 0, String::new()),
        (earlier.as_str(), 75, format!("upgrades were allowed until {earlier}")),
        (today.as_str(), 75, format!("upgrades were allowed until {today}")),
    ] {
        Example::new("allow-until")
            .file("etc/flipside/hooks/allow-until", date)
            .says(status, &said);
    }
    let none = "/etc/flipside/hooks/allow-until does not allow upgrades now";
    Example::new("allow-until").says(75, none);
    for nonsense in
        ["", "\n", "soon\n", "2026-12-24 18:00\n", "26-12-24\n", "*\n", "2099-12-24T18:00+01:00"]
    {
        let example = Example::new("allow-until").file("etc/flipside/hooks/allow-until", nonsense);
        assert!(example.last_line_with(1).contains("holds no date"), "{nonsense:?}");
    }
    Example::new("allow-until")
        .file("etc/flipside/hooks/allow-until", &later)
        .variable("FLIPSIDE_CLOCK", "unsynchronized")
        .says(
            75,
            &format!("upgrades are allowed until {later}, but the clock is not synchronised"),
        );
}

/// By the machine's own systemd-analyze.
#[test]
fn calendar_allows_between_the_beginning_and_the_end_of_a_time() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: systemd-analyze is not there");
        return;
    }
    let now = Timestamp::now().round(Unit::Minute).unwrap();
    let at = |time: Timestamp| time.strftime("*-%m-%d %H:%M UTC").to_string();
    let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let in_berlin = (now - 1.hours()).to_zoned(berlin).strftime("*-*-* %H:%M Europe/Berlin");
    let no = "it is not a maintenance time";
    for (times, status, said) in [
        (format!("180 {}", at(now - 1.hours())), 0, ""),
        (format!("30 {}", at(now - 1.hours())), 75, no),
        (format!("30 {}", at(now + 1.hours())), 75, no),
        (format!("30 {}\n180 {in_berlin}", at(now + 1.hours())), 0, ""),
        ("60 2020-01-01".to_owned(), 75, no),
        ("1500 *-*-* 00:00".to_owned(), 0, ""),
    ] {
        for zone in ["UTC", "America/New_York"] {
            Example::new("calendar")
                .with("systemd-analyze")
                .settings(&format!("TIMES='{times}'"))
                .variable("TZ", zone)
                .says(status, said);
        }
    }
    for (settings, part) in [
        ("", "sets no TIMES"),
        ("TIMES='60 Someday'", "systemd knows no such time: Someday"),
        ("TIMES='Sat *-*-* 22:00'", "a line begins with minutes, not with Sat"),
    ] {
        let example = Example::new("calendar").with("systemd-analyze").settings(settings);
        let said = example.last_line_with(1);
        assert!(said.ends_with(part), "{said}");
    }
    Example::new("calendar")
        .with("systemd-analyze")
        .settings("TIMES='1500 *-*-* 00:00'")
        .variable("FLIPSIDE_CLOCK", "unsynchronized")
        .says(75, "the clock is not synchronised, and upgrades are for maintenance times");
}

/// Enabled as the documentation says: a link with a name of the administrator's.
#[test]
fn an_example_is_enabled_by_a_link() {
    use flipside::hooks::{DIRECTORY, discover};
    use flipside_core::host::Root;
    let directory = tempfile::tempdir().unwrap();
    let root = Root::new(directory.path());
    let hooks = root.path("etc").join(DIRECTORY);
    std::fs::create_dir_all(&hooks).unwrap();
    let installed: PathBuf = examples().into_iter().find(|path| path.ends_with("battery")).unwrap();
    std::os::unix::fs::symlink(installed, hooks.join("30-battery")).unwrap();
    let found = discover(&root).unwrap();
    let found: Vec<_> = found.iter().map(|hook| (hook.name.as_str(), hook.ignored)).collect();
    assert_eq!(found, [("30-battery", None)]);
}
