// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much memory the real program takes at its peak.
//!
//! `getrusage` tells that of the largest of all children, and a child begins as large as who starts
//! it. So this test program starts itself once more, to run one test that does nothing but start the
//! program and look.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use super::program_host::ProgramHost;

/// The arguments of the program, as a JSON list, and the file that takes the result.
const ARGUMENTS: &str = "FLIPSIDE_TEST_MEASURED";
const RESULT: &str = "FLIPSIDE_TEST_MEASURED_TO";

/// A run of the program.
pub struct Run {
    /// The most memory that it had at a time.
    pub peak_kib: u64,
    /// The code of its refusal; empty where it refused nothing.
    pub code: String,
    /// Everything that it said.
    pub text: String,
}

/// Runs the program on `host` with these arguments. `test` is the path of the test that calls
/// [`run_if_asked`].
pub fn run(host: &ProgramHost, test: &str, arguments: &[&str]) -> Run {
    let result = host.file("measured.json");
    let root = host.0.path();
    let all: Vec<&str> =
        ["--quiet", "--root", root.to_str().unwrap()].iter().chain(arguments).copied().collect();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--test-threads=1"])
        .env(ARGUMENTS, json!(all).to_string())
        .env(RESULT, &result)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let found: Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
    let text = found["text"].as_str().unwrap().to_owned();
    let code = text.trim_end().rsplit_once(" [").and_then(|(_, code)| code.strip_suffix(']'));
    Run {
        peak_kib: found["peak_kib"].as_u64().unwrap(),
        code: code.unwrap_or_default().to_owned(),
        text,
    }
}

/// In the process that [`run`] starts: runs the program and notes what it took.
pub fn run_if_asked() {
    let Some(arguments) = std::env::var_os(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(arguments.to_str().unwrap()).unwrap();
    let mut command = Command::new(OsStr::new(env!("CARGO_BIN_EXE_flipside")));
    command.args(arguments).env_remove(ARGUMENTS).env_remove(RESULT);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let result = json!({"peak_kib": peak_of_children(), "text": String::from_utf8_lossy(&text)});
    std::fs::write(std::env::var_os(RESULT).unwrap(), result.to_string()).unwrap();
}

/// The most memory that any child had which has ended, in KiB (getrusage(2), `ru_maxrss`).
fn peak_of_children() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    usage.max_rss().try_into().unwrap()
}
