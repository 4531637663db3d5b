// SPDX-License-Identifier: MIT OR Apache-2.0

//! What commands print.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use super::remedy::remedy;
use super::stderr::complain;
use super::{Failure, Global};
use crate::codes;
use crate::report::progress::beside_bars;
use crate::report::wrap::wrap;

/// What stands before a remedy: it is below the sentence that it belongs to.
const REMEDY: &str = "          ";

/// Prints text and a line feed on stdout. A reader that went away (`| head`) is
/// no error; a full disk is.
///
/// # Errors
/// `output-failed`.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match beside_bars(|| writeln!(stdout, "{text}").and_then(|()| stdout.flush())) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            Err(Failure::error(codes::OUTPUT_FAILED, format!("cannot write to stdout: {error}")))
        }
        Ok(()) => Ok(()),
    }
}

/// `text` in lines of at most `width` characters, as far as there are spaces to break them at.
/// `width` as in [`Global`].
#[cfg(feature = "publish")]
pub(super) fn fitted(text: impl Display, width: Option<usize>) -> String {
    let text = text.to_string();
    let Some(width) = width else { return text };
    let lines: Vec<String> = text.lines().map(|line| wrap(line, width, 4)).collect();
    lines.join("\n")
}

/// Prints `document` as indented JSON and a line feed on stdout.
///
/// # Errors
/// As [`print()`].
pub fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::error(codes::INTERNAL, format!("cannot write JSON: {error}")))?;
    print(text)
}

/// What `--json` prints in place of the document that could not be made.
pub fn error_document(failure: &Failure) -> Value {
    json!({"error": {
        "code": failure.code,
        "severity": failure.severity,
        "message": failure.message,
    }})
}

/// Tells the person, and with `--json` also the program, what went wrong.
pub(super) fn report_failure(failure: &Failure, global: &Global) {
    complain_of(failure, global);
    if global.json {
        // The exit status says it as well, should stdout be gone.
        let _ = print_json(&error_document(failure));
    }
}

/// Fails a command that has printed its document: with `--json` a second one would not be read.
///
/// # Errors
/// The failure, where there was no document.
pub(super) fn fail_after_document(failure: Failure, global: &Global) -> super::Result {
    if !global.json {
        return Err(failure);
    }
    complain_of(&failure, global);
    Ok(failure.exit_code())
}

/// Says on stderr what was refused, unless the journal is behind it and was told with fields. On a
/// terminal, what to do about it follows.
fn complain_of(failure: &Failure, global: &Global) {
    if super::log::is_said_in_journal(&failure.message) {
        return;
    }
    complain(&format!("flipside: {failure}"));
    if let (Some(width), Some(remedy)) = (global.error_width, remedy(failure)) {
        complain(&wrap(&format!("{REMEDY}{remedy}"), width, REMEDY.len()));
    }
}

/// Prints what a command did to the host, unless stdout is the journal and was told with fields.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_done(text: impl Display) -> Result<(), Failure> {
    if super::log::is_done_in_journal() { Ok(()) } else { print(text) }
}
