// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside dbus-service` on a private bus: what it serves, and how long.

use std::collections::BTreeSet;
use std::time::Duration;

use flipside::report::progress::{Phase, RunProgress};
use flipside::report::status::{Failure, State};
use flipside::report::{Status, StatusFile};
use flipside_core::host::Root;
use jiff::Timestamp;

use crate::support::bus::{Bus, runtime};
use crate::support::documents;
use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;
use crate::support::updater::{Client, PATIENCE, Updater, Values, command, text};

/// Nothing comes any more.
const QUIET: Duration = Duration::from_millis(500);

/// A root without anything, where a test writes what a run would.
struct Stage {
    directory: tempfile::TempDir,
    bus: Bus,
}

impl Stage {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), bus: Bus::start() }
    }

    fn service(&self, idle: u64) -> Updater {
        Updater::start(&self.bus, self.directory.path(), idle)
    }

    fn says(&self, status: &Status) {
        StatusFile::of(&Root::new(self.directory.path())).write(status).unwrap();
    }

    fn contains(&self, bytes: impl AsRef<[u8]>) {
        let path = self.directory.path().join("run/flipside/status.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn idle_status() -> Status {
    Status { state: State::Idle, ..Status::unknown(Timestamp::now()) }
}

fn names(values: &Values) -> BTreeSet<&str> {
    values.keys().map(String::as_str).collect()
}

#[test]
fn the_document_of_an_armed_host_is_served_as_properties() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    host.arm();
    let bus = Bus::start();
    let _service = Updater::start(&bus, &host.path(), 60);
    let status = StatusFile::of(&Root::new(host.path())).read().unwrap().unwrap();
    let (a, b) = (status.slots[0].clone(), status.slots[1].clone());
    let file = std::fs::read_to_string(host.file("run/flipside/status.json")).unwrap();
    documents::check("status", &serde_json::from_str(&file).unwrap());
    let usec = |time: Timestamp| time.as_microsecond().to_string();
    let slot_a = format!(
        "{{\"boot_entry\": \"{}\", \"boot_file\": \"bootable\", \"digest\": \"{}\", \
         \"loader_entry\": true, \"running\": true, {}\"slot\": \"a\", \
         \"state\": \"proven\", \"version\": \"1\"}}",
        a.boot_entry.unwrap(),
        a.digest.unwrap(),
        a.since.map(|since| format!("\"since\": {}, ", usec(since))).unwrap_or_default(),
    );
    let checked = usec(status.last_check.unwrap().time);
    let expected = [
        ("Version", format!("{:?}", env!("CARGO_PKG_VERSION"))),
        ("State", "\"armed\"".to_owned()),
        ("Follows", format!("{:?}", status.follows.clone().unwrap())),
        ("RunningSlot", "\"a\"".to_owned()),
        ("Problem", "(\"\", \"\")".to_owned()),
        ("AvailableVersion", "\"\"".to_owned()),
        ("AvailableDigest", "\"\"".to_owned()),
        ("Blocked", "(\"\", \"\", \"\", 0)".to_owned()),
        ("LastCheckUSec", checked),
        ("LastCheckResult", "\"available\"".to_owned()),
        ("NextCheckUSec", "0".to_owned()),
        ("LastError", "(\"\", \"\", 0)".to_owned()),
        ("LastCommand", "(\"\", \"\", \"\", \"\", 0)".to_owned()),
        ("Failed", "[]".to_owned()),
        ("Withdrawn", "[]".to_owned()),
        ("LeftByRollback", "\"\"".to_owned()),
        ("BootNext", format!("{:?}", b.boot_entry.unwrap())),
        ("SecureBoot", "\"\"".to_owned()),
        ("RebootRequired", "true".to_owned()),
        ("AvailableDownload", "(0, 0, \"\")".to_owned()),
        ("Progress", "(\"\", \"\", 0, 0)".to_owned()),
        ("TimeUSec", usec(status.time)),
        ("StatusJson", format!("{file:?}")),
    ];
    let all = runtime().block_on(async { Client::on(&bus).await.all().await });
    for (name, value) in &expected {
        assert_eq!(text(&all[*name]), *value, "{name}");
    }
    let slots = text(&all["Slots"]);
    assert!(slots.starts_with(&format!("[{slot_a}, {{")), "{slots}\n{slot_a}");
    assert!(slots.contains("\"state\": \"armed\", \"version\": \"2\"}]"), "{slots}");
    let order = text(&all["BootOrder"]);
    assert!(order.contains("\"what\": \"slot-a\"}"), "{order}");
    let known: BTreeSet<&str> = expected.iter().map(|(name, _)| *name).collect();
    let more: Vec<_> = names(&all).difference(&known).copied().collect();
    assert_eq!(more, ["BootOrder", "Slots"]);
}

#[test]
fn a_change_is_told_once_and_alone() {
    let stage = Stage::new();
    stage.says(&idle_status());
    let _service = stage.service(60);
    runtime().block_on(async {
        let client = Client::on(&stage.bus).await;
        let mut changes = client.listen().await;
        let mut status = idle_status();
        status.reboot_required = true;
        status.last_error = Some(Failure {
            code: "not-found".into(),
            message: "no\0such tag".into(),
            time: Timestamp::from_second(7).unwrap(),
            since: None,
        });
        stage.says(&status);
        let (changed, mut invalidated) = changes.next(PATIENCE).await.unwrap();
        assert_eq!(names(&changed), BTreeSet::from(["LastError", "RebootRequired"]));
        assert_eq!(text(&changed["RebootRequired"]), "true");
        // D-Bus has no NUL in its strings.
        assert_eq!(text(&changed["LastError"]), "(\"not-found\", \"no\u{fffd}such tag\", 7000000)");
        invalidated.sort();
        assert_eq!(invalidated, ["StatusJson", "TimeUSec"]);
        // The same document again is no change.
        stage.says(&status);
        assert!(changes.next(QUIET).await.is_none());
        assert_eq!(client.get("RebootRequired").await, "true");
    });
}

