// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stable public codes of what people meet (P11), listed in `docs/errors.md`.

use std::error::Error;

/// An error or a decision that carries a stable code.
///
/// The code is lower-case words joined by `-`, never changes once released,
/// and is what scripts, alerts and metrics match on; the sentence around it
/// may be reworded.
pub trait Coded: Error {
    /// The stable code, such as `esp-full`.
    fn code(&self) -> &'static str;
}

/// How a run ends that did not do what it was asked to: what to tell the
/// person and which exit status to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Try again next time by itself: exit status 75.
    Defer,
    /// Refused until something changes: exit status 1.
    Block,
    /// Something failed: exit status 1.
    Error,
}

/// Deferrals that go away by themselves in a registry that is well, and that last where somebody
/// keeps this host from updates by freezing or replaying what it shows: they are said aloud.
const SUSPICIOUS: [&str; 6] = [
    "policy-document-expired",
    "policy-document-foreign",
    "policy-document-invalid",
    "policy-document-missing",
    "policy-document-replayed",
    "policy-document-unsigned",
];

/// Whether what carries this code may be an attack.
pub fn is_suspicious(code: &str) -> bool {
    SUSPICIOUS.contains(&code)
}

/// The error and its causes in one sentence. Errors that repeat their cause in
/// their own text are common; the cause is then not said twice.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !said.is_empty() && !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    // One line, whatever a cause's text holds: this goes to journals and terminals.
    text.split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
