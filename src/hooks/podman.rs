// SPDX-License-Identifier: MIT OR Apache-2.0

//! A hook that is a container image, run by this host's podman (podman-run(1)): without network
//! unless it is told, and with the facts of the host to read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::{Context, environment};
use super::ended::Ended;
use super::program::{Limits, Program, Sandbox};
use super::runner::{RanAs, Runner};
use crate::codes;
use crate::config;
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::refusal::Verdict;

/// Where podman is, on the host.
const PLACES: [&str; 3] = ["/usr/local/bin/podman", "/usr/bin/podman", "/bin/podman"];

/// What people call it in a sentence.
const SUBJECT: &str = "the container hook";

/// One name, so that what was left behind gives way to the next.
const NAME: &str = "flipside-hook";

/// As whom it runs, whatever user the image sets: `nobody`, who owns nothing on the host. Without a
/// user namespace a user of the container is the one of the host with the same number.
const USER: &str = "65534:65534";

/// Where it finds the facts of the host.
const HOST: &str = "/run/host";

/// The facts. Not `/sys` as a whole: what is mounted below it (the firmware's variables, control groups)
/// comes along with crun 1.8, and stays writable where only the mount above it is read-only.
const FACTS: [&str; 5] =
    ["/etc/os-release", "/etc/hostname", "/run/flipside/status.json", "/sys/class", "/sys/devices"];

/// How long an image may take to come.
const PULL: Duration = Duration::from_secs(600);

/// What podman itself needs, in bytes of memory.
const OWN_MEMORY: u64 = 256 << 20;

/// The hook, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// `host/repository@sha256:...`.
    pub image: String,
    /// Whether it has the host's network.
    pub network: bool,
    /// Whether its registry is spoken to without TLS.
    pub plain_http: bool,
    /// The file that has credentials for its registry, as this machine calls it.
    pub auth_file: Option<PathBuf>,
    /// Variables that name the proxies to its registry.
    pub proxies: Vec<(&'static str, String)>,
}

/// One questioning of it.
pub(super) struct Podman<'a> {
    pub root: &'a Root,
    pub runner: &'a Runner,
    pub context: &'a Context,
    pub settings: &'a config::Hooks,
    pub stop: &'a Cancel,
}

