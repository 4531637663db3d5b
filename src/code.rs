// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stable public codes of what people meet (P11), listed in `docs/errors.md`.

/// An error or a decision that carries a stable code.
///
/// The code is lower-case words joined by `-`, never changes once released,
/// and is what scripts, alerts and metrics match on; the sentence around it
/// may be reworded.
pub trait Coded: std::error::Error {
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
