// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stable public codes of what people meet (P11). The tables of them are `docs/errors.md`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::redact::redact;
use table::{Area, Row};

pub mod table;

/// How a run ends that did not do what it was asked to: what to tell the
/// person and which exit status to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Try again next time by itself: exit status 75.
    Defer,
    /// Refused until something changes: exit status 1.
    Block,
    /// Something failed: exit status 1.
    Error,
}

/// A code: the name of a cause and its remedy. It has a row in a crate's table, since only
/// [`codes!`](crate::codes) makes codes.
///
/// Documents that are read back hold codes as text: another flipside may have written them, with
/// codes that this one does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(&'static Row);

impl Code {
    /// Only for [`codes!`](crate::codes).
    #[doc(hidden)]
    pub const fn of(row: &'static Row) -> Self {
        Self(row)
    }

    /// The code as people and programs see it, such as `esp-full`: lower-case words joined by `-`.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// The section of `docs/errors.md` that lists it.
    pub fn area(self) -> Area {
        self.0.area
    }

    /// With which severities it is told. Empty where only the journal has it.
    pub fn severities(self) -> &'static [Severity] {
        self.0.severities
    }

    /// The severity that its row leaves no choice about; where there are several, or none, an error.
    pub fn severity(self) -> Severity {
        match self.severities() {
            [only] => *only,
            _ => Severity::Error,
        }
    }

    /// What happened, as Markdown in one line.
    pub fn cause(self) -> String {
        one_line(self.parts().0)
    }

    /// What to do about it, as Markdown in one line.
    pub fn remedy(self) -> String {
        one_line(self.parts().1)
    }

    fn parts(self) -> (&'static str, &'static str) {
        self.0.text.split_once("\n\n").unwrap_or_default()
    }
}

/// The lines of a doc comment, each of which begins with a space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// An error or a decision that carries a stable code.
///
/// A code never changes once released. Scripts, alerts and metrics match on it; the sentence around
/// it may be reworded.
pub trait Coded: Error {
    /// The stable code, such as `esp-full`.
    fn code(&self) -> Code;

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

#[cfg(test)]
mod tests {
    use super::Severity;

    mod codes {
        macro_rules! constant {
            ($(#[$doc:meta])+ $name:ident = $code:expr) => {
                $(#[$doc])+
                pub(crate) const $name: crate::code::Code = $code;
            };
        }
        crate::codes! {
            constant;
            Esp {
                /// One line
                /// and `another`.
                ///
                /// Do this.
                ///
                /// Or that.
                pub ESP_FULL: Block | Error = "esp-full";
                /// No room.
                ///
                /// Make room.
                NVRAM_FULL = "nvram-full";
            }
            Running {
                /// Another one runs.
                ///
                /// Wait.
                LOCKED: Defer = "locked";
            }
        }
    }

    #[test]
    fn a_row_is_what_its_code_says() {
        let (full, nvram) = (codes::ESP_FULL, codes::NVRAM_FULL);
        assert_eq!((full.name(), nvram.name()), ("esp-full", "nvram-full"));
        assert_eq!(full.severities(), [Severity::Block, Severity::Error]);
        assert_eq!(nvram.severities(), []);
        assert_eq!((full.severity(), nvram.severity()), (Severity::Error, Severity::Error));
        assert_eq!(codes::LOCKED.severity(), Severity::Defer);
        assert_eq!(
            (full.cause(), full.remedy()),
            ("One line and `another`.".into(), "Do this. Or that.".into())
        );
        assert_eq!(codes::TABLE, [full, nvram, codes::LOCKED]);
        assert_eq!(codes::shared::ESP_FULL, full);
        assert_ne!(full, nvram);
    }

    #[test]
    fn a_code_is_written_as_its_name() {
        let code = codes::ESP_FULL;
        assert_eq!(
            (format!("[{code}]"), format!("{code:>10?}")),
            ("[esp-full]".into(), "  esp-full".into())
        );
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"esp-full\"");
    }
}
