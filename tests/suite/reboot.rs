// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reboots, and the lock against them, on a bus with logind and systemd played.

use std::process::Output;
use std::sync::{Arc, Mutex};

use flipside::run;
use flipside_core::host::durable::{Durable, Step, StepObserver};
use flipside_core::progress::Silent;
use jiff::{Timestamp, ToSpan as _};

use crate::support::documents;
use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;
use crate::support::logind::PlayedLogind;
use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::Registry;

const WALL: &str = "SetWallMessage true: flipside reboots this machine into 2 (slot B)";
const PERSON: [&str; 4] = ["pts/0", "user", "tty", "active"];
const TIMER: &str = "flipside-reboot-window.timer replace";

/// A host with 2 armed in slot B, and logind played.
fn armed(settings: &str) -> (ProgramHost, PlayedLogind) {
    let host = ProgramHost::new();
    host.updates();
    let logind = PlayedLogind::of(&host.0.path());
    host.set(&format!("[reboot]\n{settings}"));
    (host, logind)
}

fn succeeds(host: &ProgramHost, arguments: &[&str]) -> String {
    let output = host.program(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn fails(output: &Output, status: i32, code: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(&format!("[{code}]")), "{stderr}");
}

/// A window of two hours that opens in `hours`, on whole hours.
fn window_in(hours: i64) -> String {
    let start = (Timestamp::now() + hours.hours()).strftime("%a %H:00 2h UTC");
    format!("strategy = \"window\"\nwindows = [\"{start}\"]\n")
}

#[test]
fn shutdowns_are_held_off_while_a_slot_is_written_and_no_longer() {
    struct Watch {
        logind: Arc<PlayedLogind>,
        phases: Mutex<Vec<(&'static str, usize)>>,
    }
    impl StepObserver for Watch {
        fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
            if let Step::Phase(name) = step {
                let held = self.logind.with(|world| world.held_locks());
                self.phases.lock().unwrap().push((name, held));
            }
            Ok(())
        }
    }
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    let logind = Arc::new(PlayedLogind::of(&host.path()));
    let watch = Arc::new(Watch { logind: logind.clone(), phases: Mutex::default() });
    let run = host.run_with(Durable::observed(watch.clone()), |_| {});
    run::update(&run, flipside::config::Initiative::Manual).unwrap();
    let phases = std::mem::take(&mut *watch.phases.lock().unwrap());
    let held = ["secure", "disarm", "write", "boot-file", "list", "arm"].map(|name| (name, 1));
    assert_eq!(phases, [&[("check", 0)][..], &held[..]].concat());
    assert_eq!(logind.calls(), ["Inhibit shutdown flipside block: writing 2 into slot B"]);
    assert_eq!(logind.with(|world| world.held_locks()), 0);
}

#[test]
fn nothing_reboots_where_nothing_is_armed() {
    let host = ProgramHost::new();
    let logind = PlayedLogind::of(&host.0.path());
    assert_eq!(succeeds(&host, &["reboot"]), "nothing to do: no update waits for a reboot");
    host.set("[reboot]\nstrategy = \"immediate\"");
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
}

#[test]
fn who_is_alone_on_a_host_does_not_wait() {
    let (host, logind) = armed("");
    logind.logs_in(["own", "user", "tty", "active"]);
    logind.logs_in(["tty1", "greeter", "wayland", "active"]);
    logind.logs_in(["pts/3", "user", "tty", "closing"]);
    assert_eq!(succeeds(&host, &["reboot"]), "reboots into 2 in slot B");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
}

#[test]
fn people_get_ten_minutes_and_the_reboot_is_asked_for_once() {
    let (host, logind) = armed("strategy = \"immediate\"");
    logind.logs_in(PERSON);
    let before = Timestamp::now();
    let said = succeeds(&host, &["reboot", "--automatic", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["reboot"], &said["kexec"]), (&"notice".into(), &false.into()));
    let time: Timestamp = said["time"].as_str().unwrap().parse().unwrap();
    let wait = time.duration_since(before).as_secs();
    assert!((600..660).contains(&wait), "{wait}");
    assert_eq!(logind.calls(), [WALL, "ScheduleShutdown reboot"]);
    let status = succeeds(&host, &["status"]);
    assert!(status.contains("next      reboot into slot B in "), "{status}");
    // The next run of the timer does not give them ten minutes more.
    let said = succeeds(&host, &["reboot", "--automatic"]);
    assert!(said.starts_with("a reboot is scheduled already, in "), "{said}");
    assert_eq!(logind.calls(), [""; 0]);
    // A person need not wait.
    assert_eq!(succeeds(&host, &["reboot", "--now"]), "reboots into 2 in slot B");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
}

#[test]
fn whoever_blocks_shutdowns_is_respected_and_asked_again_soon() {
    let (host, logind) = armed("strategy = \"immediate\"");
    for mode in ["block", "block-weak"] {
        let inhibitors = vec![
            ["sleep", "music", "playing", "block"],
            ["shutdown", "editor", "unsaved", "delay"],
            ["idle:shutdown", "backup", "a backup runs", mode],
        ];
        logind.with(|world| world.inhibitors = inhibitors);
        let output = host.program(["reboot", "--now"]);
        fails(&output, 75, "reboot-inhibited");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("backup blocks reboots: a backup runs"), "{stderr}");
        assert_eq!(logind.calls(), [""; 0]);
    }
    let before = Timestamp::now();
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(host.codes_in_status(), ["reboot-inhibited"]);
    assert_eq!(logind.calls(), [format!("StartTransientUnit {TIMER}")]);
    let timer = logind.with(|world| world.timer).unwrap();
    let wait = i64::try_from(timer).unwrap() / 1_000_000 - before.as_second();
    assert!((15 * 60..16 * 60).contains(&wait), "{wait}");
    // It came to logind's mind only when it was asked.
    logind.with(|world| {
        world.inhibitors.clear();
        world.refuses = true;
    });
    fails(&host.program(["reboot"]), 75, "reboot-inhibited");
    // And what held it off is over.
    logind.with(|world| world.refuses = false);
    logind.calls();
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
    assert_eq!(host.codes_in_status(), [""; 0]);
}

