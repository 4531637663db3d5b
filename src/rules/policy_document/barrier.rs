// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Barrier`]: which release stands in between that every host passes through. It never
//! refuses: the route ends there.

use super::{because, shown};
use crate::rules::{Rule, Ruling, Verdict};
use flipside_image::document::Release;

/// `last`: as far as the host may go.
pub(super) fn judge(goal: &Release, last: &Release) -> Ruling {
    let (goal, version) = (shown(&goal.version), shown(&last.version));
    let observed = match &last.barrier {
        Some(reason) if goal != version => {
            format!("{version} comes before {goal}: {}", because(reason))
        }
        _ => format!("none before {goal}"),
    };
    Ruling::new(Rule::Barrier, observed, Verdict::Allow)
}
