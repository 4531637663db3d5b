// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Barrier`]: which release stands in between that every host passes through. It never
//! refuses: the route ends there.

use super::{because, shown};
use crate::rules::{Rule, RuleResult, Verdict};
use flipside_image::document::Release;

/// `last`: as far as the host may go.
pub(super) fn judge(target: &Release, last: &Release) -> RuleResult {
    let (target, version) = (shown(&target.version), shown(&last.version));
    let observed = match &last.barrier {
        Some(reason) if target != version => {
            format!("{version} comes before {target}: {}", because(reason))
        }
        _ => format!("none before {target}"),
    };
    RuleResult::new(Rule::Barrier, observed, Verdict::Allow)
}
