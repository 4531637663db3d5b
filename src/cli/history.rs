// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside history`.

use std::io;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{Failure, Global, print, print_json, session};
use crate::report::ReportError;
use crate::report::ago::date;
use crate::report::history::{Entry, Happening, History, HistoryFile};
use crate::report::trial_log::{Kept, KeptLogs};
use crate::report::wrap::wrap;
use flipside_core::host::Root;
use flipside_image::printable;

/// Show what happened on this host, newest last.
///
/// With --log, it shows what a failed trial left: the end of its journal, and the kernel's last
/// messages if it crashed. Four of these logs are kept, in /var/lib/flipside/trials. Only root can
/// read them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the last N lines.
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Show what the newest failed trial left, or the trial of VERSION or DIGEST
    #[arg(
        long,
        value_name = "VERSION|DIGEST",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with = "lines"
    )]
    log: Option<String>,
}

/// Shows what happened on this host.
///
/// # Errors
/// A history that cannot be read; `needs-root` for the log of a trial.
pub fn run(args: Args, global: &Global) -> super::Result {
    if let Some(which) = &args.log {
        return show_log(which, global);
    }
    let history = HistoryFile::of(&global.root).last(args.lines)?;
    // They are not for everybody to read; who may not, sees the history alone.
    let logs = KeptLogs::of(&global.root).all().unwrap_or_default();
    if global.json {
        let logs = logs.iter().map(described).collect();
        print_json(&Document { history: &history, logs })?;
    } else {
        let entries = history.entries.iter().map(|entry| line(entry, global.width));
        let lines: Vec<String> = entries.chain(logs.iter().map(hint)).collect();
        if !lines.is_empty() {
            print(lines.join("\n"))?;
        }
    }
    if history.damaged > 0 {
        tracing::warn!("{} damaged lines of the history are left out", history.damaged);
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    history: &'a History,
    logs: Vec<serde_json::Value>,
}

/// Where the newest of several has the same version, it is the one that is shown.
fn show_log(which: &str, global: &Global) -> super::Result {
    let logs = KeptLogs::of(&global.root);
    let log = match which {
        "" => logs.all().map(|mut logs| logs.pop()),
        which => logs.find(which),
    };
    let log = log.map_err(|error| unreadable(error, &global.root))?;
    let what = if which.is_empty() { "a failed trial" } else { which };
    let log = log.ok_or_else(|| ReportError::NoTrialLog { what: printable::line(what, 100) })?;
    if global.json {
        print_json(&log)?;
        return Ok(ExitCode::SUCCESS);
    }
    let slot = log.slot.map(|slot| format!(" in slot {slot}")).unwrap_or_default();
    let reason = if log.reason.is_empty() { "not promoted" } else { &log.reason };
    let boot = log.boot_id.as_ref().map(|id| format!(", boot {id}")).unwrap_or_default();
    print(format!(
        "-- {} ({}){slot}: {reason}; kept {}{boot}\n{}",
        log.version,
        log.digest.short(),
        date(log.kept),
        log.text.trim_end()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Journals are for root alone: who may not read them did not come to a broken file.
fn unreadable(error: ReportError, root: &Root) -> Failure {
    match &error {
        ReportError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            session::of_root(root)
        }
        _ => error.into(),
    }
}

/// Without its text.
fn described(log: &Kept) -> serde_json::Value {
    json!({
        "version": log.version, "digest": log.digest, "slot": log.slot, "reason": log.reason,
        "boot_id": log.boot_id, "kept": log.kept, "size": log.text.len(),
    })
}

fn hint(log: &Kept) -> String {
    let (time, digest) = (date(log.kept), log.digest.short());
    format!("{time}  {:<13}  flipside history --log {digest}", "log")
}

/// `2026-11-21 14:03  armed          B  2026.11.2  sha256:98cd76ef`; where there is more to be told,
/// the sentence that tells it, which names the slot and the version.
fn line(entry: &Entry, width: Option<usize>) -> String {
    let event = printable::line(&entry.event.to_string(), 20);
    let begin = format!("{}  {event:<13}  ", date(entry.time));
    let digest = entry.digest.map(|digest| digest.short()).unwrap_or_default();
    if is_told_by_its_columns(&entry.event) || entry.message.is_empty() {
        let slot = entry.slot.map(|slot| slot.to_string()).unwrap_or_default();
        let version = printable::line(entry.version.as_deref().unwrap_or("-"), 40);
        return format!("{begin}{slot:<1}  {version:<12}  {digest}").trim_end().to_owned();
    }
    let code = entry.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let message = printable::line(&format!("{}{code}", entry.message), 400);
    let text = format!("{begin}{message}");
    width.map_or(text.clone(), |width| wrap(&text, width, begin.chars().count()))
}

/// Whether the event, the slot and what is in it are all that there is to tell.
fn is_told_by_its_columns(event: &Happening) -> bool {
    matches!(
        event,
        Happening::Writing
            | Happening::Installed
            | Happening::Armed
            | Happening::Promoted
            | Happening::FellBack
            | Happening::RolledBack
    )
}
