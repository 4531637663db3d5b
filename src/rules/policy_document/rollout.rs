// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Rollout`]: the rollout has reached this host.

use jiff::Timestamp;

use super::shown;
use crate::codes;
use crate::rules::{Means, Rule, RuleResult, Verdict};
use crate::system::MachineId;
use flipside_image::document::Release;
use flipside_image::rollout::{APPLICATION, Place};

/// Where this host's place in rollouts comes from.
pub(in crate::rules) fn place(means: &Means<'_>) -> Place {
    match (means.config.policy.wariness, MachineId::read(means.root)) {
        (Some(wariness), _) => Place::Set(wariness),
        (None, _) if !MachineId::lasts(means.root) => Place::Passing,
        (None, Some(id)) => Place::Hashed(id.app_specific(APPLICATION)),
        (None, None) => Place::Unknown,
    }
}

/// Whether a host at `place` may take `release` by now.
pub(super) fn is_reached(place: &Place, now: Timestamp, release: &Release) -> bool {
    let wariness = place.wariness(&release.version);
    release.rollout.is_none_or(|rollout| rollout.reaches(wariness, now))
}

/// What the rule says of a host at `place`. `newest`: what the host would take were it its turn; `step`: what it may take.
pub(super) fn judge(
    place: &Place,
    now: Timestamp,
    newest: &Release,
    step: Option<&Release>,
) -> RuleResult {
    let version = shown(&newest.version);
    let Some(rollout) = newest.rollout else {
        let observed = format!("{version} is for every host");
        return RuleResult::new(Rule::Rollout, observed, Verdict::Allow);
    };
    let wariness = place.wariness(&newest.version);
    let share = rollout.threshold(now).map_or_else(
        || "its rollout has not begun".to_owned(),
        |threshold| format!("its rollout is at {threshold:.3}"),
    );
    let of = match place {
        Place::Set(_) => "as policy.wariness says",
        Place::Hashed(_) => "by its machine ID",
        Place::Unknown => "for want of a machine ID",
        Place::Passing => "as its machine ID does not last",
    };
    let instead = match step {
        Some(step) if step.digest != newest.digest => {
            format!("; {} is taken meanwhile", shown(&step.version))
        }
        _ => String::new(),
    };
    let observed = format!(
        "{version}: {share}, this host's wariness is {:.3} {of}{instead}",
        wariness.share()
    );
    let verdict = match step {
        Some(_) => Verdict::Allow,
        None => {
            let turn = rollout.turn(wariness).map_or_else(
                || "never".to_owned(),
                |turn| format!("at {}", turn.strftime("%Y-%m-%d %H:%M UTC")),
            );
            match place {
                Place::Passing => {
                    let reason = format!(
                        "the rollout of {version} reaches this host last, {turn}: its machine ID \
                         does not last, /etc/machine-id is another one at each boot"
                    );
                    Verdict::defer(codes::MACHINE_ID_UNSTABLE, reason)
                }
                _ => {
                    let reason = format!(
                        "the rollout of {version} has not reached this host; it does {turn}"
                    );
                    Verdict::defer(codes::ROLLOUT_NOT_REACHED, reason)
                }
            }
        }
    };
    RuleResult::new(Rule::Rollout, observed, verdict)
}
