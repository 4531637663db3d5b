// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boot entries that stand in NVRAM, read at once and recognised by their device
//! paths.

use std::collections::{BTreeMap, BTreeSet};

use super::variables::{GLOBAL_VARIABLE, Variables};
use super::{BootNumber, BootOrder};
use super::{EfiError, boot_file_path};
use crate::host::Slot;
use flipside_image::Architecture;
use flipside_image::efi::device_path::{self, FilePath, PartitionNode, Target};
use flipside_image::efi::load_option::LoadOption;
use flipside_image::efi::{short_form, text};
use serde::Serialize;

/// What a boot entry is to flipside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A slot's boot file.
    Slot(Slot),
    /// The removable-media loader of this host's ESP, or one of several places, of which one is that
    /// loader or a slot's boot file, or such a boot file on whichever partition has it.
    Removable,
    /// Something of others.
    Foreign,
    /// A number in the order without an entry.
    Missing,
}

impl EntryKind {
    /// Whether it boots something of this host's ESP.
    const fn is_ours(self) -> bool {
        matches!(self, Self::Slot(_) | Self::Removable)
    }
}

/// An entry whose variable exists.
#[derive(Debug)]
pub(in crate::host) struct Entry {
    /// `None` where the variable is malformed.
    pub option: Option<LoadOption>,
    pub target: Target,
    pub kind: EntryKind,
    /// Whether its path is as flipside writes it, which all firmware understands, and both readings
    /// of it agree.
    is_confirmed: bool,
}

impl Entry {
    fn read(data: &[u8], esp: &PartitionNode, architecture: Architecture) -> Self {
        let option = LoadOption::parse(data);
        let path = option.as_ref().map_or(&[][..], |option| &option.path);
        let (targets, target) = (device_path::targets(path), device_path::target(path));
        let kind = match kind(&target, esp, architecture) {
            // Firmware may take an instance of its path that leads here, and boot by it.
            EntryKind::Foreign if targets.iter().any(|t| kind(t, esp, architecture).is_ours()) => {
                EntryKind::Removable
            }
            kind => kind,
        };
        Self { option, target, kind, is_confirmed: short_form::confirmed(data).is_some() }
    }

    /// What it calls itself, fit for a terminal.
    pub fn description(&self) -> String {
        self.option.as_ref().map_or_else(String::new, |o| text::printable(&o.description))
    }

    pub fn is_bootable(&self) -> bool {
        self.option.as_ref().is_some_and(LoadOption::is_bootable)
    }

    /// Whether a slot's entry is as it has to be. Any other path to the boot file is rewritten: EDK2
    /// starts nothing whose path has several instances, and other firmware the one that it likes.
    /// The description is not worth a write.
    fn is_right(&self, esp: &PartitionNode) -> bool {
        let is_here =
            matches!(&self.target, Target::Partition { partition, .. } if partition == esp);
        let command_line = self.option.as_ref().is_some_and(LoadOption::has_command_line);
        is_here && self.is_confirmed && self.is_bootable() && !command_line
    }
}

fn kind(target: &Target, esp: &PartitionNode, architecture: Architecture) -> EntryKind {
    let (partition, file) = match target {
        Target::Partition { partition, file } => (partition, file),
        // It says no partition, but nobody else has files of these names.
        Target::File(file) if slot_of(file).is_some() => return EntryKind::Removable,
        _ => return EntryKind::Foreign,
    };
    if partition.uuid != esp.uuid {
        return EntryKind::Foreign;
    }
    let Some(file) = file else { return EntryKind::Removable };
    if *file == FilePath::new(format!("EFI\\BOOT\\{}", architecture.removable_media_file())) {
        return EntryKind::Removable;
    }
    slot_of(file).map_or(EntryKind::Foreign, EntryKind::Slot)
}

/// The slot whose boot file this is.
pub(in crate::host) fn slot_of(file: &FilePath) -> Option<Slot> {
    Slot::BOTH.into_iter().find(|slot| *file == FilePath::new(boot_file_path(*slot)))
}

/// All that NVRAM says about booting.
#[derive(Debug)]
pub(in crate::host) struct Entries {
    pub order: BootOrder,
    pub entries: BTreeMap<BootNumber, Entry>,
    pub next: Option<BootNumber>,
    pub current: Option<BootNumber>,
    taken: BTreeSet<BootNumber>,
    esp: PartitionNode,
}

impl Entries {
    pub fn read(
        variables: &Variables,
        esp: &PartitionNode,
        architecture: Architecture,
    ) -> Result<Self, EfiError> {
        let data = |name: &str| -> Result<Option<Vec<u8>>, EfiError> {
            Ok(variables.read(name, GLOBAL_VARIABLE)?.map(|variable| variable.data))
        };
        let mut entries = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for name in variables.names(GLOBAL_VARIABLE)? {
            taken.extend(BootNumber::from_any_case(&name));
            let Some(number) = BootNumber::from_variable(&name) else { continue };
            match data(&name) {
                Ok(None) => {}
                Ok(Some(data)) => {
                    entries.insert(number, Entry::read(&data, esp, architecture));
                }
                // One entry that the firmware cannot give is no reason to give up all others.
                Err(error) => {
                    tracing::warn!("a boot entry counts as one of others: {error}");
                    entries.insert(number, Entry::read(&[], esp, architecture));
                }
            }
        }
        let order = BootOrder::parse(&data("BootOrder")?.unwrap_or_default());
        let number = |name| Ok(data(name)?.and_then(|data| BootNumber::from_data(&data)));
        let (next, current) = (number("BootNext")?, number("BootCurrent")?);
        taken.extend(order.numbers());
        taken.extend(next);
        // A new entry under this number would be taken for what booted this host.
        taken.extend(current);
        Ok(Self { order, entries, next, current, taken, esp: *esp })
    }

    fn numbers(&self, is_wanted: impl Fn(&Entry) -> bool) -> Vec<BootNumber> {
        self.entries.iter().filter(|(_, entry)| is_wanted(entry)).map(|(n, _)| *n).collect()
    }

    pub fn kind(&self, number: BootNumber) -> EntryKind {
        self.entries.get(&number).map_or(EntryKind::Missing, |entry| entry.kind)
    }

    pub fn is_right(&self, number: BootNumber) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.is_right(&self.esp))
    }

    /// The entries of `slot`, the best one first: one that needs no write, then the one that
    /// booted this host, then by their place in the order.
    pub fn of_slot(&self, slot: Slot) -> Vec<BootNumber> {
        let mut numbers = self.numbers(|entry| entry.kind == EntryKind::Slot(slot));
        numbers.sort_by_key(|number| {
            let place = self.order.position(*number).unwrap_or(usize::MAX);
            (!self.is_right(*number), self.current != Some(*number), place, *number)
        });
        numbers
    }

    /// The entries by which this ESP's removable-media loader boots. The firmware's entry for a
    /// whole disk counts where this host was booted by it: of the others nobody knows
    /// which disk they name.
    pub fn removable(&self) -> Vec<BootNumber> {
        let mut numbers = self.numbers(|entry| entry.kind == EntryKind::Removable);
        numbers.extend(self.current.filter(|current| {
            self.entries.get(current).is_some_and(|entry| entry.target == Target::Device)
        }));
        numbers
    }

    /// The lowest number that nobody uses. Not 0, which other boot loaders overwrite, unless it is
    /// the only one left.
    pub fn free_number(&self) -> Result<BootNumber, EfiError> {
        (1..=u16::MAX)
            .chain([0])
            .map(BootNumber)
            .find(|number| !self.taken.contains(number))
            .ok_or(EfiError::NumbersExhausted)
    }
}
