// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::DeadEnd`]: what runs may be left automatically.

use super::{because, shown};
use crate::codes;
use crate::rules::{Rule, RuleResult, Verdict};
use flipside_image::document::Release;

/// `running`: the version that runs; `here`: its release, where it is listed.
pub(super) fn judge(running: &str, here: Option<&Release>) -> RuleResult {
    let running = shown(running);
    let Some(here) = here else {
        let observed = format!("{running} runs, which is not listed");
        return RuleResult::new(Rule::DeadEnd, observed, Verdict::Allow);
    };
    let Some(reason) = &here.dead_end else {
        return RuleResult::new(Rule::DeadEnd, format!("{running} is none"), Verdict::Allow);
    };
    let reason = format!("{running} is a dead end: {}", because(reason));
    let verdict = Verdict::block(codes::DEAD_END, reason);
    RuleResult::new(Rule::DeadEnd, format!("{running} is a dead end"), verdict)
}
