// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Compatible`]: the image is for hosts of this kind.

use super::evaluation::Evaluation;
use super::rule::shown;
use super::{Rule, Verdict};
use crate::codes;

/// Asks it about an image for the hosts `wanted`.
pub(super) fn ask(evaluation: &mut Evaluation<'_>, wanted: &[String]) {
    let host = &evaluation.candidate.means.config.host.compatible;
    let host: Vec<String> = host.iter().map(|name| name.to_string()).collect();
    let (observed, verdict) = decide(wanted, &host);
    evaluation.put(Rule::Compatible, &observed, verdict);
}

/// What the rule saw of an image for the hosts `wanted` on one that is all of `host`, and says.
fn decide(wanted: &[String], host: &[String]) -> (String, Verdict) {
    if wanted.is_empty() {
        return ("the image is for any host".to_owned(), Verdict::Allow);
    }
    let image_is_for = format!("the image is for {}", shown(&wanted.join(", ")));
    if wanted.iter().any(|name| host.contains(name)) {
        return (image_is_for, Verdict::Allow);
    }
    let host_is = match host {
        [] => "host.compatible names nothing".to_owned(),
        names => format!("this host is {}", shown(&names.join(", "))),
    };
    let why = format!("{image_is_for}, and {host_is}");
    (image_is_for, Verdict::block(codes::NOT_COMPATIBLE, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::refusal::{Refusal, Severity};

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_image_that_names_hosts_needs_one_that_is_among_them() {
        for (wanted, host, allowed) in [
            ("", "", true),
            ("", "edge", true),
            ("edge", "edge", true),
            ("box edge", "edge-2 edge", true),
            ("edge", "", false),
            ("edge", "edge-2", false),
            ("Edge", "edge", false),
        ] {
            let (_, verdict) = decide(&names(wanted), &names(host));
            assert_eq!(verdict.is_allow(), allowed, "{wanted} on {host}");
            if let Some(Refusal { severity, code, .. }) = verdict.refusal() {
                assert_eq!((*severity, *code), (Severity::Block, codes::NOT_COMPATIBLE));
            }
        }
    }
}