#[test]
fn outside_its_window_a_host_sets_a_timer_for_it_and_keeps_it_right() {
    let (host, logind) = armed(&window_in(30));
    let begin = Timestamp::now();
    let said = succeeds(&host, &["reboot", "--automatic"]);
    assert!(said.starts_with("reboots in the window ") && said.contains(" UTC, in "), "{said}");
    assert_eq!(logind.calls(), [format!("StartTransientUnit {TIMER}")]);
    let timer = logind.with(|world| world.timer).unwrap();
    let ahead = i64::try_from(timer).unwrap() / 1_000_000 - begin.as_second();
    assert!((29 * 3600..32 * 3600).contains(&ahead), "{ahead}");
    let status = succeeds(&host, &["status"]);
    assert!(status.contains("next      reboot into slot B in the window "), "{status}");
    assert!(status.contains(" UTC (in "), "{status}");
    // The same again changes nothing.
    let said = succeeds(&host, &["reboot", "--automatic", "--json"]);
    assert!(said.contains("\"reboot\": \"window\""), "{said}");
    assert_eq!(logind.calls(), [""; 0]);
    assert_eq!(logind.with(|world| world.timer), Some(timer));
    // Another window is another time.
    host.set(&format!("[reboot]\n{}", window_in(50)));
    succeeds(&host, &["reboot", "--automatic"]);
    let replaced = [format!("StopUnit {TIMER}"), format!("StartTransientUnit {TIMER}")];
    assert_eq!(logind.calls(), replaced);
    assert!(logind.with(|world| world.timer) > Some(timer + 10 * 3_600_000_000));
    // With nothing armed there is nothing to come back for.
    std::fs::remove_file(host.file("sys/firmware/efi/efivars").join(BOOT_NEXT)).unwrap();
    let said = succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(said, "nothing to do: no update waits for a reboot");
    assert_eq!(logind.calls(), [format!("StopUnit {TIMER}")]);
    assert!(!succeeds(&host, &["status"]).contains("window"));
}

const BOOT_NEXT: &str = "BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c";

#[test]
fn inside_its_window_a_host_reboots() {
    let always = "strategy = \"window\"\nwindows = [\"Mon..Sun 00:00 1d\"]";
    let (host, logind) = armed(always);
    assert_eq!(succeeds(&host, &["reboot", "--automatic"]), "reboots into 2 in slot B");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
    // A person does not wait for a window.
    host.set(&format!("[reboot]\n{}", window_in(30)));
    let said = succeeds(&host, &["reboot", "--json"]);
    assert!(said.contains("\"reboot\": \"now\""), "{said}");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
}

