// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside update`.

use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::json;

use super::output::{print_done, report_failure};
use super::{Failure, Global, exit, print_json, session};
use crate::config::{Automatic, Initiative};
use crate::run::{self, Outcome};
use flipside_core::refusal::Severity;

/// Install the newest release into the other slot, and arm it.
///
/// Does nothing if the running slot already holds it. Otherwise flipside asks the rules and hooks,
/// verifies the image, and writes it. The next reboot tries it once. It becomes permanent only when
/// it has been promoted. The running slot is never written.
///
/// Exit status: 0 if the update is armed or there is none, 75 if it is deferred, 1 if it is blocked
/// or fails. With `--automatic`: 0 also if it is deferred or blocked, 75 if it is stopped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do as the timer does: obey `update.automatic`, and exit with 0 if the update is deferred or
    /// blocked.
    #[arg(long)]
    automatic: bool,
    /// Use plain HTTP, without TLS, for every registry.
    #[arg(long)]
    plain_http: bool,
}

/// Brings the host to what the tag names, as far as that goes before a reboot.
///
/// # Errors
/// Whatever stopped it; the running slot boots as before.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open(global, args.plain_http)?;
    let initiative = match args.automatic {
        true => Initiative::Automatic,
        false => Initiative::Manual,
    };
    if args.automatic {
        let trigger = std::env::var("TRIGGER_UNIT").ok();
        if run::is_daily_run_enough(&run.root, trigger.as_deref(), SystemTime::now()) {
            let why = "the daily timer has elapsed in the last 20 hours";
            return show(&Outcome::NothingToDo(why), global);
        }
        match run.config.update.automatic {
            Automatic::Off => {
                return show(&Outcome::NothingToDo("update.automatic is off"), global);
            }
            Automatic::Check => {
                let args = super::check::Args::of_the_timer(args.plain_http);
                return super::check::run(args, global);
            }
            Automatic::Install => {}
        }
    }
    let result = run::update(&run, initiative);
    run::finish_update(&run, initiative, result.as_ref().err());
    // The unit behind the timer's is not to reboot a host whose run somebody stopped.
    let is_stopped = args.automatic && run.stop.is_requested();
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            let failure = Failure::of_run(error);
            if args.automatic && failure.severity != Severity::Error {
                report_failure(&failure, global);
                return Ok(ExitCode::from(if is_stopped { exit::DEFERRED } else { exit::DONE }));
            }
            return Err(failure);
        }
    };
    let status = show(&outcome, global)?;
    Ok(if is_stopped { ExitCode::from(exit::DEFERRED) } else { status })
}

fn show(outcome: &Outcome, global: &Global) -> super::Result {
    match global.json {
        true => print_json(&document(outcome))?,
        false => print_done(sentence(outcome))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::NothingToDo(why) => format!("nothing to do: {why}"),
        Outcome::UpToDate { version, .. } => format!("up to date: {version}"),
        Outcome::Adopted { version, .. } => {
            format!("up to date: {version}, whose new manifest was noted")
        }
        Outcome::Armed { slot, version, before: false, .. } => {
            format!("{version} is installed in slot {slot} and boots once at the next reboot")
        }
        Outcome::Armed { slot, version, .. } => {
            format!("nothing new: {version} in slot {slot} waits for the next reboot")
        }
        Outcome::Unarmed { slot, version } => {
            format!(
                "the tag went back to what runs: {version} in slot {slot} does not boot any more"
            )
        }
    }
}

fn document(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::NothingToDo(why) => json!({"outcome": "nothing-to-do", "reason": why}),
        Outcome::UpToDate { version, tag } => {
            json!({"outcome": "up-to-date", "version": version, "tag": tag})
        }
        Outcome::Adopted { version, tag } => {
            json!({"outcome": "adopted", "version": version, "tag": tag})
        }
        Outcome::Armed { slot, version, tag, before } => json!({
            "outcome": if *before { "waiting" } else { "armed" },
            "slot": slot, "version": version, "tag": tag,
        }),
        Outcome::Unarmed { slot, version } => {
            json!({"outcome": "unarmed", "slot": slot, "version": version})
        }
    }
}
