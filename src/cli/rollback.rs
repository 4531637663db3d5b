// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside rollback`.

use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Failure, Global, print_json, session};
use crate::run;

/// Boot the other slot next, and do not install this one again.
///
/// The other slot must have proved itself, and its content must be intact. The version that you
/// leave is not installed again automatically until the tag names other content or you run
/// `flipside retry`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go back even if there are no hashes to verify the other slot with.
    #[arg(long)]
    unverified: bool,
}

/// Arms the other slot.
///
/// # Errors
/// Whatever stopped it; the running slot boots as before.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open_shared(global)?;
    let result = run::rollback(&run, args.unverified);
    run::finish_command(&run, "rollback", result.as_ref().err());
    let rollback = result.map_err(Failure::of_run)?;
    if global.json {
        print_json(&json!({"slot": rollback.slot, "version": rollback.version}))?;
    } else {
        print_done(format!(
            "slot {} with {} boots at the next reboot",
            rollback.slot, rollback.version
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