#[test]
fn an_update_leaves_the_reboot_to_the_unit_behind_it() {
    let host = ProgramHost::new();
    let logind = PlayedLogind::of(&host.0.path());
    host.set("[reboot]\nstrategy = \"immediate\"");
    let said = succeeds(&host, &["update", "--automatic"]);
    assert_eq!(said, "2 is installed in slot B and boots once at the next reboot");
    let written = "Inhibit shutdown flipside block: writing 2 into slot B";
    assert_eq!(logind.calls(), [written]);
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
    // With the strategy to leave it to others.
    host.set("[reboot]\nstrategy = \"none\"");
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
}

#[test]
fn a_run_of_the_timer_keeps_the_reboot_that_a_person_called_for() {
    let (host, logind) = armed("");
    logind.logs_in(PERSON);
    succeeds(&host, &["reboot"]);
    assert_eq!(logind.calls(), [WALL, "ScheduleShutdown reboot"]);
    let is_ahead = |host: &ProgramHost| {
        succeeds(host, &["status"]).contains("next      reboot into slot B in ")
    };
    assert!(is_ahead(&host));
    let said = succeeds(&host, &["reboot", "--automatic", "--json"]);
    assert!(said.contains("\"reboot\": \"scheduled\""), "{said}");
    assert_eq!(logind.calls(), [""; 0]);
    assert!(is_ahead(&host));
}

#[test]
fn behind_a_run_that_somebody_stopped_nothing_reboots() {
    let (host, logind) = armed("strategy = \"immediate\"");
    let after = |result: &str, status: &str| {
        let mut command = host.command(["reboot", "--automatic"]);
        command.env("MONITOR_SERVICE_RESULT", result).env("MONITOR_EXIT_STATUS", status);
        assert!(documents::output(&mut command).status.success());
        logind.calls()
    };
    assert_eq!(after("success", "75"), [""; 0]);
    assert_eq!(after("success", "0"), [WALL, "RebootWithFlags 1"]);
    // It took too long, and an update may wait from before.
    assert_eq!(after("timeout", "75"), [WALL, "RebootWithFlags 1"]);
}

#[test]
fn a_host_without_logind_says_so() {
    let (host, logind) = armed("strategy = \"immediate\"");
    logind.ends();
    fails(&host.program(["reboot"]), 1, "logind-unavailable");
    fails(&host.program(["reboot", "--automatic"]), 1, "logind-unavailable");
    assert_eq!(host.boot(), "booted slot B: 2 (promoted)");
}

