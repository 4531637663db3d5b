// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a command ends that did not do what it was asked to.

use std::fmt;
use std::process::ExitCode;

use super::exit;
use crate::error::Error as RunError;
use flipside_core::refusal::Severity;
use flipside_image::code::{Code, Coded, sentence};

/// What to tell the person, and which exit status to give (P11). It is no `std::error::Error`
/// itself, so that `?` takes every error that has a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// How bad it is; decides the exit status.
    pub severity: Severity,
    /// One sentence, without the code.
    pub message: String,
}

impl Failure {
    /// An error: exit status 1.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into() }
    }

    /// The same with another severity, for errors that only mean "not now".
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// What ended a run, with the severity that the run gives it.
    pub fn of_run(error: RunError) -> Self {
        let severity = error.severity();
        Self::from(error).with_severity(severity)
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        let (code, severity) = (self.code, self.severity);
        debug_assert!(code.severities().contains(&severity), "{code} is never a {severity:?}");
        ExitCode::from(match self.severity {
            Severity::Defer => exit::DEFERRED,
            Severity::Block | Severity::Error => exit::FAILED,
        })
    }
}

/// As people see it: `<sentence> [code]`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl<E: Coded + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let code = error.code();
        Self { code, severity: code.severity(), message: sentence(&error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use flipside_image::Digest;
    use flipside_source::SourceError;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::io::Error);

    impl Coded for Outer {
        fn code(&self) -> Code {
            codes::REPORT_UNREADABLE
        }
    }

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let failure = Failure::from(Outer(std::io::Error::other("line one\nline two\x1b[31m")));
        assert_eq!(
            failure.to_string(),
            "cannot read it: line one line two [31m [report-unreadable]"
        );
        let error = Digest::of(b"").check("manifest", b"x").unwrap_err();
        let text = error.to_string();
        assert_eq!(Failure::from(SourceError::Image(error)).message, text);
    }

    #[test]
    fn only_a_defer_is_temporary() {
        for (code, severity, status) in [
            (codes::HOOK_DEFERRED, Severity::Defer, 75),
            (codes::HOOK_BLOCKED, Severity::Block, 1),
            (codes::INTERNAL, Severity::Error, 1),
        ] {
            let failure = Failure::error(code, "m").with_severity(severity);
            let (found, expected) = (failure.exit_code(), ExitCode::from(status));
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        }
    }
}
