// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stable public codes of what people meet (P11), listed in `docs/errors.md`.

use std::error::Error;
use std::time::Duration;

use crate::redact::redact;

/// An error or a decision that carries a stable code.
///
/// The code is lower-case words joined by `-`, never changes once released,
/// and is what scripts, alerts and metrics match on; the sentence around it
/// may be reworded.
pub trait Coded: Error {
    /// The stable code, such as `esp-full`.
    fn code(&self) -> &'static str;

    /// Whether time alone may mend it: then a later run may well succeed. `None` where
    /// something has to change first.
    fn transient(&self) -> Option<Transient> {
        None
    }
}

/// What is known of a failure that time alone may mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transient {
    /// How long the other side wants to be left alone (`Retry-After`, RFC 9110 section 10.2.3),
    /// where it said so.
    pub retry_after: Option<Duration>,
}

/// The error and its causes in one sentence, without secrets. Errors that repeat their cause in
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
    let line = text
        .split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    redact(&line)
}
