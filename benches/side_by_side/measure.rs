// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole processes, measured from outside.

use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often each command is run.
pub fn runs() -> usize {
    std::env::var("FLIPSIDE_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5)
}

/// A program and its arguments.
pub struct Command(Vec<String>);

impl Command {
    pub fn new(program: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self(std::iter::once(program.to_owned()).chain(arguments).collect())
    }

    pub fn shell(script: String) -> Self {
        Self::new("bash", ["-c".to_owned(), format!("set -o pipefail; {script}")])
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.0[0]);
        command.args(&self.0[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs it to its good end; how long that took, in seconds.
    pub fn seconds(&self) -> f64 {
        let start = Instant::now();
        let status = self.command().stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{:?}: {status}", self.0);
        start.elapsed().as_secs_f64()
    }

    /// What it prints.
    pub fn output(&self) -> String {
        let output = self.command().stdout(Stdio::piped()).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {}: {message}", self.0, output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it to the bad end that it is meant to have.
    pub fn run_killed(&self) {
        let status = self.command().stderr(Stdio::null()).status().unwrap();
        assert!(!status.success(), "{:?} was to be killed", self.0);
    }
}

/// The most memory that the process had at a time, in MiB (`VmHWM`, proc(5)).
pub fn peak_memory(command: &Command) -> f64 {
    let mut child = command.command().spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        peak = peak.max(kib / 1024.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Two commands that were run in turn.
pub struct Figure {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// Runs both in turn, once to warm up and then to be counted; `before` each.
pub fn pairs(ours: &Command, theirs: &Command, before: impl Fn()) -> Figure {
    let mut figure = Figure { ours: Vec::new(), theirs: Vec::new() };
    for run in 0..=runs() {
        before();
        let one = ours.seconds();
        before();
        let other = theirs.seconds();
        if run > 0 {
            figure.ours.push(one);
            figure.theirs.push(other);
        }
    }
    figure
}

impl Figure {
    /// Medians, and the median of the ratios of each pair.
    pub fn print(&self, name: &str, target: &str) {
        let ratios = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs);
        let (ours, theirs) = (median(self.ours.clone()), median(self.theirs.clone()));
        let ratio = median(ratios);
        println!("{name:<58} {ours:>7.2} s {theirs:>7.2} s {ratio:>7.3}   {target}");
    }
}
