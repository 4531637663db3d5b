// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program, ended by signals in the middle of an update, and two of it at once.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;

use flipside::config::form::Address;
use flipside_core::progress::Silent;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::support::documents;
use crate::support::host::TestHost;
use crate::support::images::{ImageBuilder, OsImage};
use crate::support::proxy::Proxy;
use crate::support::registry::Registry;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(16 << 10).system_size(800_000)
}

fn kill(child: &Child, signal: Signal) {
    signal::kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// A host on 1 that follows a registry, where 2 waits.
struct Stage {
    host: TestHost,
    proxy: Proxy,
    image: OsImage,
    _registry: Arc<Registry>,
}

impl Stage {
    fn new(repository: &str) -> Self {
        let host = TestHost::running(&version("1"));
        let image = host.publish(&version("2"));
        let registry = Registry::shared();
        let name = format!("{repository}:stable");
        let reference = registry.reference(&name);
        let options = registry.options();
        flipside_publish::push::push(&host.track, Some("stable"), &reference, &options, &Silent)
            .unwrap();
        let proxy = Proxy::start(registry.address());
        let stage = Self { host, proxy, image, _registry: registry };
        stage.follow(&name, "60KiB");
        stage
    }

    fn follow(&self, name: &str, rate: &str) {
        let directory = self.host.file("etc/flipside/flipside.toml.d");
        std::fs::create_dir_all(&directory).unwrap();
        let image = format!("{}/{name}", self.proxy.address());
        let text = format!("[track]\nimage = {image:?}\nmax_rate = {rate:?}\n");
        std::fs::write(directory.join("50-follow.toml"), text).unwrap();
    }

    /// Lets the tag that is followed point to `number`.
    fn publish(&self, repository: &str, number: &str) {
        self.host.publish(&version(number));
        let reference = self._registry.reference(&format!("{repository}:stable"));
        let options = self._registry.options();
        let track = &self.host.track;
        flipside_publish::push::push(track, Some("stable"), &reference, &options, &Silent).unwrap();
    }

    /// An image with version `number` that has failed on this host.
    fn fail(&self, number: &str) -> flipside_image::Digest {
        let digest = self.host.publish(&version(number)).digest;
        let run = self.host.run_with(flipside_core::host::durable::Durable::new(), |config| {
            config.track.image = Some(Address(format!("oci:{}:stable", self.host.track.display())));
            config.track.max_rate = None;
        });
        for _ in 0..2 {
            flipside::run::update(&run, flipside::config::Initiative::Manual).unwrap();
            self.host.boot_and_fail();
            self.host.boot();
        }
        digest
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(self.host.path()).args(["--progress", "json", "update"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts an update and waits until it comes to the system.
    fn start(&self) -> (Child, BufReader<ChildStdout>) {
        let mut child = self.command().spawn().unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap());
        wait_for(&mut events, |event| event["type"] == "payload");
        (child, events)
    }

    /// The status file, while a run goes on.
    fn progress(&self) -> serde_json::Value {
        let file = std::fs::read(self.host.file("run/flipside/status.json")).unwrap();
        let status: serde_json::Value = serde_json::from_slice(&file).unwrap();
        documents::check("status", &status);
        status["progress"].clone()
    }

    /// Starts an update and waits until it fetches the system, of which most is still to come.
    fn start_fetching(&self) -> (Child, BufReader<ChildStdout>) {
        let mut child = self.command().spawn().unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap());
        wait_for(&mut events, |event| {
            event["phase"] == "writing" && event["fetched"].as_u64().is_some_and(|n| n >= 50_000)
        });
        (child, events)
    }

    /// Ends an update with `signal` at its start, or once it fetches; what it said on stderr.
    fn interrupt(&self, is_fetching: bool, signal: Signal) -> (Option<i32>, String) {
        let (mut child, mut events) =
            if is_fetching { self.start_fetching() } else { self.start() };
        kill(&child, signal);
        let mut rest = Vec::new();
        events.read_to_end(&mut rest).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), said)
    }

    /// The bytes of blobs that were asked for by range since the last call.
    fn asked_for(&self) -> u64 {
        let config = self.image.image.manifest.config.digest.to_string();
        let seen = self.proxy.seen();
        self.proxy.forget();
        let blobs = seen.iter().filter(|s| s.path.contains("/blobs/") && !s.path.contains(&config));
        let sizes = blobs.map(|seen| {
            let Some(range) = &seen.range else {
                // Without a range: the whole layer.
                let mut layers = self.image.image.layers();
                let layer = layers.find(|l| seen.path.contains(&l.descriptor.digest.to_string()));
                return layer.unwrap().descriptor.size;
            };
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap()
        });
        sizes.sum()
    }

    fn total(&self) -> u64 {
        self.image.image.layers().map(|layer| layer.descriptor.size).sum()
    }

    fn boots_nothing_of_slot_b(&self) {
        assert!(!self.host.file("efi/loader/entries/flipside-b.conf").exists());
        assert!(!self.host.file("efi/EFI/flipside/slot-b.proven").exists());
        // P2: there is none, or its first sector is zero. The record may stand there already.
        let boot_file = std::fs::read(self.host.file("efi/EFI/flipside/boot-b.efi"));
        let first = boot_file.unwrap_or_default().into_iter().take(512);
        assert!(first.into_iter().all(|byte| byte == 0));
    }

    /// Finishes without a limit of the rate, having fetched at most `most` bytes.
    fn completes(&self, name: &str, most: u64) {
        self.proxy.forget();
        self.follow(&format!("{name}:stable"), "1GiB");
        let done = documents::output(&mut self.command());
        assert!(done.status.success(), "{}", text(&done));
        let fetched = self.asked_for();
        assert!(fetched <= most, "{fetched} of {} bytes, at most {most}", self.total());
        assert_eq!(self.host.boot(), "B 2 promoted");
    }
}

