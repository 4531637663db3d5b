// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::HostHooks`]: the programs of this host allow it.

use super::evaluation::Evaluation;
use super::{Error, Rule};
use crate::hooks::{Answer, Asking};

/// Asks them, up to the first that does not allow.
pub(super) fn ask(
    evaluation: &mut Evaluation<'_>,
    asking: &Asking<'_>,
) -> Result<Vec<Answer>, Error> {
    let answers = asking.host();
    evaluation.candidate.means.stop.check()?;
    evaluation.put_answers(Rule::HostHooks, &names(&answers), &answers);
    Ok(answers)
}

fn names(answers: &[Answer]) -> String {
    let names: Vec<&str> = answers.iter().map(|answer| answer.hook.as_str()).collect();
    match names.is_empty() {
        true => "this host has none".to_owned(),
        false => names.join(", "),
    }
}
