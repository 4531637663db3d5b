// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hooks: programs on the host that answer allow, defer or block before an
//! upgrade. `docs/hooks.md` is their contract.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use flipside_core::refusal::Verdict;

mod ask;
mod context;
mod converse;
mod dialogue;
mod discover;
mod ended;
mod exec;
mod executable;
mod interpreter;
mod lines;
mod podman;
mod process;
mod program;
mod promoted;
mod runner;
#[cfg(feature = "dbus")]
mod sandbox;
#[cfg(feature = "dbus")]
mod unit;

pub use ask::{Asking, ask, nested};
pub(crate) use context::environment;
pub use context::{Context, System};
pub use discover::{DIRECTORY, Hook, discover, discover_in, masked};
pub(crate) use exec::from_stdin;
pub use executable::{Blank, Executable};
pub use podman::Container;
pub(crate) use process::run;
pub(crate) use program::{Program, Sandbox};
pub use promoted::{PROMOTED_DIRECTORY, Promoted, tell};
pub use runner::RanAs;

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
    /// The new image's own.
    Image,
    /// A program on the host.
    Host,
    /// A container image.
    Container,
}

/// A hook that would be asked, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Its name.
    pub hook: String,
    /// Whose it is.
    pub kind: Kind,
    /// Where it stands; nowhere where it is an image's.
    pub path: Option<PathBuf>,
    /// Why it would not be asked, where it would not.
    pub ignored: Option<&'static str>,
    /// Why it cannot be asked and so blocks the update, where that is so.
    pub fault: Option<String>,
    /// As what it would run, unless systemd refuses to start a unit.
    pub runs_as: RanAs,
}

/// What one hook said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The hook's file name.
    pub hook: String,
    /// Whose it is.
    pub kind: Kind,
    /// Where it stands; nowhere where it is an image's.
    pub path: Option<PathBuf>,
    /// What it comes to.
    #[serde(flatten)]
    pub verdict: Verdict,
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

/// What all answers come to: the first that does not allow.
pub fn decide(answers: &[Answer]) -> Verdict {
    let first = answers.iter().find(|answer| !answer.verdict.is_allow());
    first.map_or(Verdict::Allow, |answer| answer.verdict.clone())
}