impl Podman<'_> {
    /// What it says, its reason, and as what it ran.
    pub fn ask(&self, container: &Container) -> (Verdict, String, Option<RanAs>) {
        let refused = |verdict| (verdict, String::new(), None);
        let Some(podman) =
            PLACES.map(|place| self.root.path(place)).into_iter().find(|p| p.exists())
        else {
            let reason = format!("{SUBJECT} cannot be run: this host has no podman");
            return refused(Verdict::block(codes::CONTAINER_HOOK_NO_PODMAN, reason));
        };
        self.remove_left(&podman);
        if let Err(verdict) = self.provide(&podman, container) {
            return refused(verdict);
        }
        let input = self.context.document();
        let arguments = self.arguments(container);
        let (ended, said, ran_as) = self.run(&podman, arguments, &input, *self.settings.timeout);
        let verdict = match podmans_own(&ended) {
            Some(status) => Verdict::block(
                codes::HOOK_FAILED,
                format!("{SUBJECT} cannot be run: podman ends with status {status}: {said}"),
            ),
            None => ended.verdict(SUBJECT, &said, self.settings),
        };
        (verdict, said, Some(ran_as))
    }

    /// What was ended from outside is left, with its name and its hold on the image. Not by `run
    /// --replace`, which names what it replaces among what the hook prints.
    fn remove_left(&self, podman: &Path) {
        let remove = words(&["rm", "--force", "--ignore", "--time=0", NAME]);
        self.run(podman, remove, b"", *self.settings.timeout);
    }

    /// Sees to it that the image is there.
    fn provide(&self, podman: &Path, container: &Container) -> Result<(), Verdict> {
        let image = container.image.as_str();
        let exists = words(&["image", "exists", image]);
        let (ended, ..) = self.run(podman, exists, b"", *self.settings.timeout);
        if ended.is_success() {
            return Ok(());
        }
        self.remove_former(podman, image);
        let mut pull = words(&["pull", "--quiet"]);
        if container.plain_http {
            pull.push("--tls-verify=false".into());
        }
        if let Some(file) = &container.auth_file {
            pull.push(format!("--authfile={}", file.display()).into());
        }
        pull.push(image.into());
        let (ended, said, _) = self.run_in(podman, pull, b"", PULL, container.proxies.clone());
        if ended.is_success() {
            return Ok(());
        }
        let why = ended.failure(&said, PULL).unwrap_or_default();
        let reason = format!("{SUBJECT} cannot be fetched: podman pull {why}");
        Err(Verdict::defer(codes::CONTAINER_HOOK_UNAVAILABLE, reason))
    }

    /// What the tag named before would be kept for ever. Each pull adds one, so one has to go; what a
    /// container runs, podman keeps.
    fn remove_former(&self, podman: &Path, image: &str) {
        let Some((repository, _)) = image.split_once('@') else { return };
        let filter = format!("--filter=reference={repository}");
        let find = words(&["images", "--quiet", "--no-trunc", &filter]);
        let (ended, former, _) = self.run(podman, find, b"", *self.settings.timeout);
        if ended.is_success() && !former.is_empty() {
            self.run(podman, words(&["image", "rm", &former]), b"", *self.settings.timeout);
        }
    }

    fn run(
        &self,
        podman: &Path,
        arguments: Vec<OsString>,
        input: &[u8],
        timeout: Duration,
    ) -> (Ended, String, RanAs) {
        self.run_in(podman, arguments, input, timeout, Vec::new())
    }

    fn run_in(
        &self,
        podman: &Path,
        arguments: Vec<OsString>,
        input: &[u8],
        timeout: Duration,
        variables: Vec<(&'static str, String)>,
    ) -> (Ended, String, RanAs) {
        let program = Program {
            kind: "container hook",
            name: "podman",
            path: podman,
            arguments,
            directory: self.root.directory(),
            environment: &environment(self.root, variables),
            input,
            sandbox: Sandbox::Delegated,
            body: None,
        };
        let memory = self.settings.memory.saturating_add(OWN_MEMORY);
        self.runner.run(&program, &Limits { timeout, memory }, self.stop)
    }

    fn arguments(&self, container: &Container) -> Vec<OsString> {
        let mut all: Vec<OsString> = Vec::new();
        let mut add = |word: String| all.push(word.into());
        for word in ["run", "--rm", "--interactive", "--pull=never", "--read-only"] {
            add(word.to_owned());
        }
        add(format!("--name={NAME}"));
        // What it prints comes to us, and is kept nowhere else.
        add("--log-driver=none".to_owned());
        add(format!("--network={}", if container.network { "host" } else { "none" }));
        add(format!("--user={USER}"));
        add("--cap-drop=all".to_owned());
        add("--security-opt=no-new-privileges".to_owned());
        match self.runner.runs_as() {
            RanAs::Unit => {
                add("--cgroups=split".to_owned());
                add(format!("--memory={}", *self.settings.memory));
                add("--pids-limit=256".to_owned());
            }
            RanAs::ProcessGroup => add("--cgroups=disabled".to_owned()),
        }
        // It does not end with podman where there are no control groups.
        add(format!("--timeout={}", self.settings.timeout.as_secs().saturating_add(1)));
        for (name, value) in self.context.environment(self.root) {
            match name {
                "FLIPSIDE_ROOT" => add(format!("--env={name}={HOST}")),
                name if name.starts_with("FLIPSIDE_") => add(format!("--env={name}={value}")),
                _ => {}
            }
        }
        for fact in FACTS {
            let path = self.root.path(fact);
            if path.exists() {
                let (from, to) = (path.display(), format!("{HOST}{fact}"));
                // Only the mount itself becomes read-only: what may be mounted below it stays out.
                add(format!("--mount=type=bind,src={from},dst={to},ro,bind-nonrecursive"));
            }
        }
        add(container.image.clone());
        all
    }
}

/// Those of this process. Not for the container, which podman would hand them on to.
fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Statuses that are podman's and not the container's (podman-run(1), "Exit Status").
fn podmans_own(ended: &Ended) -> Option<i32> {
    match ended {
        Ended::Itself(status) => status.code().filter(|status| (125..=127).contains(status)),
        _ => None,
    }
}
