// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which slot runs (P1). The device behind `/` or `/usr` decides; what else
//! speaks has to agree.

use std::path::Path;

use super::cmdline::CommandLine;
use super::disk::{Disk, payloads};
use super::error::HostError;
use super::mounts::{Mounts, real_path};
use super::partition::{Identity, Partition};
use super::stack::{Side, devices_behind};
use super::{Root, Slot};
use crate::settings::HostConfig;

/// What says which slot runs. A fact that names no slot is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The fact, for people: `the device behind / is vda2 (system-a)`.
    pub fact: String,
    /// The slot it names.
    pub slot: Option<Slot>,
}

/// The running slot.
#[derive(Debug, Clone)]
pub struct Running {
    /// Which it is.
    pub slot: Slot,
    /// How it is known, the deciding fact first.
    pub evidence: Vec<Evidence>,
    protected: Vec<Identity>,
}

impl Running {
    /// Whether `identity` is any of what runs: writing to it is what P1 forbids.
    pub fn protects(&self, identity: &Identity) -> bool {
        self.protected.iter().any(|protected| protected.overlaps(identity))
    }

    #[cfg(test)]
    pub(super) fn protect(&mut self, identity: Identity) {
        self.protected.push(identity);
    }
}

/// Finds out which slot runs. `told` is what firmware and boot loader say, each a
/// fact with the slot it names; it is passed over where a kexec left it behind.
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
    let command_line = CommandLine::read(root)?;
    let mut protected = Vec::new();
    let mut evidence = Vec::new();
    for (fact, partition) in device_facts(root, disk, &command_line)? {
        protected.push(disk.identity(partition)?);
        evidence.push(Evidence { fact, slot: disk.slot_of(config, partition) });
    }
    evidence.extend(initrd_fact(root));
    let by_kexec = kexec_facts(&command_line);
    let told = if by_kexec.is_empty() { told } else { Vec::new() };
    evidence.extend(by_kexec);
    evidence.extend(told.into_iter().map(|(fact, slot)| Evidence { fact, slot }));

    let slot = agreed(&evidence)?;
    for (_, labels) in payloads(config) {
        protected.push(disk.identity(disk.by_label(labels.of(slot))?)?);
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

/// The partitions of `disk` behind `/` and `/usr`.
fn device_facts<'a>(
    root: &Root,
    disk: &'a Disk,
    command_line: &CommandLine,
) -> Result<Vec<(String, &'a Partition)>, HostError> {
    let mut facts = Vec::new();
    let path = root.path("proc/self/mountinfo");
    if let Some(mounts) = Mounts::read(root).map_err(HostError::io("read", path))? {
        for point in ["/", "/usr"] {
            let Some(mount) = mounts.at(point.as_ref()) else { continue };
            for device in devices_behind(root, &mounts, mount, Side::Read) {
                if let Some(partition) = disk.partition_of(&device) {
                    let (name, label) = (device.name(), &partition.label);
                    facts.push((
                        format!("the device behind {point} is {name} ({label})"),
                        partition,
                    ));
                }
            }
        }
    }
    // A host in a directory has nothing mounted; there the command line is the device.
    if !root.is_live() {
        for (point, key) in [("/", "root"), ("/usr", "usr"), ("/usr", "mount.usr")] {
            let Some(value) = command_line.last(key) else { continue };
            if let Some(partition) = named_partition(disk, value) {
                facts.push((format!("the device behind {point} is {value}"), partition));
            }
        }
    }
    Ok(facts)
}

/// The partition that `root=` names by UUID or label.
fn named_partition<'a>(disk: &'a Disk, value: &str) -> Option<&'a Partition> {
    let by_uuid = |text: &str| disk.by_uuid(text.parse().ok()?);
    if let Some(uuid) =
        value.strip_prefix("PARTUUID=").or_else(|| value.strip_prefix("/dev/disk/by-partuuid/"))
    {
        return by_uuid(uuid);
    }
    let label = value
        .strip_prefix("PARTLABEL=")
        .or_else(|| value.strip_prefix("/dev/disk/by-partlabel/"))?;
    disk.by_label(label).ok()
}

/// The slot whose partitions the initrd of this boot gave their names. What / stands on may be
/// hidden: an overlay shows paths from before the root was switched.
fn initrd_fact(root: &Root) -> Option<Evidence> {
    let text = std::fs::read_to_string(root.path("run/flipside/boot/slot")).ok()?;
    let slot: Slot = text.trim_end().parse().ok()?;
    Some(Evidence {
        fact: format!("the initrd says that slot {slot} was booted"),
        slot: Some(slot),
    })
}

/// `flipside.slot=` was put there by the kexec that started this system. Loader variables
/// survive kexec and name the slot before it.
fn kexec_facts(command_line: &CommandLine) -> Vec<Evidence> {
    command_line
        .all("flipside.slot")
        .map(|value| Evidence {
            fact: format!("the command line says flipside.slot={value}"),
            slot: value.parse().ok(),
        })
        .collect()
}

/// P8: checks that the state directory is on no slot's partition, where the next
/// update would overwrite it. `directory` is absolute on the host.
///
/// # Errors
/// `state-inside-slot`; what is mounted cannot be read.
pub fn state_directory_is_outside_slots(
    root: &Root,
    disk: &Disk,
    config: &HostConfig,
    directory: &Path,
) -> Result<(), HostError> {
    let path = root.path("proc/self/mountinfo");
    let Some(mounts) = Mounts::read(root).map_err(HostError::io("read", path))? else {
        return Ok(());
    };
    let real = real_path(root, directory);
    let Some(mount) = mounts.holding(&real) else { return Ok(()) };
    for device in devices_behind(root, &mounts, mount, Side::Write) {
        let Some(partition) = disk.partition_of(&device) else { continue };
        if let Some(slot) = disk.slot_of(config, partition) {
            return Err(HostError::StateInsideSlot {
                directory: directory.to_owned(),
                label: partition.label.clone(),
                slot,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
