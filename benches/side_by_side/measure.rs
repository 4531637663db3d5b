// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole processes, measured from outside: time, CPU seconds, peak memory.

use std::process::Stdio;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

/// The first argument that makes this program run the rest of its arguments and measure it.
pub const MEASURE: &str = "--measure";

/// How often each command is run.
pub fn runs() -> usize {
    std::env::var("FLIPSIDE_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5)
}

/// What a process and all of its children took.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds.
    pub wall: f64,
    /// Seconds, user and system.
    pub cpu: f64,
    /// The most memory that one process had at a time, in MiB: the "Maximum resident set size" of
    /// `/usr/bin/time -v`.
    pub peak: f64,
}

/// A program and its arguments.
#[derive(Clone)]
pub struct Command(Vec<String>);

impl Command {
    pub fn new<S: Into<String>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter().map(Into::into);
        Self(std::iter::once(program.to_owned()).chain(arguments).collect())
    }

    pub fn flipside(arguments: &[&str]) -> Self {
        let quiet = ["-q", "--progress", "none"];
        Self::new(env!("CARGO_BIN_EXE_flipside"), quiet.iter().chain(arguments).copied())
    }

    pub fn shell(script: &str) -> Self {
        let script =
            format!("set -o pipefail; export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; {script}");
        Self::new("bash", ["-c".to_owned(), script])
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.0[0]);
        command.args(&self.0[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs it to its good end, as the only child of a process of its own.
    pub fn measure(&self) -> Usage {
        let this = std::env::current_exe().unwrap().display().to_string();
        let arguments = std::iter::once(MEASURE.to_owned()).chain(self.0.iter().cloned());
        let text = Self::new(&this, arguments).output();
        let parts: Vec<f64> = text.split_whitespace().map(|part| part.parse().unwrap()).collect();
        Usage { wall: parts[0], cpu: parts[1], peak: parts[2] }
    }

    /// What it prints.
    pub fn output(&self) -> String {
        self.try_output().unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, or why it failed.
    pub fn try_output(&self) -> Result<String, String> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().map_err(|error| format!("{}: {error}", self.0[0]))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{:?}: {}: {}", self.0, output.status, message.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it.
    pub fn spawn(&self) -> std::process::Child {
        self.command().stderr(Stdio::null()).spawn().unwrap()
    }
}

/// Runs the program that the arguments name, and prints wall time and CPU in seconds and the peak
/// memory in MiB. Its own output is dropped.
pub fn measure(arguments: &[String]) {
    let start = Instant::now();
    let mut command = Command(arguments.to_vec()).command();
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let wall = start.elapsed().as_secs_f64();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}: {message}", output.status);
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1_000_000.0;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    println!("{wall} {cpu} {}", usage.max_rss() as f64 / 1024.0);
}

/// One that takes part in a comparison.
pub struct Contestant<'a> {
    pub name: &'a str,
    pub run: Box<dyn Fn() -> Usage + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(name: &'a str, run: impl Fn() -> Usage + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Runs all in turn, once to warm up and then to be counted. The rounds of each contestant.
pub fn in_turn(contestants: &[Contestant<'_>]) -> Vec<Vec<Usage>> {
    let mut rounds: Vec<Vec<Usage>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=runs() {
        for (contestant, rounds) in contestants.iter().zip(&mut rounds) {
            let usage = (contestant.run)();
            if round > 0 {
                rounds.push(usage);
            }
        }
    }
    rounds
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