#[test]
fn a_kernel_that_is_not_taken_is_started_by_the_firmware() {
    let (host, logind) = armed("kexec = true");
    let output = host.program(["reboot"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
}

/// It would be back each day, and nothing else.
#[test]
fn firmware_that_ignored_what_is_armed_is_not_asked_again_by_itself() {
    let (host, logind) = armed("strategy = \"immediate\"");
    host.write("proc/sys/kernel/random/boot_id", "later\n");
    for _ in 0..2 {
        let said = succeeds(&host, &["reboot", "--automatic"]);
        assert!(said.starts_with("nothing to do: the machine did not boot"), "{said}");
        assert_eq!(logind.calls(), [""; 0]);
    }
    // A person may know better.
    assert_eq!(succeeds(&host, &["reboot"]), "reboots into 2 in slot B");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
}

/// A host on which kexec started 2 in slot B, which is still to be tried.
fn started_by_kexec() -> (ProgramHost, PlayedLogind) {
    let (host, logind) = armed("strategy = \"immediate\"\nkexec = true");
    std::fs::remove_dir_all(host.file("run/flipside")).unwrap();
    for name in ["reboot-required", "reboot-required.pkgs"] {
        std::fs::remove_file(host.file("run").join(name)).unwrap();
    }
    host.write("proc/cmdline", "root=PARTLABEL=system-b ro flipside.slot=b\n");
    host.write("proc/sys/kernel/random/boot_id", "after-kexec\n");
    (host, logind)
}

#[test]
fn the_trial_of_what_kexec_started_is_due_by_itself_once_an_update_waits_for_it() {
    let (host, logind) = started_by_kexec();
    let seen = || host.file("run/reboot-required").exists();
    // The timer's run finds that what it follows runs.
    succeeds(&host, &["update", "--automatic"]);
    assert!(seen());
    let said = succeeds(&host, &["reboot", "--automatic"]);
    assert!(said.starts_with("nothing to do: kexec started"), "{said}");
    assert_eq!(logind.calls(), [""; 0]);
    let status = succeeds(&host, &["status"]);
    assert!(status.contains("next      the trial, at the next boot by the firmware"), "{status}");
    // Never by kexec: that would put it off again.
    assert_eq!(succeeds(&host, &["reboot", "--kexec"]), "reboots into 2 in slot B");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
    host.0.publish(&ImageBuilder::new("3"));
    succeeds(&host, &["update", "--automatic"]);
    assert_eq!(host.codes_in_status(), ["trial-running"]);
    assert_eq!(succeeds(&host, &["reboot", "--automatic"]), "reboots into 2 in slot B");
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
    assert_eq!(host.boot(), "booted slot B: 2 (promoted)");
}

#[test]
fn whether_an_update_waits_for_that_trial_is_no_matter_of_the_status_document() {
    let (host, logind) = started_by_kexec();
    let due = "reboots into 2 in slot B";
    host.0.publish(&ImageBuilder::new("3"));
    succeeds(&host, &["update", "--automatic"]);
    std::fs::remove_file(host.file("run/flipside/status.json")).unwrap();
    assert_eq!(succeeds(&host, &["reboot", "--automatic"]), due);
    assert_eq!(logind.calls(), [WALL, "RebootWithFlags 1"]);
    // Something else is the last refusal.
    let inhibitor = ["shutdown", "backup", "a backup runs", "block"];
    logind.with(|world| world.inhibitors = vec![inhibitor]);
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(host.codes_in_status(), ["reboot-inhibited"]);
    logind.with(|world| world.inhibitors.clear());
    assert_eq!(succeeds(&host, &["reboot", "--automatic"]), due);
    // The tag goes back to what runs, and on again: a check tells as an update does.
    for (version, is_due) in [("2", false), ("3", true), ("2", false)] {
        host.0.publish(&ImageBuilder::new(version));
        succeeds(&host, &["check", "--automatic"]);
        logind.calls();
        let said = succeeds(&host, &["reboot", "--automatic"]);
        assert_eq!(said == due, is_due, "{version}: {said}");
        assert!(is_due || said.starts_with("nothing to do: kexec started"), "{said}");
        assert_eq!(logind.calls().len(), if is_due { 2 } else { 0 });
    }
}

#[test]
fn tools_that_watch_for_a_reboot_see_that_one_is_due() {
    let host = ProgramHost::new();
    let seen = || host.file("run/reboot-required").exists();
    host.updates();
    assert!(seen());
    let packages = std::fs::read_to_string(host.file("run/reboot-required.pkgs")).unwrap();
    assert_eq!(packages, "flipside\n");
    // The tag goes back.
    host.0.publish(&ImageBuilder::new("1"));
    succeeds(&host, &["update"]);
    assert!(!seen() && !host.file("run/reboot-required.pkgs").exists());
}

#[test]
fn a_reboot_that_people_were_told_of_is_called_off_with_its_update_and_no_others_is() {
    for (wall, is_own) in [(None, true), (Some("the power goes away"), false)] {
        let (host, logind) = armed("strategy = \"immediate\"");
        logind.logs_in(PERSON);
        succeeds(&host, &["reboot", "--automatic"]);
        if let Some(wall) = wall {
            logind.with(|world| world.wall = wall.to_owned());
        }
        logind.calls();
        // The tag goes back.
        host.0.publish(&ImageBuilder::new("1"));
        succeeds(&host, &["update", "--automatic"]);
        succeeds(&host, &["reboot", "--automatic"]);
        let calls = if is_own { vec!["CancelScheduledShutdown".to_owned()] } else { Vec::new() };
        assert_eq!(logind.calls(), calls);
    }
}

#[test]
fn p2_a_slot_whose_kernel_is_loaded_for_kexec_is_not_written() {
    let (host, _logind) = armed("");
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(host.file(path).parent().unwrap()).unwrap();
        std::fs::write(host.file(path), text).unwrap();
    };
    write("run/flipside/kexec", "");
    write("sys/kernel/kexec_loaded", "1\n");
    host.0.publish(&ImageBuilder::new("3"));
    fails(&host.program(["update"]), 75, "kexec-loaded");
    write("sys/kernel/kexec_loaded", "0\n");
    succeeds(&host, &["update"]);
    assert_eq!(host.boot(), "booted slot B: 3 (promoted)");
}

#[test]
fn a_run_outside_the_update_windows_is_made_again_in_the_next_one() {
    let host = ProgramHost::new();
    let logind = PlayedLogind::of(&host.0.path());
    let timer = "flipside-update-window.timer replace";
    let set = |hours: i64| {
        let start = (Timestamp::now() + hours.hours()).strftime("%a %H:00 2h UTC");
        host.set(&format!("update.windows = [\"{start}\"]\n"));
    };
    let begin = Timestamp::now();
    set(30);
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [format!("StartTransientUnit {timer}")]);
    let time = logind.with(|world| world.update_timer).unwrap();
    let ahead = i64::try_from(time).unwrap() / 1_000_000 - begin.as_second();
    assert!((29 * 3600..32 * 3600).contains(&ahead), "{ahead}");
    // The same again changes nothing, another window is another time.
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
    set(60);
    succeeds(&host, &["reboot", "--automatic"]);
    let replaced = [format!("StopUnit {timer}"), format!("StartTransientUnit {timer}")];
    assert_eq!(logind.calls(), replaced);
    assert_eq!(logind.with(|world| world.timer), None);
    // Inside, and where nobody knows what time it is, nothing is waited for; a person never does.
    set(0);
    succeeds(&host, &["reboot", "--automatic"]);
    set(30);
    succeeds(&host, &["reboot"]);
    std::fs::remove_file(host.file("run/systemd/timesync/synchronized")).unwrap();
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
    // Another service than timesyncd keeps the clock right: timedated tells.
    for (is_synchronized, calls) in [(false, 0), (true, 2)] {
        let _timedated = logind.tells_the_time(is_synchronized);
        succeeds(&host, &["reboot", "--automatic"]);
        assert_eq!(logind.calls().len(), calls);
    }
}

