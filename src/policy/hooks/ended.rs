// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the end of a hook to what it means.

use std::process::ExitStatus;
use std::time::Duration;

use super::DEFER_STATUS;
use crate::policy::Decision;

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Itself(ExitStatus),
    /// We ended it: it took too long.
    TimedOut,
    /// We ended it: the run was asked to stop.
    Stopped,
    /// It never ran; why.
    NotRun(String),
}

impl Ended {
    /// What it means; `said` is the hook's own reason, or empty.
    pub(super) fn decision(&self, hook: &str, said: &str, timeout: Duration) -> Decision {
        use std::os::unix::process::ExitStatusExt as _;
        let because = |otherwise: String| match said {
            "" => format!("hook {hook} {otherwise}"),
            said => format!("hook {hook}: {said}"),
        };
        match self {
            Self::Itself(status) => match (status.code(), status.signal()) {
                (Some(0), _) => Decision::Allow,
                (Some(DEFER_STATUS), _) => Decision::Defer {
                    code: "hook-deferred",
                    reason: because("defers the update".to_owned()),
                },
                (Some(code), _) => Decision::Block {
                    code: "hook-blocked",
                    reason: because(format!("blocks the update with exit status {code}")),
                },
                (None, signal) => Decision::Block {
                    code: "hook-failed",
                    reason: format!("hook {hook} was ended by signal {}", signal.unwrap_or(0)),
                },
            },
            Self::TimedOut => {
                let limit = jiff::SignedDuration::try_from(timeout).unwrap_or_default();
                Decision::Defer {
                    code: "hook-timeout",
                    reason: format!("hook {hook} did not answer within {limit:#}"),
                }
            }
            Self::Stopped => Decision::Defer {
                code: "stopped",
                reason: format!("hook {hook} was not heard: the run was asked to stop"),
            },
            Self::NotRun(why) => Decision::Block {
                code: "hook-failed",
                reason: format!("hook {hook} cannot be run: {why}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn the_exit_status_decides() {
        let minute = Duration::from_secs(60);
        for (status, said, decision, code, reason) in [
            (0, "fine", "allow", "", ""),
            (75 << 8, "", "defer", "hook-deferred", "hook h defers the update"),
            (75 << 8, "busy", "defer", "hook-deferred", "hook h: busy"),
            (1 << 8, "", "block", "hook-blocked", "hook h blocks the update with exit status 1"),
            (255 << 8, "no", "block", "hook-blocked", "hook h: no"),
            (9, "no", "block", "hook-failed", "hook h was ended by signal 9"),
        ] {
            let ended = Ended::Itself(ExitStatus::from_raw(status));
            let value = serde_json::to_value(ended.decision("h", said, minute)).unwrap();
            assert_eq!(value["decision"], decision);
            assert_eq!(value["code"].as_str().unwrap_or(""), code);
            assert_eq!(value["reason"].as_str().unwrap_or(""), reason);
        }
        let timed_out = Ended::TimedOut.decision("h", "working on it", minute);
        let reason = "hook h did not answer within 1m".to_owned();
        assert_eq!(timed_out, Decision::Defer { code: "hook-timeout", reason });
    }
}
