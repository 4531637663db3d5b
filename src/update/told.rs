// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whom a promote is told to: this host's own programs.

use super::{Run, status};
use crate::host::Slot;
use crate::policy::hooks::{self, Promoted, System};

/// Tells the hooks of this host that `slot`, which runs, was promoted. Nothing is held meanwhile, and
/// whatever they do changes nothing about it.
pub fn tell_promoted(run: &Run, slot: Slot) {
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
        image: run.config.track.image.clone().unwrap_or_default(),
        running: system(slot),
        other: system(slot.other()),
    };
    hooks::tell(&run.root, &run.config.policy.hooks, &promoted, &run.stop);
}
