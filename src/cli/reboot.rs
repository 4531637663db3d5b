// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside reboot`.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::output::report_failure;
use super::{Failure, Global, exit, print, print_json, session};
use crate::reboot::{self, Asked, Outcome, RebootError};
use crate::report::ago::until;
use crate::report::journal::{Entry, Kind};
use flipside_core::refusal::Severity;
use flipside_image::code::Coded as _;

/// Reboot into the update that is pending.
///
/// Does nothing if no update is pending. The reboot goes through logind and obeys its inhibitors.
/// Other people who are logged in are told first, and get the time of `reboot.notice`.
///
/// Exit status: 0 if the machine reboots, will reboot, or no update is pending; 75 if something
/// inhibits the reboot.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do as the timer does: obey `reboot.strategy` and `reboot.windows`, and exit with 0 if the
    /// reboot is inhibited.
    #[arg(long, conflicts_with = "now")]
    automatic: bool,
    /// Do not wait for people who are logged in.
    #[arg(long)]
    now: bool,
    /// Start the new kernel directly with kexec, without the firmware. The next boot by the
    /// firmware is still the trial.
    #[arg(long)]
    kexec: bool,
}

/// Reboots, now or later.
///
/// # Errors
/// Whatever stands against it; what is armed stays armed.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open(global, false)?;
    let asked = match args.automatic {
        true => Asked::ByItself,
        false => Asked::ByHand { without_notice: args.now },
    };
    if args.automatic && run_was_stopped() {
        return show(&Outcome::NothingToDo("the run before this was stopped"), global);
    }
    // Behind a run of the timer: this unit may set timers, and that one may not.
    if args.automatic
        && let Err(error) = reboot::next_update::schedule(&run)
    {
        tracing::warn!("the next run of the timer is the daily one: {error} [{}]", error.code());
    }
    let outcome = match reboot::reboot(&run, asked, args.kexec) {
        Ok(outcome) => outcome,
        Err(error) if args.automatic => return told(error, global),
        Err(error) => return Err(failure(error)),
    };
    show(&outcome, global)
}

fn show(outcome: &Outcome, global: &Global) -> super::Result {
    match global.json {
        true => print_json(&document(outcome))?,
        false => print(sentence(outcome))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether this runs behind a run of the timer that somebody stopped, as systemd tells since
/// version 251 (systemd.exec(5), `$MONITOR_SERVICE_RESULT`).
fn run_was_stopped() -> bool {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
    is("MONITOR_SERVICE_RESULT", "success")
        && is("MONITOR_EXIT_STATUS", &exit::DEFERRED.to_string())
}

/// Run by a timer, what only defers is status, not failure.
fn told(error: RebootError, global: &Global) -> super::Result {
    match error.severity() {
        Severity::Error => Err(failure(error)),
        _ => {
            report_failure(&failure(error), global);
            Ok(ExitCode::from(exit::DONE))
        }
    }
}

fn failure(error: RebootError) -> Failure {
    let severity = error.severity();
    let failure = Failure::from(error).with_severity(severity);
    Entry::new(Kind::of(severity), &failure.message).code(failure.code).send();
    failure
}

fn sentence(outcome: &Outcome) -> String {
    let way = |by_kexec: &bool| if *by_kexec { " by kexec" } else { "" };
    match outcome {
        Outcome::NothingToDo(why) => format!("nothing to do: {why}"),
        Outcome::Now { slot, version, by_kexec } => {
            format!("reboots{} into {version} in slot {slot}", way(by_kexec))
        }
        Outcome::At { slot, version, time, by_kexec } => format!(
            "reboots{} into {version} in slot {slot} {}: somebody is logged in",
            way(by_kexec),
            until(*time, Timestamp::now())
        ),
        Outcome::Scheduled { kind, time } => {
            format!("a {kind} is scheduled already, {}", until(*time, Timestamp::now()))
        }
        Outcome::InWindow { window, time } => {
            format!("reboots in the window {window}, {}", until(*time, Timestamp::now()))
        }
    }
}

fn document(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::NothingToDo(why) => json!({"reboot": "nothing-to-do", "reason": why}),
        Outcome::Now { slot, version, by_kexec } => {
            json!({"reboot": "now", "slot": slot, "version": version, "kexec": by_kexec})
        }
        Outcome::At { slot, version, time, by_kexec } => json!({
            "reboot": "notice", "slot": slot, "version": version, "time": time, "kexec": by_kexec,
        }),
        Outcome::Scheduled { kind, time } => {
            json!({"reboot": "scheduled", "kind": kind, "time": time})
        }
        Outcome::InWindow { window, time } => {
            json!({"reboot": "window", "window": window, "time": time})
        }
    }
}