#[test]
fn a_host_without_a_run_since_its_boot_is_unknown_until_the_first() {
    let stage = Stage::new();
    let _service = stage.service(60);
    runtime().block_on(async {
        let client = Client::on(&stage.bus).await;
        let mut changes = client.listen().await;
        assert_eq!(client.get("State").await, "\"unknown\"");
        assert_eq!(client.get("StatusJson").await, "\"\"");
        assert_eq!(client.get("TimeUSec").await, "0");
        // Directories and all.
        stage.says(&idle_status());
        let (changed, _) = changes.next(PATIENCE).await.unwrap();
        assert_eq!(names(&changed), BTreeSet::from(["State"]));
        assert_eq!(text(&changed["State"]), "\"idle\"");
        std::fs::remove_dir_all(stage.directory.path().join("run")).unwrap();
        let (changed, _) = changes.next(PATIENCE).await.unwrap();
        assert_eq!(text(&changed["State"]), "\"unknown\"");
    });
}

#[test]
fn a_file_that_is_no_document_is_said_and_survived() {
    let good = serde_json::to_string(&idle_status()).unwrap();
    let huge = good.replacen('{', &format!("{{{}", " ".repeat(2 << 20)), 1);
    let deep = "[".repeat(1 << 19);
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty", b"", "status-malformed"),
        ("cut short", &good.as_bytes()[..good.len() / 2], "status-malformed"),
        ("bytes", &[0xff; 4096], "status-malformed"),
        ("deep", deep.as_bytes(), "status-malformed"),
        ("later", b"{\"version\": 2}", "status-malformed"),
        ("huge", huge.as_bytes(), "report-unreadable"),
    ];
    let stage = Stage::new();
    let _service = stage.service(60);
    runtime().block_on(async {
        let client = Client::on(&stage.bus).await;
        for (name, bytes, code) in cases {
            stage.says(&idle_status());
            wait_for(&client, "State", "\"idle\"").await;
            stage.contains(bytes);
            wait_for(&client, "State", "\"unknown\"").await;
            let problem = client.get("Problem").await;
            assert!(problem.starts_with(&format!("({code:?}, ")), "{name}: {problem}");
        }
    });
}

async fn wait_for(client: &Client, property: &str, value: &str) {
    let begin = std::time::Instant::now();
    while client.get(property).await != value {
        assert!(begin.elapsed() < PATIENCE, "{property} does not become {value}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn it_ends_when_nobody_needs_it_and_not_before() {
    let stage = Stage::new();
    stage.says(&idle_status());
    let output = stage.service(1).end();
    assert!(output.status.success(), "{output:?}");
    // A run is under way, whoever listens.
    let mut status = idle_status();
    status.progress = Some(RunProgress::at(Phase::Writing));
    stage.says(&status);
    let mut service = stage.service(1);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(service.is_running());
    stage.says(&idle_status());
    assert!(service.end().status.success());
    // Somebody asks now and then.
    let mut service = stage.service(1);
    runtime().block_on(async {
        let client = Client::on(&stage.bus).await;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            client.get("State").await;
        }
    });
    assert!(service.is_running());
    assert!(service.end().status.success());
}

#[test]
fn only_one_serves() {
    let stage = Stage::new();
    let mut first = stage.service(60);
    let second = command(&stage.bus, stage.directory.path(), 60).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("[dbus-name-taken]"), "{said}");
    assert!(first.is_running());
}

#[test]
fn without_a_bus_it_fails_and_with_its_end_it_ends() {
    let stage = Stage::new();
    let service = stage.service(60);
    let directory = stage.directory;
    drop(stage.bus);
    let output = service.end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("[dbus-unavailable]"), "{output:?}");
    let mut nowhere = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
    nowhere.arg("--root").arg(directory.path()).arg("dbus-service");
    let output = nowhere.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("[dbus-unavailable]"), "{output:?}");
}

/// Whoever listens sees the run of another process from its beginning to its end.
#[test]
fn a_real_update_is_seen_live() {
    let version = |v: &str| ImageBuilder::new(v).chunk_size(16 << 10).system_size(800_000);
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    let bus = Bus::start();
    let _service = Updater::start(&bus, &host.path(), 60);
    runtime().block_on(async {
        let mut changes = Client::on(&bus).await.listen().await;
        let mut update = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
        update.arg("--quiet").arg("--root").arg(host.path()).arg("update");
        let mut update = update.stdout(std::process::Stdio::null()).spawn().unwrap();
        let (mut phases, mut state) = (BTreeSet::new(), String::new());
        while state != "\"armed\"" {
            let (changed, _) = changes.next(PATIENCE).await.unwrap();
            if let Some(progress) = changed.get("Progress") {
                phases.insert(text(progress).split('"').nth(1).unwrap().to_owned());
            }
            if let Some(changed) = changed.get("State") {
                state = text(changed);
            }
        }
        assert!(phases.len() > 1 && phases.contains(""), "{phases:?}");
        assert!(update.wait().unwrap().success());
    });
}
