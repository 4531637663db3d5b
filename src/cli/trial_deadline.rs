// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside trial-deadline`.

use std::process::ExitCode;

use flipside_core::trial::TrialBoot;
use serde_json::json;

use super::output::fail_after_document;
use super::signals::stop_on_signals;
use super::{Failure, Global, exit, print, print_json, progress};
use crate::codes;
use crate::run::deadline::{Deadline, Ended};

/// Reboot if a trial is not promoted in time (started by systemd).
///
/// Exits if this boot is not a trial. It is a trial if the running slot is not flipside's first in
/// the boot order, or is first only because the firmware moved it there. In a trial, waits until
/// `trial.deadline` has passed since the boot. Then it records the image as failed, if the EFI
/// system partition can be reached, and reboots, also from emergency mode. It does not reboot if
/// that partition shows that the running slot has proved itself, or that the other slot cannot
/// boot. With `--root` it neither waits nor reboots.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Ends a trial that is late.
///
/// # Errors
/// What cannot be read; the reboot fails.
pub fn run(_: Args, global: &Global) -> super::Result {
    let deadline = Deadline {
        root: global.root.clone(),
        progress: progress::of(global),
        stop: stop_on_signals()?,
    };
    match deadline.watch()? {
        Ended::NoTrial => done(global, "nothing-to-do", None),
        Ended::Stopped(trial) => done(global, "stopped", trial),
        Ended::Promoted(trial) => done(global, "promoted", trial),
        Ended::Stays(trial) => done(global, "stays", Some(trial)),
        Ended::Late(trial) => {
            done(global, "rebooting", Some(trial))?;
            match deadline.reboot() {
                Ok(()) => Ok(ExitCode::from(exit::DONE)),
                Err(error) => {
                    let message = format!("cannot reboot: {error}");
                    fail_after_document(Failure::error(codes::REBOOT_FAILED, message), global)
                }
            }
        }
    }
}

fn done(global: &Global, outcome: &str, trial: Option<TrialBoot>) -> super::Result {
    let (running, back_to) = (trial.map(|t| t.running), trial.map(|t| t.back_to));
    if global.json {
        print_json(&json!({"outcome": outcome, "slot": running, "back_to": back_to}))?;
        return Ok(ExitCode::SUCCESS);
    }
    match (outcome, trial) {
        ("rebooting", Some(TrialBoot { running, back_to })) => {
            print(format!("slot {running} was not promoted in time: back to slot {back_to}"))?;
        }
        ("stays", Some(TrialBoot { running, .. })) => {
            print(format!("slot {running} stays: a reboot leads back to it"))?;
        }
        ("nothing-to-do", _) => print("nothing to do: this boot is no trial")?,
        _ => print("the trial has ended before its deadline")?,
    }
    Ok(ExitCode::SUCCESS)
}
