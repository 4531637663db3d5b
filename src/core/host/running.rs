// SPDX-License-Identifier: MIT OR Apache-2.0

//! What tells which slot runs (P1).

use std::path::Path;

use super::cmdline::{self, CommandLine};
use super::disk::Disk;
use super::error::HostError;
use super::lower_devices::{Side, devices_behind};
use super::mounts::{self, real_path};
use super::partition::Partition;
use super::protected::Protected;
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

/// What says which slot runs, and what must not be written because it may.
#[derive(Debug, Clone)]
pub struct Facts {
    /// In order: the device, the initrd, kexec, firmware and loader.
    pub evidence: Vec<Evidence>,
    /// The partitions behind `/` and `/usr`.
    pub protected: Protected,
}

/// Reads the facts. `told` is what firmware and boot loader say, each a fact with the slot it names;
/// it is passed over where a kexec left it behind.
///
/// # Errors
/// What cannot be read, and those of [`Disk::identity`].
pub fn facts(
    root: &Root,
    disk: &Disk,
    config: &HostConfig,
    told: Vec<(String, Option<Slot>)>,
) -> Result<Facts, HostError> {
    let command_line = cmdline::read(root)?;
    let mut protected = Protected::default();
    let mut evidence = Vec::new();
    for (fact, partition) in device_facts(root, disk, &command_line)? {
        protected.add(disk.identity(partition)?);
        evidence.push(Evidence { fact, slot: disk.slot_of(config, partition) });
    }
    evidence.extend(initrd_fact(root));
    let by_kexec = kexec_facts(&command_line);
    let told = if by_kexec.is_empty() { told } else { Vec::new() };
    evidence.extend(by_kexec);
    evidence.extend(told.into_iter().map(|(fact, slot)| Evidence { fact, slot }));
    Ok(Facts { evidence, protected })
}

/// The partitions of `disk` behind `/` and `/usr`.
fn device_facts<'a>(
    root: &Root,
    disk: &'a Disk,
    command_line: &CommandLine,
) -> Result<Vec<(String, &'a Partition)>, HostError> {
    let mut facts = Vec::new();
    let path = root.path("proc/self/mountinfo");
    if let Some(mounts) = mounts::read(root).map_err(HostError::io("read", path))? {
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
    let Some(mounts) = mounts::read(root).map_err(HostError::io("read", path))? else {
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