fn wait_for(events: &mut BufReader<ChildStdout>, is_it: impl Fn(&serde_json::Value) -> bool) {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(events.read_line(&mut line).unwrap(), 0, "the run ended before");
        let event = serde_json::from_str(&line).unwrap();
        documents::check("progress", &event);
        if is_it(&event) {
            return;
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sigterm_stops_cleanly_says_what_is_left_and_the_next_run_goes_on() {
    for (n, is_fetching) in [false, true].into_iter().enumerate() {
        let name = format!("sigterm-{n}");
        let stage = Stage::new(&name);
        let (status, said) = stage.interrupt(is_fetching, Signal::SIGTERM);
        assert_eq!(status, Some(75), "{said}");
        let last = said.trim_end().lines().last().unwrap();
        assert!(last.ends_with("[stopped]") && last.contains("bytes of payload"), "{said}");
        stage.boots_nothing_of_slot_b();
        assert_eq!(stage.host.status().state, flipside::report::status::State::Writing);
        assert_eq!(stage.host.boot(), "A 1 promoted");
        stage.completes(&name, stage.total());
    }
}

/// The unit behind the timer's tells by it that somebody stopped the run.
#[test]
fn a_run_of_the_timer_that_is_stopped_ends_with_a_status_of_its_own() {
    let stage = Stage::new("sigterm-automatic");
    let mut child = stage.command().arg("--automatic").spawn().unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut events, |event| event["type"] == "payload");
    kill(&child, Signal::SIGTERM);
    events.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    // Deferred by itself it ends like any other.
    let settings = stage.host.file("etc/flipside/flipside.toml.d/60-off.toml");
    std::fs::write(settings, "[update]\nautomatic = \"off\"\n").unwrap();
    assert!(stage.command().arg("--automatic").status().unwrap().success());
}

#[test]
fn sigkill_leaves_what_the_next_run_goes_on_with() {
    for (n, is_fetching) in [false, true].into_iter().enumerate() {
        let name = format!("sigkill-{n}");
        let stage = Stage::new(&name);
        let (status, _) = stage.interrupt(is_fetching, Signal::SIGKILL);
        assert_eq!(status, None);
        stage.boots_nothing_of_slot_b();
        stage.completes(&name, stage.total());
    }
}

#[test]
fn of_two_updates_at_once_the_second_defers() {
    let stage = Stage::new("two-at-once");
    stage.follow("two-at-once:stable", "30KiB");
    let (mut first, mut events) = stage.start_fetching();
    assert_eq!(stage.progress()["phase"], "writing");
    let second = documents::output(&mut stage.command());
    assert_eq!(second.status.code(), Some(75), "{}", text(&second));
    assert!(text(&second).contains("[locked]"), "{}", text(&second));
    // Nor does anything else get in between; looking is free.
    let flipside = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        documents::output(command.arg("--root").arg(stage.host.path()).args(arguments))
    };
    let rollback = flipside(&["rollback"]);
    assert_eq!(rollback.status.code(), Some(1));
    let said = text(&rollback);
    assert!(said.contains("slot B is being overwritten by an update"), "{said}");
    assert!(said.contains("[rollback-overwritten]"), "{said}");
    assert!(flipside(&["status"]).status.success());
    // A promotion has to happen in this boot: it waits for its turn.
    let mut promote = Command::new(env!("CARGO_BIN_EXE_flipside"));
    promote.arg("--root").arg(stage.host.path()).arg("promote").stdout(Stdio::piped());
    let promote = promote.spawn().unwrap();
    let mut rest = Vec::new();
    events.read_to_end(&mut rest).unwrap();
    assert!(first.wait().unwrap().success());
    let promote = promote.wait_with_output().unwrap();
    assert_eq!(promote.stdout, b"slot A was proven before\n");
    assert_eq!(stage.host.boot(), "B 2 promoted");
}

