// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every rule in order, for `flipside check --explain`: what it saw, what it said.

use serde_json::{Value, json};

use crate::report::wrap::{short_digests, wrap};
use crate::rules::{Explanation, Rule, Verdict};

/// A line for each rule that was asked, and one for all others. `width` as in
/// [`Global`](super::Global).
pub(super) fn text(explanation: &Explanation, width: Option<usize>) -> String {
    let names = Rule::ALL.iter().map(|rule| rule.name().len());
    let column = names.max().unwrap_or(0);
    let fitted = |text: String, indent| match width {
        Some(width) => wrap(&short_digests(&text), width, indent),
        None => text,
    };
    let line = |rule: &Rule| {
        let result = explanation.of(*rule)?;
        let observed = &result.observed;
        let word = result.verdict.word();
        let said = match &result.verdict {
            Verdict::Allow => observed.clone(),
            // Said once.
            Verdict::No(refusal) if refusal.message.contains(observed.as_str()) => {
                format!("{refusal} [{}]", refusal.code)
            }
            Verdict::No(refusal) => format!("{observed}: {refusal} [{}]", refusal.code),
        };
        let text = format!("{rule:<column$}  {word}  {said}").trim_end().to_owned();
        Some(fitted(text, column.saturating_add(9)))
    };
    let unasked: Vec<&str> = Rule::ALL
        .iter()
        .filter(|rule| explanation.of(**rule).is_none())
        .map(|rule| rule.name())
        .collect();
    let mut lines: Vec<String> = Rule::ALL.iter().filter_map(line).collect();
    if !unasked.is_empty() {
        lines.push(fitted(format!("not asked: {}", unasked.join(", ")), 11));
    }
    lines.join("\n")
}

/// The same for programs: `decision` is `not-asked` for a rule that was not.
pub(super) fn document(explanation: &Explanation) -> Value {
    let item = |rule: &Rule| match explanation.of(*rule) {
        Some(result) => json!(result),
        None => json!({"rule": rule, "observed": "", "decision": "not-asked"}),
    };
    Rule::ALL.iter().map(item).collect()
}
