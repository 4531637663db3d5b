// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside status --watch`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flipside::report::status::State;
use flipside::report::{Status, StatusFile};
use flipside_core::host::Root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::documents;

struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn says(&self, state: State) {
        let status = Status { state, ..Status::unknown(jiff::Timestamp::now()) };
        StatusFile::of(&Root::new(self.0.path())).write(&status).unwrap();
    }

    fn watch(&self, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.arg("--root").arg(self.0.path()).args(["status", "--watch"]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn ends(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_change_is_a_line_of_json_until_a_signal_ends_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let stage = Stage::new();
        stage.says(State::Idle);
        let mut child = stage.watch(&["--json"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || -> serde_json::Value {
            let shown = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            let fits = ["status", "error"].map(|name| documents::judge(name, &shown).is_ok());
            assert!(fits[0] != fits[1], "{shown:#}");
            shown
        };
        assert_eq!(next()["state"], "idle");
        stage.says(State::Armed);
        assert_eq!(next()["state"], "armed");
        std::fs::write(stage.0.path().join("run/flipside/status.json"), "{").unwrap();
        assert_eq!(next()["error"]["code"], "status-malformed");
        std::fs::remove_dir_all(stage.0.path().join("run")).unwrap();
        assert_eq!(next()["state"], "unknown");
        stage.says(State::Trial);
        assert_eq!(next()["state"], "trial");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(ends(&mut child), Some(0));
        assert!(lines.next().is_none());
    }
}

#[test]
fn a_reader_that_went_away_ends_it() {
    let stage = Stage::new();
    stage.says(State::Idle);
    let mut child = stage.watch(&[]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 7]).unwrap();
    drop(stdout);
    // Without another change.
    assert_eq!(ends(&mut child), Some(0));
}

#[test]
fn a_terminal_is_drawn_anew_and_left_as_it_was() {
    let stage = Stage::new();
    stage.says(State::Installed);
    let command = format!(
        "exec {} --root {} status --watch",
        env!("CARGO_BIN_EXE_flipside"),
        stage.0.path().display()
    );
    // script(1) of util-linux gives it a terminal.
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    script.env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = script.spawn() else {
        println!("skipped: no script(1) to make a terminal with");
        return;
    };
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut wait_for = |what: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(what) {
            let read = stdout.read(&mut buffer).unwrap();
            assert!(read > 0, "{what:?} does not come: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        std::mem::take(&mut seen)
    };
    let first = wait_for("waits to be armed");
    assert!(first.starts_with("\x1b[?1049h\x1b[?25l\x1b[H\x1b[J"), "{first:?}");
    stage.says(State::FellBack);
    wait_for("fell back");
    // What Ctrl-C comes to.
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\x03").unwrap();
    let last = wait_for("\x1b[?1049l");
    assert!(last.contains("\x1b[?25h"), "{last:?}");
    assert_eq!(ends(&mut child), Some(0));
}
