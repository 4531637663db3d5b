// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the end of a hook to what it means.

use std::process::ExitStatus;
use std::time::Duration;

use super::DEFER_STATUS;
use crate::codes;
use crate::config::{self, OnTimeout};
use flipside_core::refusal::Verdict;

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Itself(ExitStatus),
    /// We ended it: it took too long.
    TimedOut,
    /// We ended it: the run was asked to stop.
    Stopped,
    /// Its memory was all used up, and it was ended.
    #[cfg_attr(not(feature = "dbus"), allow(dead_code))]
    OutOfMemory,
    /// It never ran; why.
    NotRun(String),
}

impl Ended {
    /// Whether it ended by itself, and well.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Itself(status) if status.success())
    }

    /// Why a health check that ended so has failed, to stand behind its name; `None` where it has
    /// not. `said` is the check's own reason, or empty.
    pub(crate) fn failure(&self, said: &str, timeout: Duration) -> Option<String> {
        use std::os::unix::process::ExitStatusExt as _;
        let limit = || jiff::SignedDuration::try_from(timeout).unwrap_or_default();
        Some(match self {
            Self::Itself(status) if status.success() => return None,
            Self::Itself(status) => match (status.code(), said) {
                (Some(code), "") => format!("failed with exit status {code}"),
                (Some(_), said) => format!("failed: {said}"),
                (None, _) => format!("was ended by signal {}", status.signal().unwrap_or(0)),
            },
            Self::OutOfMemory => "was ended: it used up the memory that it may have".to_owned(),
            Self::TimedOut => format!("did not end within {:#}", limit()),
            Self::Stopped => "was ended: the run was asked to stop".to_owned(),
            Self::NotRun(why) => format!("cannot be run: {why}"),
        })
    }

    /// What it means; `subject` is who is asked, such as `hook 10-check`, `said` its own reason,
    /// or empty.
    pub(super) fn verdict(&self, subject: &str, said: &str, settings: &config::Hooks) -> Verdict {
        use std::os::unix::process::ExitStatusExt as _;
        let because = |otherwise: String| match said {
            "" => format!("{subject} {otherwise}"),
            said => format!("{subject}: {said}"),
        };
        match self {
            Self::Itself(status) => match (status.code(), status.signal()) {
                (Some(0), _) => Verdict::Allow,
                (Some(DEFER_STATUS), _) => {
                    Verdict::defer(codes::HOOK_DEFERRED, because("defers the update".to_owned()))
                }
                (Some(code), _) => Verdict::block(
                    codes::HOOK_BLOCKED,
                    because(format!("blocks the update with exit status {code}")),
                ),
                (None, signal) => Verdict::block(
                    codes::HOOK_FAILED,
                    format!("{subject} was ended by signal {}", signal.unwrap_or(0)),
                ),
            },
            Self::TimedOut => {
                let limit = jiff::SignedDuration::try_from(*settings.timeout).unwrap_or_default();
                let reason = format!("{subject} did not answer within {limit:#}");
                match settings.on_timeout {
                    OnTimeout::Defer => Verdict::defer(codes::HOOK_TIMEOUT, reason),
                    OnTimeout::Block => Verdict::block(codes::HOOK_TIMEOUT, reason),
                }
            }
            Self::OutOfMemory => Verdict::block(
                codes::HOOK_FAILED,
                format!("{subject} was ended: it used up policy.hooks.memory"),
            ),
            Self::Stopped => Verdict::defer(
                codes::STOPPED,
                format!("{subject} was not heard: the run was asked to stop"),
            ),
            Self::NotRun(why) => {
                Verdict::block(codes::HOOK_FAILED, format!("{subject} cannot be run: {why}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn the_exit_status_decides() {
        let mut settings = config::Hooks::default();
        for (status, said, decision, code, reason) in [
            (0, "fine", "allow", "", ""),
            (75 << 8, "", "defer", "hook-deferred", "hook h defers the update"),
            (75 << 8, "busy", "defer", "hook-deferred", "hook h: busy"),
            (1 << 8, "", "block", "hook-blocked", "hook h blocks the update with exit status 1"),
            (255 << 8, "no", "block", "hook-blocked", "hook h: no"),
            (9, "no", "block", "hook-failed", "hook h was ended by signal 9"),
        ] {
            let ended = Ended::Itself(ExitStatus::from_raw(status));
            let value = serde_json::to_value(ended.verdict("hook h", said, &settings)).unwrap();
            assert_eq!(value["decision"], decision);
            assert_eq!(value["code"].as_str().unwrap_or(""), code);
            assert_eq!(value["reason"].as_str().unwrap_or(""), reason);
        }
        let (code, reason) = (codes::HOOK_TIMEOUT, "hook h did not answer within 1m".to_owned());
        for (on_timeout, expected) in [
            (OnTimeout::Defer, Verdict::defer(code, reason.clone())),
            (OnTimeout::Block, Verdict::block(code, reason.clone())),
        ] {
            settings.on_timeout = on_timeout;
            assert_eq!(Ended::TimedOut.verdict("hook h", "working on it", &settings), expected);
        }
    }
}
