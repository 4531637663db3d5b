// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a trial left is kept for people, by the trial itself or by the slot it fell back to.
//! Nothing depends on it (P8).

use super::Run;
use super::journal;
use super::situation::Situation;
use crate::host::Slot;
use crate::image::Digest;
use crate::report::trial_log::{self, Arming, Trial};

/// Keeps the journal of this boot, the trial of what the running slot holds, which is about to
/// end because of `reason`.
pub(super) fn keep_own(run: &Run, situation: &Situation, reason: &str) {
    let slot = situation.running_slot();
    let Some(digest) = slot.digest() else { return };
    let trial = Trial { digest, version: slot.version(), slot: situation.running, reason };
    trial_log::keep_own(&run.root, &run.durable, &trial, &situation.boot_id);
}

/// Keeps what the trial of `digest` left, which fell back to the running slot. `before`: the
/// situation before that was dealt with, whose journal says when it was armed.
pub(super) fn keep(run: &Run, before: &Situation, digest: Digest, version: &str, reason: &str) {
    let slot: Slot = before.target();
    let trial = Trial { digest, version, slot, reason };
    let of_trial = |entry: &&journal::Entry| entry.slot == slot && entry.digest == Some(digest);
    let arming = before.journal.as_ref().filter(of_trial);
    let arming = arming.map(|e| Arming { boot_id: e.boot_id.clone(), time: e.time });
    trial_log::keep(&run.root, &run.durable, &trial, arming.as_ref(), &before.boot_id);
}
