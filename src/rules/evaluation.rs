// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the rules said about an offer so far.

use super::{Candidate, Explanation, Rule, RuleResult, Verdict, Withdrawal};
use crate::hooks::{self, Answer, RanAs};
use flipside_image::document::Document;
use flipside_image::printable;
use flipside_image::signature::Signed;
use jiff::Timestamp;

/// The most characters that a result shows of what it went by.
const SHOWN: usize = 200;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Up to the first refusal, and no hooks: they may do as they please, and a check is no
    /// reason to.
    Check,
    /// Everything, up to the first refusal.
    Update,
    /// Everything; after a refusal, what can be asked all the same.
    Explain,
}

/// A policy document to go by.
pub(super) struct InForce {
    pub document: Document,
    /// When it was asked for.
    pub now: Timestamp,
    /// Whether the registry gave it, or somebody whom this host trusts signed it.
    pub is_vouched: bool,
}

/// The questions, as far as they were asked.
pub(super) struct Evaluation<'a> {
    pub candidate: &'a Candidate<'a>,
    pub depth: Depth,
    pub explanation: Explanation,
    /// Who signed the image that was looked at last.
    pub signed: Option<Signed>,
    /// The version of what the tag names.
    pub target_version: Option<String>,
    /// The policy document, where there is one to go by.
    pub document: Option<InForce>,
    /// The mirror that named a tag in the place of the registry, which could not be reached.
    pub mirror: Option<String>,
    /// What boots next was withdrawn.
    pub is_revoked: bool,
    /// The slots whose release was withdrawn, where a document tells.
    pub withdrawals: Option<Vec<Withdrawal>>,
}

impl<'a> Evaluation<'a> {
    /// Of `candidate`, before anything was asked.
    pub fn new(candidate: &'a Candidate<'a>, depth: Depth) -> Self {
        Self {
            candidate,
            depth,
            explanation: Explanation::default(),
            signed: None,
            target_version: None,
            document: None,
            mirror: candidate.target_release.mirror.clone(),
            is_revoked: false,
            withdrawals: None,
        }
    }

    /// The mirror, where there is no more than its word for what a tag names.
    pub fn mirror_alone(&self) -> Option<&str> {
        let is_vouched = self.document.as_ref().is_some_and(|in_force| in_force.is_vouched);
        self.mirror.as_deref().filter(|_| !is_vouched)
    }

    /// Whether a rule refused so far.
    pub fn is_refused(&self) -> bool {
        self.explanation.first_refusal().is_some()
    }

    /// Whether to ask further after what was said so far.
    pub fn goes_on(&self) -> bool {
        self.depth == Depth::Explain || !self.is_refused()
    }

    /// Notes what `rule` saw and said.
    pub fn put(&mut self, rule: Rule, observed: &str, verdict: Verdict) {
        let observed = printable::line(observed, SHOWN);
        self.explanation.note(RuleResult::new(rule, observed, verdict));
    }

    /// Notes what hooks answered, and that less kept them in check, where that was so. `what` is
    /// what the rule went by.
    pub fn put_answers(&mut self, rule: Rule, what: &str, answers: &[Answer]) {
        let is_group = |answer: &Answer| answer.ran_as == Some(RanAs::ProcessGroup);
        let verdict = hooks::decide(answers);
        if answers.iter().any(is_group) {
            let observed =
                format!("as a process group, without the sandbox and limits of a unit: {what}");
            return self.put(rule, &observed, verdict);
        }
        self.put(rule, what, verdict);
    }
}
