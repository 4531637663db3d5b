// SPDX-License-Identifier: MIT OR Apache-2.0

//! The check of hosts that have none of their own: `multi-user.target` was reached.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Answer, Importance};
use flipside_core::host::Root;

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks systemd. A host in a directory has no systemd, and passes.
pub fn multi_user(root: &Root) -> Answer {
    let begun = Instant::now();
    let failure = match root.is_live() {
        true => failure(),
        false => None,
    };
    Answer {
        check: "multi-user.target".to_owned(),
        importance: Importance::Required,
        path: None,
        failure,
        said: String::new(),
        took: begun.elapsed(),
    }
}

fn failure() -> Option<String> {
    let mut command = Command::new("systemctl");
    command.args(["is-active", "--quiet", "multi-user.target"]).stdin(Stdio::null());
    match flipside_core::host::power::within(PATIENCE, move || command.status()) {
        Some(Ok(status)) if status.success() => None,
        Some(Ok(_)) => Some("multi-user.target was not reached".to_owned()),
        Some(Err(error)) => Some(format!("systemctl cannot be run: {error}")),
        None => Some("systemd did not say whether multi-user.target was reached".to_owned()),
    }
}
