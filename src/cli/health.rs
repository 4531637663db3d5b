// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside health`.

use std::process::ExitCode;

use serde_json::json;

use super::output::fail_after_document;
use super::{Failure, Global, print, print_json, session};
use crate::codes;
use crate::health::{Answer, Importance};
use crate::report::journal::{Entry, Kind};
use crate::run::{self, FailedRun, Run};
use flipside_core::host::power::{self, Request};

/// Run the health checks of the system that has booted.
///
/// If a check in `health.d/required` fails, the boot has failed. In a trial, the image is then
/// recorded as failed and the machine reboots into the other slot at once. A check in
/// `health.d/wanted` only warns. A host without required checks is healthy as soon as it has
/// reached multi-user.target.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Asks the checks; in a failed trial, goes back.
///
/// # Errors
/// `health-failed` where a required check fails, and whatever kept them from being asked.
pub fn run(_: Args, global: &Global) -> super::Result {
    let run = session::open_shared(global)?;
    let Some(answers) = run::health(&run)? else {
        match global.json {
            true => print_json(&json!({"health": null, "answers": []}))?,
            false => print("nothing to do: no slots here, or track.image is not set")?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let failed = answers
        .iter()
        .find(|answer| answer.importance == Importance::Required && answer.failure.is_some());
    let reason = failed.map(sentence);
    let went_back = match &reason {
        Some(reason) => fail(&run, reason)?,
        None => None,
    };
    if global.json {
        let health = if reason.is_some() { "failed" } else { "good" };
        let failed_slot = went_back.as_ref().map(|trial| trial.slot);
        let document = json!({"health": health, "failed_trial": failed_slot, "answers": answers});
        print_json(&document)?;
    } else {
        answers.iter().try_for_each(|answer| print(line(answer)))?;
    }
    let Some(reason) = reason else { return Ok(ExitCode::SUCCESS) };
    let failure = match went_back {
        Some(failed) => reboot(&run, reason, &failed),
        None => Failure::error(codes::HEALTH_FAILED, reason),
    };
    fail_after_document(failure, global)
}

/// Leaves a trial that has failed.
fn reboot(run: &Run, reason: String, failed: &FailedRun) -> Failure {
    if let Err(error) = power::ask_for_reboot(&run.root, Request::Orderly) {
        return Failure::error(codes::REBOOT_FAILED, format!("{reason}; cannot reboot: {error}"));
    }
    let FailedRun { slot, version, back_to, .. } = failed;
    let more = format!("{version} in slot {slot} has failed its trial, slot {back_to} boots next");
    Failure::error(codes::HEALTH_FAILED, format!("{reason}: {more}"))
}

/// Records a trial as failed. The deadline still ends one that cannot be recorded.
fn fail(run: &Run, reason: &str) -> super::Result<Option<FailedRun>> {
    let failed = run::fail_trial(run, reason);
    run::finish_command(run, "health", failed.as_ref().err());
    let failed = failed?;
    if let Some(FailedRun { slot, digest, version, .. }) = &failed {
        let message = format!("{reason}: the trial of {version} in slot {slot} has failed");
        let entry = Entry::new(Kind::HealthCheckFailed, message).slot(*slot);
        entry.version(version).digest(*digest).code(codes::HEALTH_FAILED).send();
    }
    Ok(failed)
}

fn sentence(answer: &Answer) -> String {
    let why = answer.failure.as_deref().unwrap_or_default();
    match answer.path {
        Some(_) => format!("required health check {} {why}", answer.check),
        None => why.to_owned(),
    }
}

fn line(answer: &Answer) -> String {
    let (importance, check) = (answer.importance.name(), &answer.check);
    match &answer.failure {
        Some(why) => format!("{importance}  {check}  failed: {why}"),
        None if answer.said.is_empty() => format!("{importance}  {check}  good"),
        None => format!("{importance}  {check}  good: {}", answer.said),
    }
}
