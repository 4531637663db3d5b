// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside status`.

use std::process::ExitCode;

use super::{Global, print, print_json, session, watch};
use crate::report::{Status, StatusFile, status_text};
use crate::run;

/// Show what this host runs, what it follows, and what is pending.
///
/// The slots and the boot order are read now. The last check and the last error are those of the
/// last run. With --watch, everything comes from the status file, live during an update; --json
/// then prints one line for each change.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the status again whenever it changes, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// Shows what this host runs, follows and waits for.
///
/// # Errors
/// Whatever keeps it from being known.
pub fn run(args: Args, global: &Global) -> super::Result {
    if args.watch {
        return watch::run(global, || find(global));
    }
    let status = find(global)?;
    match global.json {
        true => print_json(&status)?,
        false => print(status_text(&status, global.page_style()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The facts as they are now, and what the last run said. Who may not read the facts sees
/// the document of the last run.
fn find(global: &Global) -> Result<Status, super::Failure> {
    let now = session::open_to_look(global).map(|run| run::status(&run));
    let is_known = |now: &Status| now.running.problem.is_none() && !now.slots.is_empty();
    if nix::unistd::geteuid().is_root() || now.as_ref().is_ok_and(is_known) {
        return now;
    }
    StatusFile::of(&global.root).read()?.map_or(now, Ok)
}
