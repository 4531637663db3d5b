// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that are told after a promote. They decide nothing any more: where one fails, that is
//! a warning.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::{System, environment};
use super::discover::discover_in;
use super::program::{Limits, Program, Sandbox};
use super::runner::Runner;
use crate::config;
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_image::code::sentence;

/// Where they are, below `/etc` and `/usr/lib`.
pub const PROMOTED_DIRECTORY: &str = "flipside/hooks/post-promote.d";

/// Their name in the document and in `FLIPSIDE_HOOK`.
const KIND: &str = "post-promote";

/// For all of them together: whoever waits for the boot does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// What they are told. JSON on stdin, and as `FLIPSIDE_*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promoted {
    /// What is followed, as configured.
    pub image: String,
    /// What runs, and was promoted.
    pub running: System,
    /// What the other slot holds.
    pub other: System,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    hook: &'static str,
    #[serde(flatten)]
    promoted: &'a Promoted,
}

/// Tells all of them, one after the other. Blocks for up to the time-out for each, and for two
/// minutes for all of them.
pub fn tell(root: &Root, settings: &config::Hooks, promoted: &Promoted, stop: &Cancel) {
    let found = match discover_in(root, PROMOTED_DIRECTORY) {
        Ok(found) => found,
        Err(error) => return tracing::warn!("no hook is told: {}", sentence(&error)),
    };
    if found.is_empty() || super::nested().is_some() {
        return;
    }
    let document = Document { version: 1, hook: KIND, promoted };
    // Strings, numbers and structs always serialize.
    let mut input = serde_json::to_vec(&document).unwrap_or_default();
    input.push(b'\n');
    let (runner, begun) = (Runner::of(root), Instant::now());
    for hook in found {
        if let Some(why) = hook.ignored {
            tracing::debug!("hook {} is not told: {why}", hook.path.display());
            continue;
        }
        if let Some(why) = hook.fault {
            tracing::warn!("hook {} is not told: {why}", hook.path.display());
            continue;
        }
        let left = PATIENCE.saturating_sub(begun.elapsed());
        if left.is_zero() || stop.is_requested() {
            tracing::warn!("hook {} is not told: no time is left", hook.path.display());
            continue;
        }
        let program = Program {
            kind: "hook",
            name: &hook.name,
            path: &hook.path,
            arguments: Vec::new(),
            directory: root.directory(),
            environment: &promoted.environment(root),
            input: &input,
            sandbox: Sandbox::Closed,
            body: None,
        };
        let limits = Limits { timeout: settings.timeout.min(left), memory: *settings.memory };
        let (ended, said, _) = runner.run(&program, &limits, stop);
        if let Some(why) = ended.failure(&said, limits.timeout) {
            tracing::warn!(flipside_hook = hook.name.as_str(), "hook {} {why}", hook.name);
        }
    }
}

impl Promoted {
    fn environment(&self, root: &Root) -> Vec<(&'static str, String)> {
        let version = |system: &System| system.version.clone().unwrap_or_default();
        let digest = |system: &System| system.digest.map(|d| d.to_string()).unwrap_or_default();
        let own = [
            ("FLIPSIDE_HOOK", KIND.to_owned()),
            ("FLIPSIDE_IMAGE", self.image.clone()),
            ("FLIPSIDE_RUNNING_SLOT", self.running.slot.letter().to_string()),
            ("FLIPSIDE_RUNNING_VERSION", version(&self.running)),
            ("FLIPSIDE_RUNNING_DIGEST", digest(&self.running)),
            ("FLIPSIDE_OTHER_SLOT", self.other.slot.letter().to_string()),
            ("FLIPSIDE_OTHER_VERSION", version(&self.other)),
            ("FLIPSIDE_OTHER_DIGEST", digest(&self.other)),
        ];
        environment(root, own)
    }
}