#[test]
fn a_rollback_to_a_slot_that_was_half_written_says_so() {
    let stage = Stage::new("half-written");
    stage.interrupt(true, Signal::SIGTERM);
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(command.arg("--root").arg(stage.host.path()).arg("rollback"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("[rollback-overwritten]"), "{}", text(&output));
}

/// Whoever asks need not come again when the update is done.
#[test]
fn a_release_that_is_asked_for_during_an_update_is_done_at_its_end() {
    let stage = Stage::new("retry-meanwhile");
    let (failed, kept) = (stage.fail("3"), stage.fail("4"));
    let flipside = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        documents::output(command.arg("--root").arg(stage.host.path()).args(arguments))
    };
    let digests = |of: &[flipside::report::status::Failed]| -> Vec<_> {
        of.iter().map(|failed| failed.digest).collect()
    };
    assert_eq!(digests(&stage.host.status().failed), [failed, kept]);
    let (mut first, mut events) = stage.start_fetching();
    let asked = flipside(&["retry", &failed.to_string()]);
    assert!(asked.status.success(), "{}", text(&asked));
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(said.contains("once the run that is at work has ended"), "{said}");
    assert_eq!(digests(&stage.host.status().failed), [failed, kept]);
    events.read_to_end(&mut Vec::new()).unwrap();
    assert!(first.wait().unwrap().success());
    assert_eq!(digests(&stage.host.status().failed), [kept]);
    // Also by the next run, where the one that held the lock was killed.
    let name = "retry-meanwhile";
    stage.host.boot();
    stage.publish(name, "5");
    let (mut first, mut events) = stage.start_fetching();
    let all: serde_json::Value =
        serde_json::from_slice(&flipside(&["retry", "--all", "--json"]).stdout).unwrap();
    assert_eq!(all, serde_json::json!({"noted": true}));
    kill(&first, Signal::SIGKILL);
    events.read_to_end(&mut Vec::new()).unwrap();
    first.wait().unwrap();
    assert_eq!(digests(&stage.host.status().failed), [kept]);
    assert!(stage.command().status().unwrap().success());
    assert_eq!(digests(&stage.host.status().failed), []);
}

#[test]
fn promotions_at_once_end_in_one() {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    let promote = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(host.path()).arg("promote");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..4).map(|_| promote()).collect();
    let done: Vec<_> = running.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    assert!(done.iter().any(|output| output.status.success()));
    for output in done.iter().filter(|output| !output.status.success()) {
        assert!(text(output).contains("[locked]"), "{}", text(output));
    }
    assert_eq!(host.boot(), "B 2 promoted");
}
