// SPDX-License-Identifier: MIT OR Apache-2.0

//! The one type that says no, for people and programs (P11).

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

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Whether it is tried again without a person.
    pub severity: Severity,
    /// The stable code.
    pub code: &'static str,
    /// One sentence that names who refuses.
    pub message: String,
}

impl Refusal {
    /// Not now: ask again next time.
    pub fn defer(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Defer, code, message: message.into() }
    }

    /// Not until something changes.
    pub fn block(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Block, code, message: message.into() }
    }
}
