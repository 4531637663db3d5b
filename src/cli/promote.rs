// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside promote`.

use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Global, print_json, session};
use crate::run::{self, Promotion};

/// Make the running slot permanent, because it has proved itself.
///
/// From now on it boots before the other slot. Run this after a successful boot;
/// flipside-promote.service does. It may run again at any time. It also counts a trial that fell back, and repairs boot entries that the firmware has changed.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Promotes what runs, counts a trial that fell back, repairs what the firmware changed.
///
/// # Errors
/// Whatever stopped it.
pub fn run(_: Args, global: &Global) -> super::Result {
    let run = session::open_shared(global)?;
    let result = run::promote(&run);
    run::finish_command(&run, "promote", result.as_ref().err());
    let promotion = result?;
    if let Promotion::Promoted(slot) = promotion {
        run::notify_promoted(&run, slot);
        run::trigger_next_run(&run, slot);
    }
    let (name, slot, text) = describe(&promotion);
    if global.json {
        print_json(&json!({"promotion": name, "slot": slot}))?;
    } else {
        print_done(text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(promotion: &Promotion) -> (&'static str, Option<flipside_core::host::Slot>, String) {
    match promotion {
        Promotion::NotAHost => (
            "nothing-to-do",
            None,
            "nothing to do: no slots here, or track.image is not set".to_owned(),
        ),
        Promotion::Promoted(slot) => {
            let other = slot.other();
            let text = format!("slot {slot} has proved itself and boots before slot {other}");
            ("promoted", Some(*slot), text)
        }
        Promotion::RolledBack(slot) => {
            let text = format!("rolled back: slot {slot} boots before slot {} again", slot.other());
            ("rolled-back", Some(*slot), text)
        }
        Promotion::Unchanged(slot) => {
            ("unchanged", Some(*slot), format!("slot {slot} was proven before"))
        }
        Promotion::FellBack { to, failed, version } => {
            let more = match failed {
                true => "it is not tried again by itself",
                false => "it will be tried again",
            };
            let text = format!("{version} was started and never promoted: slot {to} runs; {more}");
            ("fell-back", Some(*to), text)
        }
        Promotion::Restored(slot) => (
            "promotion-lost",
            Some(*slot),
            format!(
                "the firmware undid the promotion of slot {slot}; it boots before slot {} again",
                slot.other()
            ),
        ),
        Promotion::ByKexec => {
            ("by-kexec", None, "started by kexec: the next firmware boot is the trial".to_owned())
        }
    }
}
