// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hooks: programs on the host that answer allow, defer or block before an
//! upgrade. `docs/hooks.md` is their contract.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Decision;
use crate::config;
use crate::host::Root;
use crate::stop::Stop;

mod context;
mod dialogue;
mod discover;
mod ended;
mod exec;
mod lines;
mod process;
mod program;
mod run;
mod runner;
#[cfg(feature = "dbus")]
mod sandbox;
#[cfg(feature = "dbus")]
mod unit;

pub(crate) use context::environment;
pub use context::{Context, System};
pub use discover::{DIRECTORY, Hook, discover, discover_in};
use program::Limits;
pub(crate) use program::{Program, Sandbox};
pub(crate) use run::run;
pub use runner::RanAs;
use runner::Runner;

/// `EX_TEMPFAIL` of `sysexits.h`: the exit status that defers.
pub const DEFER_STATUS: i32 = 75;

/// How long a program may take to end itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How long a wish to stop may go unheard.
const TICK: Duration = Duration::from_millis(100);

/// Whose hook it is, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A program on the host.
    Host,
}

/// A hook that would be asked, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Its name.
    pub hook: String,
    /// Whose it is.
    pub kind: Kind,
    /// Where it stands.
    pub path: PathBuf,
    /// Why it would not be asked, where it would not.
    pub ignored: Option<&'static str>,
    /// As what it would run, unless systemd refuses to start a unit.
    pub runs_as: RanAs,
}

/// What would be asked, in order, if each allowed. Runs nothing.
///
/// # Errors
/// As [`discover`].
pub fn plan(root: &Root) -> Result<Vec<Planned>, crate::overlay::Unreadable> {
    let runs_as = Runner::of(root).runs_as();
    let planned = |hook: Hook| Planned {
        hook: hook.name,
        kind: Kind::Host,
        path: hook.path,
        ignored: hook.ignored,
        runs_as,
    };
    Ok(discover(root)?.into_iter().map(planned).collect())
}

/// What one hook said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The hook's file name.
    pub hook: String,
    /// Whose it is.
    pub kind: Kind,
    /// Where it stands.
    pub path: PathBuf,
    /// What it comes to.
    #[serde(flatten)]
    pub decision: Decision,
    /// The last line of its stdout: printable, at most 200 characters; empty
    /// where there was none.
    pub said: String,
    /// As what it ran; `None` where it did not.
    pub ran_as: Option<RanAs>,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub took: Duration,
}

pub(crate) fn milliseconds<S: serde::Serializer>(
    took: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// Asks the hooks of this host in lexical order until one does not allow. What
/// keeps a hook from answering is an answer too: nothing goes on in doubt.
/// Blocks for up to the time-out per hook.
pub fn ask(root: &Root, hooks: &config::Hooks, context: &Context, stop: &Stop) -> Vec<Answer> {
    if std::env::var_os("FLIPSIDE_HOOK").is_some() {
        return vec![nested(root)];
    }
    let found = match discover(root) {
        Ok(found) => found,
        Err(error) => {
            let reason = format!("{error}: {}", error.source);
            let decision = Decision::Block { code: "hook-failed", reason };
            let hook = DIRECTORY.to_owned();
            let took = Duration::ZERO;
            let (kind, said, ran_as) = (Kind::Host, String::new(), None);
            return vec![Answer { hook, kind, path: error.path, decision, said, ran_as, took }];
        }
    };
    if found.is_empty() {
        return Vec::new();
    }
    let runner = Runner::of(root);
    let mut answers = Vec::new();
    for hook in found {
        if let Some(why) = hook.ignored {
            tracing::warn!("hook {} is not asked: {why}", hook.path.display());
            continue;
        }
        let answer = ask_one(root, &runner, &hook, hooks, context, stop);
        let goes_on = answer.decision.is_allow();
        answers.push(answer);
        if !goes_on {
            break;
        }
    }
    answers
}

/// A hook that starts an update of its own would be asked about that one too, and start another.
fn nested(root: &Root) -> Answer {
    let reason = "hooks are not asked by what a hook started".to_owned();
    Answer {
        hook: DIRECTORY.to_owned(),
        kind: Kind::Host,
        path: root.directory().to_owned(),
        decision: Decision::Defer { code: "hook-nested", reason },
        said: String::new(),
        ran_as: None,
        took: Duration::ZERO,
    }
}

/// What all answers come to: the first that does not allow.
pub fn decide(answers: &[Answer]) -> Decision {
    let first = answers.iter().find(|answer| !answer.decision.is_allow());
    first.map_or(Decision::Allow, |answer| answer.decision.clone())
}

fn ask_one(
    root: &Root,
    runner: &Runner,
    hook: &Hook,
    settings: &config::Hooks,
    context: &Context,
    stop: &Stop,
) -> Answer {
    tracing::debug!("asking hook {}", hook.path.display());
    let begun = std::time::Instant::now();
    let program = Program {
        kind: "hook",
        name: &hook.name,
        path: &hook.path,
        arguments: Vec::new(),
        directory: root.directory(),
        environment: &context.environment(root),
        input: &context.document(),
        sandbox: Sandbox::Closed,
    };
    let limits = Limits { timeout: settings.timeout, memory: settings.memory };
    let (ended, said, ran_as) = runner.run(&program, &limits, stop);
    Answer {
        hook: hook.name.clone(),
        kind: Kind::Host,
        path: hook.path.clone(),
        decision: ended.decision(&hook.name, &said, settings.timeout),
        said,
        ran_as: Some(ran_as),
        took: begun.elapsed(),
    }
}
