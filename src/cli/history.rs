// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside history`.

use std::process::ExitCode;

use super::{Global, print, print_json};
use crate::printable;
use crate::report::ago::date;
use crate::report::history::{Entry, HistoryFile};

/// Show what happened on this host, the newest last.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the last N lines.
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    lines: usize,
}

/// Shows what happened on this host.
///
/// # Errors
/// A history that cannot be read.
pub fn run(args: Args, global: &Global) -> super::Result {
    let history = HistoryFile::of(&global.root).last(args.lines)?;
    if global.json {
        print_json(&history)?;
    } else if !history.entries.is_empty() {
        let lines: Vec<String> = history.entries.iter().map(line).collect();
        print(lines.join("\n"))?;
    }
    if history.damaged > 0 {
        tracing::warn!("{} damaged lines of the history are left out", history.damaged);
    }
    Ok(ExitCode::SUCCESS)
}

/// `2026-11-21 14:03  armed       B  2026.11.2  sha256:98cd76ef  message [code]`.
fn line(entry: &Entry) -> String {
    let slot = entry.slot.map(|slot| slot.to_string()).unwrap_or_default();
    let version = printable::line(entry.version.as_deref().unwrap_or("-"), 40);
    let digest = entry.digest.map(|digest| digest.short()).unwrap_or_default();
    let code = entry.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let message = printable::line(&format!("{}{code}", entry.message), 400);
    let event = printable::line(&entry.event.to_string(), 20);
    let time = date(entry.time);
    format!("{time}  {event:<11} {slot:<1}  {version:<12}  {digest:<15}  {message}")
        .trim_end()
        .to_owned()
}
