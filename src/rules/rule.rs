// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules by name, and what they said about one update.

use std::fmt;

use serde::Serialize;

use super::Verdict;
use flipside_image::printable;

/// The most characters of a version or a name that are shown.
const SHOWN: usize = 60;

/// A version or a name, as it is shown.
pub(super) fn shown(text: &str) -> String {
    printable::line(text, SHOWN)
}

/// A question that is asked before an update, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Whether this host can take an update at all: no trial goes on, nothing of others is
    /// about to boot, and the digest did not fail here.
    Host,
    /// Whether a person holds this host's automatic updates.
    Hold,
    /// Whether `update.windows` let the timer install now.
    UpdateWindow,
    /// Whether what the release's owner says about it is known, and fresh.
    PolicyDocument,
    /// Whether the release was withdrawn.
    Withdrawn,
    /// Whether what runs is not to be left automatically.
    DeadEnd,
    /// Whether a release stands in between that every host passes through.
    Barrier,
    /// Whether the rollout has reached this host.
    Rollout,
    /// Whether the image is signed by a key of this host.
    Signature,
    /// Whether the image is for hosts of this kind.
    Compatible,
    /// Whether it would be no downgrade.
    Version,
    /// Whether the image can be installed from what runs, or what has to be in between.
    Requires,
    /// Until when the image is cared for. Only told, never a refusal.
    EndOfLife,
    /// What the program that the image brings says.
    ImageHook,
    /// What the programs of this host say.
    HostHooks,
    /// What the program in a container image says.
    ContainerHook,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Self; 16] = [
        Self::Host,
        Self::Hold,
        Self::UpdateWindow,
        Self::PolicyDocument,
        Self::Withdrawn,
        Self::DeadEnd,
        Self::Barrier,
        Self::Rollout,
        Self::Signature,
        Self::Compatible,
        Self::Version,
        Self::Requires,
        Self::EndOfLife,
        Self::ImageHook,
        Self::HostHooks,
        Self::ContainerHook,
    ];

    /// Its name, as it is serialised.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Hold => "hold",
            Self::UpdateWindow => "update-window",
            Self::PolicyDocument => "policy-document",
            Self::Withdrawn => "withdrawn",
            Self::DeadEnd => "dead-end",
            Self::Barrier => "barrier",
            Self::Rollout => "rollout",
            Self::Signature => "signature",
            Self::Compatible => "compatible",
            Self::Version => "version",
            Self::Requires => "requires",
            Self::EndOfLife => "end-of-life",
            Self::ImageHook => "image-hook",
            Self::HostHooks => "host-hooks",
            Self::ContainerHook => "container-hook",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What one rule saw and said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleResult {
    /// Which.
    pub rule: Rule,
    /// What it went by, in a few printable words.
    pub observed: String,
    /// What it said.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl RuleResult {
    /// What `rule` saw and said.
    pub fn new(rule: Rule, observed: String, verdict: Verdict) -> Self {
        Self { rule, observed, verdict }
    }
}

/// What the rules said about one update, in their order. A rule that is missing was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Explanation(Vec<RuleResult>);

impl Explanation {
    /// Notes a result. The last word of a rule that is asked about several images counts, but
    /// a refusal stands.
    pub fn note(&mut self, result: RuleResult) {
        let at = self.0.partition_point(|before| before.rule < result.rule);
        match self.0.get_mut(at).filter(|before| before.rule == result.rule) {
            Some(before) if before.verdict.is_allow() => *before = result,
            Some(_) => {}
            None => self.0.insert(at, result),
        }
    }

    /// The results, in order.
    pub fn results(&self) -> &[RuleResult] {
        &self.0
    }

    /// What `rule` said, where it was asked.
    pub fn of(&self, rule: Rule) -> Option<&RuleResult> {
        self.0.iter().find(|result| result.rule == rule)
    }

    /// The first that does not allow: why the update is not made.
    pub fn first_refusal(&self) -> Option<&RuleResult> {
        self.0.iter().find(|result| !result.verdict.is_allow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use serde_json::json;

    fn result(rule: Rule, verdict: Verdict) -> RuleResult {
        RuleResult { rule, observed: String::new(), verdict }
    }

    #[test]
    fn rules_are_listed_in_their_order_under_their_names() {
        assert!(Rule::ALL.is_sorted());
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
        }
    }

    #[test]
    fn the_first_refusal_in_order_is_the_reason_whenever_it_was_noted() {
        let mut explanation = Explanation::default();
        assert_eq!(explanation.first_refusal(), None);
        explanation.note(result(Rule::Version, Verdict::block(codes::VERSION_TOO_OLD, "x")));
        explanation.note(result(Rule::Hold, Verdict::defer(codes::UPDATES_HELD, "y")));
        explanation.note(result(Rule::Host, Verdict::Allow));
        assert_eq!(explanation.first_refusal().unwrap().rule, Rule::Hold);
        let order: Vec<Rule> = explanation.results().iter().map(|r| r.rule).collect();
        assert_eq!(order, [Rule::Host, Rule::Hold, Rule::Version]);
    }

    #[test]
    fn a_refusal_stands_and_what_allows_gives_way_to_a_later_word() {
        let mut explanation = Explanation::default();
        let refusal = result(Rule::Version, Verdict::block(codes::VERSION_TOO_OLD, "x"));
        for said in [result(Rule::Version, Verdict::Allow), refusal.clone()] {
            explanation.note(said);
        }
        assert_eq!(explanation.of(Rule::Version), Some(&refusal));
        explanation.note(result(Rule::Version, Verdict::Allow));
        assert_eq!(explanation.results(), [refusal]);
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json[0]["rule"], "version");
        assert_eq!(json[0]["decision"], "block");
    }
    #[test]
    fn a_result_has_the_fields_of_its_verdict() {
        for verdict in [
            Verdict::Allow,
            Verdict::defer(codes::HOOK_DEFERRED, "later"),
            Verdict::block(codes::HOOK_BLOCKED, "never"),
        ] {
            let expected = json!(verdict);
            let result = RuleResult { rule: Rule::Hold, observed: "s".to_owned(), verdict };
            let mut flat = json!({"rule": "hold", "observed": "s"});
            for (key, value) in expected.as_object().unwrap() {
                flat[key] = value.clone();
            }
            assert_eq!(json!(result), flat);
        }
    }
}
