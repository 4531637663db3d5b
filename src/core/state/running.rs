// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which slot runs (P1). The device behind `/` or `/usr` decides; what else speaks has to agree.

use crate::host::disk::{Disk, payloads};
use crate::host::protected::Protected;
use crate::host::running::{Evidence, Facts, facts};
use crate::host::{HostError, Root};
use crate::settings::HostConfig;
use crate::slot::Slot;

/// The running slot.
#[derive(Debug, Clone)]
pub struct Running {
    /// Which it is.
    pub slot: Slot,
    /// How it is known, the deciding fact first.
    pub evidence: Vec<Evidence>,
    /// What of the disk must not be written.
    pub protected: Protected,
}

/// Finds out which slot runs. `told` is what firmware and boot loader say, each a fact with the slot
/// it names.
///
/// # Errors
/// `running-slot-unclear` where two facts clash, `running-slot-unknown` where none names a
/// slot, and those of [`Disk::by_label`].
pub fn determine(
    root: &Root,
    disk: &Disk,
    config: &HostConfig,
    told: Vec<(String, Option<Slot>)>,
) -> Result<Running, HostError> {
    let Facts { mut evidence, mut protected } = facts(root, disk, config, told)?;
    let slot = agreed(&evidence)?;
    for (_, labels) in payloads(config) {
        protected.add(disk.identity(disk.by_label(labels.of(slot))?)?);
    }
    // The deciding fact first; a stable sort keeps the rest in order.
    evidence.sort_by_key(|evidence| evidence.slot.is_none());
    Ok(Running { slot, evidence, protected })
}

/// The slot that all facts name that name one.
fn agreed(evidence: &[Evidence]) -> Result<Slot, HostError> {
    let mut naming = evidence.iter().filter_map(|e| e.slot.map(|slot| (e, slot)));
    let Some((decider, slot)) = naming.next() else {
        let heard: Vec<&str> = evidence.iter().map(|e| e.fact.as_str()).collect();
        let heard = (!heard.is_empty()).then(|| heard.join("; "));
        return Err(HostError::RunningSlotUnknown { heard });
    };
    match naming.find(|(_, other)| *other != slot) {
        None => Ok(slot),
        Some((clash, other)) => Err(HostError::RunningSlotUnclear {
            one: format!("{} (slot {slot})", decider.fact),
            other: format!("{} (slot {other})", clash.fact),
        }),
    }
}

#[cfg(test)]
mod tests;
