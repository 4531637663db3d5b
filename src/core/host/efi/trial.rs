// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which slot runs and which comes first, by firmware variables alone: for a system that may have
//! nothing mounted.

use uuid::Uuid;

use super::BootNumber;
use super::EfiError;
use super::entries::{Entries, EntryKind, slot_of};
use super::evidence::{esp_hint, loader_text};
use super::variables::{GLOBAL_VARIABLE, Variables};
use crate::host::Slot;
use flipside_image::Architecture;
use flipside_image::efi::device_path::{self, FilePath, PartitionNode, Target};
use flipside_image::efi::load_option::LoadOption;

/// What the variables say of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootFacts {
    /// The slot that was booted; `None` where no variable names one, or two name different ones.
    pub running: Option<Slot>,
    /// The first of flipside's slots in `BootOrder`.
    pub first: Option<Slot>,
    /// The slot whose entry systemd-boot counted this boot of, which it does for trials only.
    pub counted: Option<Slot>,
}

/// Reads them.
///
/// # Errors
/// [`EfiError::Read`].
pub fn boot_facts(
    variables: &Variables,
    architecture: Architecture,
) -> Result<BootFacts, EfiError> {
    let current = current(variables)?;
    let counted = loader_text(variables, "LoaderBootCountPath")?;
    let counted = counted.and_then(|path| slot_of_entry(path.rsplit(['\\', '/']).next()?));
    let esp = match (esp_hint(variables)?, &current) {
        (Some(hint), _) => hint,
        (None, Some((partition, _))) => *partition,
        (None, None) => return Ok(BootFacts { running: None, first: None, counted }),
    };
    let is_here = |(partition, slot): (Uuid, Option<Slot>)| slot.filter(|_| partition == esp);
    let by_firmware = current.and_then(is_here);
    let by_file = |name: &str| -> Result<Option<Slot>, EfiError> {
        Ok(loader_text(variables, name)?.and_then(|path| slot_of(&FilePath::new(path))))
    };
    let mut named = Vec::new();
    named.extend(by_file("StubImageIdentifier")?);
    named.extend(by_firmware);
    // They stay where what they tell of did not start and the firmware went on to an entry of its own.
    if by_firmware.is_none() {
        named.extend(by_file("LoaderImageIdentifier")?);
        let selected = loader_text(variables, "LoaderEntrySelected")?;
        named.extend(selected.and_then(|id| slot_of_entry(&id)));
    }
    let running = named.first().copied().filter(|slot| named.iter().all(|other| other == slot));
    // Of the node only the GUID tells one partition from another.
    let node = PartitionNode { number: 0, start_lba: 0, size_lba: 0, uuid: esp };
    let entries = Entries::read(variables, &node, architecture)?;
    Ok(BootFacts { running, first: entries.first(), counted })
}

/// The slot of a loader entry of flipside's, by its name: `flipside-b.conf`, and with the tries
/// that systemd-boot counts, `flipside-b+1-0.conf`.
fn slot_of_entry(id: &str) -> Option<Slot> {
    let rest = id.strip_prefix("flipside-")?;
    let letter = rest.split(['.', '+']).next()?;
    letter.parse().ok()
}

/// The ESP, and the slot where it is one's boot file, of the entry that booted this system.
fn current(variables: &Variables) -> Result<Option<(Uuid, Option<Slot>)>, EfiError> {
    let read = |name: &str| variables.read(name, GLOBAL_VARIABLE);
    let number = read("BootCurrent")?.and_then(|variable| BootNumber::from_data(&variable.data));
    let entry = number.map(|number| read(&number.variable())).transpose()?.flatten();
    let option = entry.and_then(|entry| LoadOption::parse(&entry.data));
    Ok(option.and_then(|option| match device_path::target(&option.path) {
        Target::Partition { partition, file } => {
            Some((partition.uuid, file.as_ref().and_then(slot_of)))
        }
        _ => None,
    }))
}

impl Entries {
    /// The slot that the order boots first, of the two.
    pub(in crate::host) fn first(&self) -> Option<Slot> {
        self.order.numbers().iter().find_map(|number| {
            let entry = self.entries.get(number)?;
            match entry.kind {
                EntryKind::Slot(slot) if entry.is_bootable() => Some(slot),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_known_by_their_names() {
        for (id, slot) in [
            ("flipside-a.conf", Some(Slot::A)),
            ("flipside-b", Some(Slot::B)),
            ("flipside-b+2-1.conf", Some(Slot::B)),
            ("flipside-c.conf", None),
            ("other-a.conf", None),
            ("auto-windows", None),
        ] {
            assert_eq!(slot_of_entry(id), slot, "{id}");
        }
    }
}
