// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host in a directory with hooks of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use flipside::config::form::TimeLimit;
use flipside::config::{self, Initiative};
use flipside::hooks::{Answer, Context, DIRECTORY, System, ask};
use flipside_core::cancel::Cancel;
use flipside_core::host::{Root, Slot};
use flipside_core::refusal::Verdict;
use flipside_image::Digest;
use flipside_image::code::Code;

use super::documents;
use super::program_host::ProgramHost;

pub struct HookHost {
    pub directory: tempfile::TempDir,
    pub root: Root,
}

impl HookHost {
    pub fn new(hooks: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        std::fs::create_dir_all(root.path("etc").join(DIRECTORY)).unwrap();
        let host = Self { directory, root };
        for (name, script) in hooks {
            host.put(name, script.as_bytes());
        }
        host
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.root.path("etc").join(DIRECTORY).join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn ask_within(&self, timeout: Duration) -> Vec<Answer> {
        let hooks = config::Hooks { timeout: TimeLimit(timeout), ..config::Hooks::default() };
        ask(&self.root, &hooks, &context(), &Cancel::new())
    }

    pub fn ask(&self) -> Vec<Answer> {
        self.ask_within(Duration::from_secs(20))
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

/// Gives `host` one hook, `h`.
pub fn put_hook(host: &ProgramHost, script: &str) {
    let name = "etc/flipside/hooks/pre-upgrade.d/h";
    host.write(name, format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(host.file(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `hooks run` says of a hook that does `script` and then defers, and how much memory the
/// program had needed by then, in KiB.
pub fn peak_of_asking(host: &ProgramHost, script: &str) -> (serde_json::Value, u64) {
    let look =
        "grep VmHWM: \"/proc/$(cat \"$FLIPSIDE_ROOT/pid\")/status\" > \"$FLIPSIDE_ROOT/peak\"";
    put_hook(host, &format!("{script}\n{look}\necho\necho done\nexit 75"));
    let start = "echo $$ > \"$1/pid\"; exec \"$0\" -q --root \"$1\" hooks run --json";
    let mut command = Command::new("sh");
    command.args(["-c", start, env!("CARGO_BIN_EXE_flipside")]).arg(host.0.path());
    let output = command.output().unwrap();
    let peak = std::fs::read_to_string(host.file("peak")).unwrap();
    let peak = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap();
    documents::check("hooks-run", &said);
    (said, peak)
}

pub fn context() -> Context {
    Context {
        image: "registry.example.com/acme/edge:stable".into(),
        initiative: Initiative::Manual,
        running: System { slot: Slot::A, version: Some("1.0".into()), digest: None },
        new: System {
            slot: Slot::B,
            version: Some("2.0".into()),
            digest: Some(Digest::of(b"new")),
        },
    }
}

pub fn block(code: &str, reason: &str) -> Verdict {
    Verdict::block(named(code), reason)
}

pub fn defer(code: &str, reason: &str) -> Verdict {
    Verdict::defer(named(code), reason)
}

fn named(code: &str) -> Code {
    let all = flipside::codes::tables();
    *all.iter().find(|known| known.name() == code).unwrap()
}
