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
mod discover;
mod ended;
mod lines;
pub(crate) mod process;

pub(crate) use context::environment;
pub use context::{Context, System};
pub use discover::{DIRECTORY, Hook, discover, discover_in};

/// `EX_TEMPFAIL` of `sysexits.h`: the exit status that defers.
pub const DEFER_STATUS: i32 = 75;

/// What one hook said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The hook's file name.
    pub hook: String,
    /// Where it stands.
    pub path: PathBuf,
    /// What it comes to.
    #[serde(flatten)]
    pub decision: Decision,
    /// The last line of its stdout: printable, at most 200 characters; empty
    /// where there was none.
    pub said: String,
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
            return vec![Answer { hook, path: error.path, decision, said: String::new(), took }];
        }
    };
    let mut answers = Vec::new();
    for hook in found {
        if let Some(why) = hook.ignored {
            tracing::warn!("hook {} is not asked: {why}", hook.path.display());
            continue;
        }
        let answer = ask_one(root, &hook, hooks.timeout, context, stop);
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
        path: root.directory().to_owned(),
        decision: Decision::Defer { code: "hook-nested", reason },
        said: String::new(),
        took: Duration::ZERO,
    }
}

/// What all answers come to: the first that does not allow.
pub fn decide(answers: &[Answer]) -> Decision {
    let first = answers.iter().find(|answer| !answer.decision.is_allow());
    first.map_or(Decision::Allow, |answer| answer.decision.clone())
}

fn ask_one(root: &Root, hook: &Hook, timeout: Duration, context: &Context, stop: &Stop) -> Answer {
    tracing::debug!("asking hook {}", hook.path.display());
    let begun = std::time::Instant::now();
    let program = process::Program {
        kind: "hook",
        path: &hook.path,
        directory: root.directory(),
        environment: &context.environment(root),
        input: &context.document(),
    };
    let (ended, said) = program.run(timeout, stop);
    Answer {
        hook: hook.name.clone(),
        path: hook.path.clone(),
        decision: ended.decision(&hook.name, &said, timeout),
        said,
        took: begun.elapsed(),
    }
}
