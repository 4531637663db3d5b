// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every rule in order, for `flipside check --explain`: what it saw, what it said.

use serde_json::{Value, json};

use crate::rules::{Explanation, Rule, Verdict};

/// A line for each rule, also for those that were not asked.
pub(super) fn text(explanation: &Explanation) -> String {
    let names = Rule::ALL.iter().map(|rule| rule.name().len());
    let width = names.max().unwrap_or(0);
    let line = |rule: &Rule| {
        let Some(ruling) = explanation.of(*rule) else {
            return format!("{rule:<width$}  -      not asked");
        };
        let observed = &ruling.observed;
        let word = ruling.decision.word();
        let said = match &ruling.decision {
            Verdict::Allow => observed.clone(),
            Verdict::No(refusal) => format!("{observed}: {refusal} [{}]", refusal.code),
        };
        format!("{rule:<width$}  {word}  {said}").trim_end().to_owned()
    };
    Rule::ALL.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same for programs: `decision` is `not-asked` for a rule that was not.
pub(super) fn document(explanation: &Explanation) -> Value {
    let item = |rule: &Rule| match explanation.of(*rule) {
        Some(ruling) => json!(ruling),
        None => json!({"rule": rule, "observed": "", "decision": "not-asked"}),
    };
    Rule::ALL.iter().map(item).collect()
}
