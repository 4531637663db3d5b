// SPDX-License-Identifier: MIT OR Apache-2.0

//! The one type that says no, for people and programs (P11), and the answer that may be a no.

pub use flipside_image::code::Severity;
use flipside_image::code::{Code, Transient};
use serde::Serialize;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Whether it is tried again without a person.
    pub severity: Severity,
    /// The stable code.
    pub code: Code,
    /// One sentence that names who refuses.
    pub message: String,
    /// Whether time alone may mend it, such as a registry that does not answer.
    pub transient: Option<Transient>,
}

impl Refusal {
    /// Not now: ask again next time.
    pub fn defer(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Defer, code, message.into())
    }

    /// The same, where time alone may mend it.
    #[must_use]
    pub fn passing(self, transient: Transient) -> Self {
        Self { transient: Some(transient), ..self }
    }

    /// Not until something changes.
    pub fn block(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Block, code, message.into())
    }

    fn new(severity: Severity, code: Code, message: String) -> Self {
        debug_assert!(code.severities().contains(&severity), "{code} is never a {severity:?}");
        Self { severity, code, message, transient: None }
    }
}

/// The answer of a rule or a hook to the question whether to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Do not, now or until something changes.
    No(Refusal),
}

impl Verdict {
    /// Not now; `reason` is one sentence for people, which names who says so.
    pub fn defer(code: Code, reason: impl Into<String>) -> Self {
        Self::No(Refusal::defer(code, reason))
    }

    /// Not until something changes; `reason` is one sentence for people, which names who says so.
    pub fn block(code: Code, reason: impl Into<String>) -> Self {
        Self::No(Refusal::block(code, reason))
    }

    /// Whether to go on.
    pub fn is_allow(&self) -> bool {
        *self == Self::Allow
    }

    /// Why not to go on; `None` where it allows.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Allow => None,
            Self::No(refusal) => Some(refusal),
        }
    }

    /// The same for `?`.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_result(self) -> Result<(), Refusal> {
        match self {
            Self::Allow => Ok(()),
            Self::No(refusal) => Err(refusal),
        }
    }

    /// The word for it: `allow`, `defer` or `block`.
    pub fn word(&self) -> &'static str {
        match self.refusal().map(|refusal| refusal.severity) {
            None => "allow",
            Some(Severity::Defer) => "defer",
            Some(Severity::Block | Severity::Error) => "block",
        }
    }
}

/// `decision`, and where it does not allow also `code` and `reason`.
impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            decision: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<Code>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let refusal = self.refusal();
        let (code, reason) = (refusal.map(|r| r.code), refusal.map(|r| r.message.as_str()));
        Fields { decision: self.word(), code, reason }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use serde_json::json;

    #[test]
    fn a_verdict_is_serialised_by_its_word_and_by_what_refuses() {
        for (verdict, expected) in [
            (Verdict::Allow, json!({"decision": "allow"})),
            (
                Verdict::defer(codes::LOCKED, "later"),
                json!({"decision": "defer", "code": "locked", "reason": "later"}),
            ),
            (
                Verdict::block(codes::NOT_A_HOST, "never"),
                json!({"decision": "block", "code": "not-a-host", "reason": "never"}),
            ),
        ] {
            assert_eq!(json!(verdict), expected);
        }
    }
}
