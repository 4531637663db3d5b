// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whom a promote is told to: this host's own programs, and the timer's run, where the way goes on.

use flipside_core::Host;

use super::{Run, status};
use crate::hooks::{self, Promoted, System};
use flipside_core::host::{Marker, Slot};

/// Tells the hooks of this host that `slot`, which runs, was promoted. Nothing is held meanwhile, and
/// whatever they do changes nothing about it.
pub fn notify_promoted(run: &Run, slot: Slot) {
    let status = status(run);
    let system = |slot: Slot| {
        let known = status.slots.iter().find(|known| known.slot == slot);
        System {
            slot,
            version: known.and_then(|known| known.version.clone()),
            digest: known.and_then(|known| known.digest),
        }
    };
    let promoted = Promoted {
        image: run.config.track.image.as_deref().unwrap_or_default().to_owned(),
        running: system(slot),
        other: system(slot.other()),
    };
    hooks::tell(&run.root, &run.config.policy.hooks, &promoted, &run.stop);
}

/// What `flipside-update.path` waits for.
const NEXT_STEP: Marker = Marker("next-step");

/// Lets the timer's run be made at once where what was promoted in `slot` is a step to something
/// else: the next run of the timer may be a day away, and so the target release as many days as there are steps.
pub fn trigger_next_run(run: &Run, slot: Slot) {
    let is_step = Host::open(&run.access()).is_ok_and(|host| {
        let host_state = host.and_then(|host| host.host_state().ok());
        let record = host_state.and_then(|s| s.slot(slot).record.clone());
        record.is_some_and(|record| record.towards.is_some())
    });
    // What comes after a step of a graph only its server knows.
    if !is_step && run.config.track.graph.is_none() {
        return;
    }
    start_timers_run(run);
}

/// Lets `flipside-update.path` start the timer's run.
pub(super) fn start_timers_run(run: &Run) {
    if let Err(error) = NEXT_STEP.set(&run.root) {
        let path = NEXT_STEP.path(&run.root);
        tracing::warn!("flipside goes on with the timer's next run: {}: {error}", path.display());
    }
}
