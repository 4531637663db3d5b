// SPDX-License-Identifier: MIT OR Apache-2.0

//! Health checks: programs on the host that say after a boot whether it is well. Required ones
//! decide over a trial, wanted ones only warn. `docs/configuration.md` is their contract.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::overlay::Unusable;
use crate::error::Error;
use crate::hooks::{self, Hook};
use flipside_core::cancel::Cancel;
use flipside_core::host::{Root, Slot};
use flipside_image::Digest;

mod multi_user;

pub use multi_user::multi_user;

/// What a check's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// The boot is no success.
    Required,
    /// A warning.
    Wanted,
}

impl Importance {
    /// Both, in the order in which they are asked.
    pub const BOTH: [Self; 2] = [Self::Required, Self::Wanted];

    /// In the name of their directory, and in `FLIPSIDE_HEALTH`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Wanted => "wanted",
        }
    }

    /// Where such checks are, below `/etc` and `/usr/lib`.
    pub fn directory(self) -> String {
        format!("flipside/health.d/{}", self.name())
    }
}

/// What a check is told, as `FLIPSIDE_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The slot that runs.
    pub slot: Slot,
    /// Its version, where known.
    pub version: Option<String>,
    /// Its image's digest, where known.
    pub digest: Option<Digest>,
    /// Whether what runs has yet to prove itself.
    pub is_trial: bool,
}

/// What a check said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The check's file name.
    pub check: String,
    /// What its failure means.
    pub importance: Importance,
    /// Where it stands; nowhere where it is built in.
    pub path: Option<PathBuf>,
    /// Why it failed, in a sentence; `None` where it did not.
    pub failure: Option<String>,
    /// The last line of its stdout: printable, at most 200 characters.
    pub said: String,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "hooks::milliseconds")]
    pub took: Duration,
}

/// The checks of this host, in the order in which they are asked.
///
/// # Errors
/// A directory that cannot be read or that others can change, or a link that leads nowhere.
pub fn discover(root: &Root, importance: Importance) -> Result<Vec<Hook>, Unusable> {
    hooks::discover_in(root, &importance.directory())
}

/// Asks the checks of one importance, each for up to `timeout`. `until_failure` leaves out what
/// comes behind the first that fails.
///
/// # Errors
/// [`Error`]: nothing is known then.
pub fn ask(
    root: &Root,
    importance: Importance,
    context: &Context,
    timeout: Duration,
    until_failure: bool,
    stop: &Cancel,
) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::new();
    for check in discover(root, importance)? {
        if let Some(why) = check.ignored {
            tracing::debug!("health check {} is not asked: {why}", check.path.display());
            continue;
        }
        let answer = match &check.fault {
            Some(why) => unasked(&check, importance, why),
            None => ask_one(root, &check, importance, context, timeout, stop),
        };
        // A check that was ended with the service has not failed.
        stop.check()?;
        let has_failed = answer.failure.is_some();
        answers.push(answer);
        if has_failed && until_failure {
            break;
        }
    }
    Ok(answers)
}

/// A check that cannot be asked has failed: what it watches over is not known to be well.
fn unasked(check: &Hook, importance: Importance, why: &str) -> Answer {
    Answer {
        check: check.name.clone(),
        importance,
        path: Some(check.path.clone()),
        failure: Some(format!("cannot be run: {why}")),
        said: String::new(),
        took: Duration::ZERO,
    }
}

fn ask_one(
    root: &Root,
    check: &Hook,
    importance: Importance,
    context: &Context,
    timeout: Duration,
    stop: &Cancel,
) -> Answer {
    let begun = Instant::now();
    let environment = context.environment(root, importance);
    let program = hooks::Program {
        kind: "health check",
        name: &check.name,
        path: &check.path,
        arguments: Vec::new(),
        directory: root.directory(),
        environment: &environment,
        input: b"",
        sandbox: hooks::Sandbox::Closed,
        body: None,
    };
    let (ended, said) = hooks::run(&program, timeout, stop);
    Answer {
        check: check.name.clone(),
        importance,
        path: Some(check.path.clone()),
        failure: ended.failure(&said, timeout),
        said,
        took: begun.elapsed(),
    }
}

impl Context {
    fn environment(&self, root: &Root, importance: Importance) -> Vec<(&'static str, String)> {
        let digest = self.digest.map(|digest| digest.to_string()).unwrap_or_default();
        let own = [
            ("FLIPSIDE_HEALTH", importance.name().to_owned()),
            ("FLIPSIDE_TRIAL", if self.is_trial { "1" } else { "0" }.to_owned()),
            ("FLIPSIDE_RUNNING_SLOT", self.slot.letter().to_string()),
            ("FLIPSIDE_RUNNING_VERSION", self.version.clone().unwrap_or_default()),
            ("FLIPSIDE_RUNNING_DIGEST", digest),
        ];
        hooks::environment(root, own)
    }
}
