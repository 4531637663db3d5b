// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host in a directory that the real program updates, and that has to be the same after
//! an update was refused.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::documents;
use super::host::TestHost;
use super::images::ImageBuilder;

/// Runs version 1 from slot A, promoted; follows a tag that has 2.
pub struct ProgramHost(pub TestHost);

/// Where everything of a host is that has to survive, besides `disk.img`.
const KEPT: [&str; 3] = ["efi", "sys/firmware/efi/efivars", "var"];

impl ProgramHost {
    pub fn new() -> Self {
        let host = TestHost::running(&ImageBuilder::new("1"));
        host.publish(&ImageBuilder::new("2"));
        Self(host)
    }

    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.file(name)
    }

    /// Writes a file of the host, making its directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Follows `image`, with further lines of settings.
    pub fn follow(&self, image: &str, more: &str) {
        let text = format!("[track]\nimage = {image:?}\n{more}\n");
        self.write("etc/flipside/flipside.toml", text);
    }

    /// Adds settings.
    pub fn set(&self, lines: &str) {
        self.write("etc/flipside/flipside.toml.d/50-test.toml", lines);
    }

    pub fn program<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        documents::output(&mut self.command(arguments))
    }

    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        // Quiet: what is left on stderr is the refusal.
        command.arg("--quiet").arg("--root").arg(self.0.path()).args(arguments);
        command
    }

    /// `update` ends with this status and code, the code stands in the status document, and the
    /// host's disk, ESP, variables and state are what they were. Returns the sentence.
    pub fn refuses(&self, status: i32, code: &str) -> String {
        self.refuses_in(&mut self.command(["update"]), status, code)
    }

    /// The same for a command that comes to `update`.
    pub fn refuses_in(&self, command: &mut Command, status: i32, code: &str) -> String {
        let before = self.snapshot();
        let sentence = refusal(&documents::output(command), status, code);
        assert_eq!(self.codes_in_status(), [code], "{sentence}");
        self.assert_unchanged_since(&before, code);
        sentence
    }

    /// The codes in `status --json`: of what blocks, the last error, and why the running slot
    /// cannot be told.
    pub fn codes_in_status(&self) -> Vec<String> {
        let output = self.program(["status", "--json"]);
        assert!(output.status.success(), "{output:?}");
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let places = ["/blocked", "/last_error", "/last_command", "/running/problem"];
        let found = places.iter().filter_map(|place| status.pointer(&format!("{place}/code")));
        let mut codes: Vec<String> = found.map(|code| code.as_str().unwrap().to_owned()).collect();
        codes.dedup();
        codes
    }

    /// `update` does nothing, and says so.
    pub fn has_nothing_to_do(&self) {
        let before = self.snapshot();
        let output = self.program(["update"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.starts_with("nothing to do: "), "{output:?}");
        assert_eq!(self.codes_in_status(), [""; 0]);
        self.assert_unchanged_since(&before, "nothing to do");
    }

    /// The host boots what it booted before.
    pub fn boots_as_before(&self) {
        assert_eq!(self.boot(), "booted slot A: 1 (promoted)");
    }

    /// What `sim boot` says at its end.
    pub fn boot(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        let output = documents::output(command.args(["sim", "boot"]).arg(self.0.path()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().last().unwrap_or_else(|| panic!("{output:?}")).to_owned()
    }

    /// `update` arms slot B with 2: nothing is wrong with this host.
    pub fn updates(&self) {
        let output = self.program(["update"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = "2 is installed in slot B and boots once at the next reboot\n";
        assert!(output.status.success() && text == expected, "{output:?}");
    }

    /// Runs `script` with a mount namespace of its own, in which any user may mount, and
    /// `flipside update` at its end. `None`, with a message, where the kernel allows none.
    pub fn update_with_mounts(&self, script: &str) -> Option<Command> {
        self.with_mounts(&format!("{script}; exec \"$2\" -q --root \"$1\" update"))
    }

    /// Runs `script` alone: in this host's directory, `$1`, with the program as `$2`.
    pub fn with_mounts(&self, script: &str) -> Option<Command> {
        let unshare = ["--user", "--map-root-user", "--mount"];
        let probe = Command::new("unshare").args(unshare).arg("true").output();
        if !probe.is_ok_and(|output| output.status.success()) {
            println!("skipped: user namespaces, in which anybody may mount, are not allowed here");
            return None;
        }
        let mut command = Command::new("unshare");
        let script = format!("set -e; cd \"$1\"; {script}");
        command.args(unshare).args(["sh", "-c", &script, "sh"]).arg(self.0.path());
        command.arg(env!("CARGO_BIN_EXE_flipside"));
        Some(command)
    }

    /// Every file that has to survive, with its bytes.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut left: Vec<PathBuf> = KEPT.iter().map(|name| self.file(name)).collect();
        left.push(self.file("disk.img"));
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.exists() {
                files.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
        files
    }

    pub fn assert_unchanged_since(&self, before: &BTreeMap<PathBuf, Vec<u8>>, case: &str) {
        let after = self.snapshot();
        let names = before.keys().chain(after.keys());
        let changed: Vec<_> = names.filter(|name| before.get(*name) != after.get(*name)).collect();
        assert!(changed.is_empty(), "{case}: {changed:?}");
    }
}

/// The one sentence of a refusal with this status and code.
pub fn refusal(output: &Output, status: i32, code: &str) -> String {
    assert_eq!(output.status.code(), Some(status), "{code}: {output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let line = text.strip_prefix("flipside: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.filter(|line| !line.contains('\n'));
    let Some(line) = line else { panic!("{code}: not one line: {text}") };
    let Some((sentence, found)) = line.rsplit_once(" [") else { panic!("no code: {line}") };
    assert_eq!(found, format!("{code}]"), "{line}");
    sentence.to_owned()
}
