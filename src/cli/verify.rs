// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside verify`.

use std::process::ExitCode;

use serde_json::json;

use super::{Global, exit, print, print_json, progress, session};
use crate::report::{ReportError, Status, named};
use crate::run::{self, SlotContents};
use flipside_core::host::Slot;
use flipside_image::printable;

/// Compare the content of both slots with their recorded hashes.
///
/// Reads every chunk from the disk. Exit status: 1 if a slot is damaged.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Verify only the slot with this image: its version, or at least the first 8 digits of its
    /// digest.
    #[arg(value_name = "VERSION|DIGEST", conflicts_with = "slot")]
    image: Option<String>,
    /// Verify only this slot, a or b.
    #[arg(long)]
    slot: Option<Slot>,
}

/// Verifies. Exit status 1 where a slot is damaged.
///
/// # Errors
/// Whatever keeps a slot from being read.
pub fn run(args: Args, global: &Global) -> super::Result {
    let mut run = session::open(global, false)?;
    // Only a question: the status that others see stays as it is.
    run.progress = progress::of(global);
    let slots = match (args.slot, args.image) {
        (Some(slot), _) => vec![slot],
        (None, Some(name)) => holding(&name, &run::status(&run))?,
        (None, None) => Slot::BOTH.to_vec(),
    };
    let verdicts = run::verify(&run, &slots)?;
    let is_damaged = verdicts.iter().any(|(_, v)| matches!(v, SlotContents::Damaged(_)));
    if global.json {
        let documents: Vec<_> = verdicts.iter().map(|(slot, v)| document(*slot, v)).collect();
        print_json(&documents)?;
    } else if verdicts.is_empty() {
        print("nothing to verify: no slots are recognised on this host")?;
    } else {
        for (slot, verdict) in &verdicts {
            print(format!("slot {slot}    {}", sentence(verdict)))?;
        }
    }
    Ok(ExitCode::from(if is_damaged { exit::FAILED } else { exit::DONE }))
}

/// The slots that hold the image called `name`.
fn holding(name: &str, status: &Status) -> Result<Vec<Slot>, ReportError> {
    let digest = named::find(name, status)?;
    let slots = status.slots.iter().filter(|slot| slot.digest == Some(digest));
    let slots: Vec<Slot> = slots.map(|slot| slot.slot).collect();
    match slots.is_empty() {
        true => Err(ReportError::ImageUnknown { what: printable::line(name, 100) }),
        false => Ok(slots),
    }
}

fn sentence(verdict: &SlotContents) -> String {
    match verdict {
        SlotContents::Whole => "whole".to_owned(),
        SlotContents::Damaged(payloads) => format!("damaged: {}", payloads.join(", ")),
        SlotContents::Unverifiable(why) => format!("cannot be verified: {why}"),
        SlotContents::Empty => "empty".to_owned(),
    }
}

fn document(slot: Slot, verdict: &SlotContents) -> serde_json::Value {
    match verdict {
        SlotContents::Whole => json!({"slot": slot, "verdict": "whole"}),
        SlotContents::Damaged(payloads) => {
            json!({"slot": slot, "verdict": "damaged", "payloads": payloads})
        }
        SlotContents::Unverifiable(why) => {
            json!({"slot": slot, "verdict": "unverifiable", "reason": why})
        }
        SlotContents::Empty => json!({"slot": slot, "verdict": "empty"}),
    }
}