#[test]
fn the_status_says_when_the_timers_ask_again_as_far_as_systemd_tells() {
    let host = ProgramHost::new();
    let next_check = || {
        let status = succeeds(&host, &["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["next_check"].as_str().map(|time| time.parse::<Timestamp>().unwrap())
    };
    assert_eq!(next_check(), None);
    let logind = PlayedLogind::of(&host.0.path());
    let begin = Timestamp::now();
    let at = |minutes: i64| Some(begin + minutes.minutes());
    let elapses = |time: Option<Timestamp>| time.map(|time| time.as_microsecond() as u64);
    for (daily, retry, expected) in [
        (None, None, None),
        (at(300), None, at(300)),
        (at(300), at(15), at(15)),
        // It has elapsed, and what it started is still at work.
        (at(-1), at(15), at(15)),
        (at(-1), None, None),
    ] {
        logind.with(|world| {
            (world.daily_timer, world.retry_timer) = (elapses(daily), elapses(retry));
        });
        let found = next_check().map(|time| time.as_microsecond());
        assert_eq!(found, expected.map(|time| time.as_microsecond()), "{daily:?} {retry:?}");
    }
    // The unit behind the timer's run finds its next time, for who reads the file.
    logind.with(|world| world.daily_timer = elapses(at(315)));
    succeeds(&host, &["reboot", "--automatic"]);
    let text = std::fs::read_to_string(host.file("run/flipside/status.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        file["next_check"].as_str().unwrap().parse::<Timestamp>().ok().map(|t| t.as_microsecond()),
        at(315).map(|t| t.as_microsecond())
    );
    let page = succeeds(&host, &["status"]);
    assert!(page.contains("\nchecked   not yet, next in 5 h\n"), "{page}");
    host.set("update.automatic = \"off\"\n");
    assert_eq!(next_check(), None);
    host.set("");
    logind.ends();
    assert_eq!(next_check(), None);
    // A bus that takes the connection and says nothing keeps nobody waiting for long.
    let socket = host.file("run/dbus/system_bus_socket");
    std::fs::remove_file(&socket).unwrap();
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(next_check(), None);
}

const RETRY: &str = "flipside-update-retry.timer replace";

#[test]
fn a_run_of_the_timer_that_could_not_reach_the_registry_is_made_again() {
    let host = ProgramHost::new();
    let logind = PlayedLogind::of(&host.0.path());
    let right = format!("oci:{}:stable", host.0.track.display());
    let wrong = "127.0.0.1:9/os:stable";
    host.follow(wrong, "");
    let before = host.snapshot();
    // A person sees it, and no timer follows.
    fails(&host.program(["update"]), 1, "registry-unreachable");
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
    for delay in [15 * 60, 3600] {
        let begin = Timestamp::now().as_second();
        fails(&host.program(["update", "--automatic"]), 1, "registry-unreachable");
        succeeds(&host, &["reboot", "--automatic"]);
        let end = Timestamp::now().as_second();
        let time = logind.with(|world| world.retry_timer.take()).unwrap() / 1_000_000;
        let time = i64::try_from(time).unwrap();
        assert!((begin + delay..=end + delay + delay / 4).contains(&time), "{begin} {time}");
        assert_eq!(logind.calls(), [format!("StartTransientUnit {RETRY}")]);
    }
    host.assert_unchanged_since(&before, "nothing but /run was written");
    // What the timer may do, it may do again: nothing at all where it is off.
    host.set("update.automatic = \"off\"\n");
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
    host.set("update.automatic = \"check\"\n");
    fails(&host.program(["update", "--automatic"]), 1, "registry-unreachable");
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [format!("StartTransientUnit {RETRY}")]);
    // Success ends it, whoever had it, and then nothing is left to do.
    host.set("");
    host.follow(&right, "");
    host.updates();
    logind.calls();
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [format!("StopUnit {RETRY}")]);
    assert!(!host.file("run/flipside/retry.json").exists());
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
}

#[test]
fn what_time_does_not_mend_is_not_tried_again_the_same_day() {
    let host = ProgramHost::new();
    let logind = PlayedLogind::of(&host.0.path());
    host.follow("oci:/no/such/directory:stable", "");
    assert_eq!(host.program(["update", "--automatic"]).status.code(), Some(1));
    succeeds(&host, &["reboot", "--automatic"]);
    assert_eq!(logind.calls(), [""; 0]);
}

#[test]
fn a_retry_waits_for_the_update_window() {
    let host = ProgramHost::new();
    let logind = PlayedLogind::of(&host.0.path());
    let start = (Timestamp::now() + 30.hours()).strftime("%a %H:00 2h UTC");
    host.follow("127.0.0.1:9/os:stable", &format!("[update]\nwindows = [\"{start}\"]"));
    fails(&host.program(["update", "--automatic"]), 1, "registry-unreachable");
    succeeds(&host, &["reboot", "--automatic"]);
    let started = "StartTransientUnit flipside-update-window.timer replace";
    assert_eq!(logind.calls(), [started]);
}

#[test]
fn no_run_of_the_timer_comes_before_the_time_that_a_registry_names() {
    let registry = Registry::shared();
    let host = ProgramHost::new();
    let options = registry.options();
    let name = "retry-after:stable";
    flipside_publish::push::push(
        &host.0.track,
        Some("stable"),
        &registry.reference(name),
        &options,
        &Silent,
    )
    .unwrap();
    let proxy = Proxy::start(registry.address());
    host.follow(&format!("{}/{name}", proxy.address()), "");
    for status in [429, 503] {
        let later = vec![("retry-after", "7200".to_owned())];
        proxy.fault("manifests", 1, Fault::Status(status, later, String::new()));
        let logind = PlayedLogind::of(&host.0.path());
        let begin = Timestamp::now().as_second();
        assert_eq!(host.program(["update", "--automatic"]).status.code(), Some(1));
        succeeds(&host, &["reboot", "--automatic"]);
        let time = logind.with(|world| world.retry_timer.take()).unwrap() / 1_000_000;
        assert!(i64::try_from(time).unwrap() >= begin + 7200);
        // Another run of the timer asks nobody.
        proxy.forget();
        let output = host.program(["update", "--automatic"]);
        fails(&output, 0, "registry-rate-limited");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("wants to be left alone for another 120 min"), "{stderr}");
        assert_eq!(proxy.seen().len(), 0);
        drop(logind);
        std::fs::remove_file(host.file("run/dbus/system_bus_socket")).unwrap();
        std::fs::remove_file(host.file("run/flipside/retry.json")).unwrap();
    }
    // A person's does.
    let later = vec![("retry-after", "7200".to_owned())];
    proxy.fault("manifests", 1, Fault::Status(429, later, String::new()));
    assert_eq!(host.program(["update", "--automatic"]).status.code(), Some(1));
    host.updates();
    succeeds(&host, &["update", "--automatic"]);
}
