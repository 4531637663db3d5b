// SPDX-License-Identifier: MIT OR Apache-2.0

//! Booting slots by UEFI boot entries, `BootOrder` and `BootNext`.
//!
//! At no point between two writes is the running slot's entry missing from `BootOrder` once
//! it stands there: an entry is made before it is listed, is unlisted before it is removed, and
//! the order changes in one write.

use super::{Backend, BootEntry, BootError, EntryKind, EntryName, Next, Nvram, SlotProof};
use crate::host::efi::entries::Entries;
use crate::host::efi::{
    BootNumber, BootOrder, EfiError, GLOBAL_VARIABLE, Keeper, Variables, boot_file_path, var_file,
};
use crate::host::esp::Esp;
use crate::slot::Slot;
use flipside_image::Architecture;
use flipside_image::efi::device_path::PartitionNode;
use flipside_image::efi::load_option::description;
use flipside_image::efi::short_form;

/// What a variable costs besides its data and name: the header of EDK2's authenticated
/// variable store (`AUTHENTICATED_VARIABLE_HEADER`).
const HEADER: u64 = 60;

/// Boots slots by the firmware's own boot manager.
#[derive(Debug, Clone)]
pub struct UefiBoot {
    variables: Variables,
    esp: PartitionNode,
    product_name: String,
    architecture: Architecture,
    /// The ESP's files, among which the one of the variables may be.
    files: Option<Esp>,
}

/// An entry to use, and others of the same slot that are in the way.
struct Chosen {
    number: BootNumber,
    superfluous: Vec<BootNumber>,
}

impl UefiBoot {
    /// With boot files on `esp`, and entries called `<product_name> A` and `B`.
    pub(crate) fn new(
        variables: Variables,
        esp: PartitionNode,
        product_name: &str,
        architecture: Architecture,
    ) -> Self {
        let product_name = product_name.to_owned();
        Self { variables, esp, product_name, architecture, files: None }
    }

    /// With `files` on that ESP, for firmware that has its variables kept there.
    #[must_use]
    pub(crate) fn with_files(mut self, files: Esp) -> Self {
        self.files = Some(files);
        self
    }

    /// The file that keeps the variables; `None` where the firmware does.
    fn variable_file(&self) -> Result<Option<(&Esp, String)>, BootError> {
        let not_kept = |why: &str| Err(EfiError::NotKept { why: why.to_owned() }.into());
        let name = match var_file::keeper(&self.variables)? {
            Keeper::Firmware => return Ok(None),
            Keeper::Nobody(why) => return not_kept(why),
            Keeper::File(name) => name,
        };
        let Some(files) = &self.files else { return not_kept("the ESP's files are not there") };
        match files.variable_file_fault(&name)? {
            None => Ok(Some((files, name))),
            Some(why) => not_kept(why),
        }
    }

    /// P4: what was changed is kept before the next step, also where an earlier run was cut off
    /// before it was. A step writes the file once, after its last change: the file has all of them
    /// or none, and a power cut in any writing of it costs every variable. Where nobody keeps it,
    /// an update was refused, and promote puts right what lasts until the next reset.
    fn keep(&self) -> Result<(), BootError> {
        match self.variable_file() {
            Ok(None) => Ok(()),
            Ok(Some((files, name))) => {
                Ok(files.write_variable_file(&name, &var_file::contents(&self.variables)?)?)
            }
            Err(BootError::Efi(error @ EfiError::NotKept { .. })) => {
                tracing::warn!("{error}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn read(&self) -> Result<Entries, EfiError> {
        Entries::read(&self.variables, &self.esp, self.architecture)
    }

    /// The data of an entry of `slot`.
    fn entry(&self, slot: Slot) -> Vec<u8> {
        let description = description(&self.product_name, &slot.to_string());
        short_form::encode(&description, &self.esp, boot_file_path(slot))
    }

    /// Makes an entry of `slot` right: the best one there is as it stands, rewritten in its
    /// place, or a new one.
    fn ensure_entry(&self, slot: Slot, entries: &Entries) -> Result<Chosen, EfiError> {
        let mut superfluous = entries.of_slot(slot);
        let number =
            if superfluous.is_empty() { entries.free_number()? } else { superfluous.remove(0) };
        if !entries.is_right(number) {
            let data = self.entry(slot);
            self.variables.write(&number.variable(), GLOBAL_VARIABLE, &data)?;
        }
        // Evidence of the running slot and what the next boot was reserved for are kept.
        superfluous.retain(|n| Some(*n) != entries.current && Some(*n) != entries.next);
        Ok(Chosen { number, superfluous })
    }

    fn write_order(&self, before: &BootOrder, after: &BootOrder) -> Result<(), EfiError> {
        // Duplicates alone are no reason to write.
        if before == after {
            return Ok(());
        }
        self.variables.write("BootOrder", GLOBAL_VARIABLE, &after.to_data())
    }

    /// Removes entries that the order does not list any more. Firmware would remove them in its
    /// time, and confuse us by which one (FIELD: efibootmgr#19); failing to is no failure.
    fn remove_entries(&self, numbers: &[BootNumber]) {
        for number in numbers {
            if let Err(error) = self.variables.remove(&number.variable(), GLOBAL_VARIABLE) {
                tracing::warn!("a superfluous boot entry stays: {error}");
            }
        }
    }

    /// What an update would write into NVRAM, in bytes.
    fn needed(&self, entries: &Entries) -> u64 {
        let cost = |name: &str, data: usize| {
            let name = name.len().saturating_add(1).saturating_mul(2);
            HEADER.saturating_add(name.saturating_add(data) as u64)
        };
        let mut needed = cost("BootNext", 2);
        let mut listed = entries.order.numbers().len();
        for slot in Slot::BOTH {
            let is_right = |n: &BootNumber| entries.is_right(*n) && entries.order.contains(*n);
            if !entries.of_slot(slot).iter().any(is_right) {
                listed = listed.saturating_add(1);
                let entry = self.entry(slot).len();
                needed = needed.saturating_add(cost("Boot0000", entry));
            }
        }
        needed.saturating_add(cost("BootOrder", listed.saturating_mul(2)))
    }
}

/// The order with `number` in the place of those that it replaces, where one of them comes
/// first: otherwise something of others might come to stand before it.
fn replaced(order: &BootOrder, number: BootNumber, superfluous: &[BootNumber]) -> BootOrder {
    let is_listed = superfluous.iter().any(|n| order.contains(*n));
    let order = order.clone();
    let order = if is_listed { order.with_before(number, superfluous) } else { order };
    order.without(superfluous)
}

fn next(entries: &Entries) -> Next {
    let Some(number) = entries.next else { return Next::Nothing };
    match entries.entries.get(&number) {
        None => Next::Nothing,
        Some(entry) => match entry.kind {
            EntryKind::Slot(slot) => Next::Slot(slot),
            _ => Next::Foreign { number, description: entry.description() },
        },
    }
}

fn refuse_foreign_next(entries: &Entries) -> Result<(), EfiError> {
    match next(entries) {
        Next::Foreign { number, description } => {
            Err(EfiError::BootNextTaken { number, description })
        }
        Next::Nothing | Next::Slot(_) => Ok(()),
    }
}

impl Backend for UefiBoot {
    fn check(&self, _running: Slot) -> Result<(), BootError> {
        self.variables.check_writable()?;
        self.variable_file()?;
        let entries = self.read()?;
        refuse_foreign_next(&entries)?;
        let needed = self.needed(&entries);
        match self.variables.room() {
            Some(room) if room.free < needed => {
                let dumps = self.variables.dumps();
                Err(EfiError::NoRoom { free: room.free, needed, dumps }.into())
            }
            _ => Ok(()),
        }
    }

    fn next(&self) -> Result<Next, BootError> {
        Ok(next(&self.read()?))
    }

    fn nvram(&self) -> Result<Nvram, BootError> {
        let entries = self.read()?;
        let has_entry = Slot::BOTH.into_iter().any(|slot| !entries.of_slot(slot).is_empty());
        // A number without an entry may have been one of flipside's.
        let is_missing = |number: &BootNumber| entries.kind(*number) == EntryKind::Missing;
        let has_number = entries.order.numbers().iter().any(is_missing);
        Ok(if has_entry || has_number { Nvram::Kept } else { Nvram::Lost })
    }

    fn first(&self) -> Result<Option<Slot>, BootError> {
        Ok(self.read()?.first())
    }

    fn secure(&self, running: Slot) -> Result<(), BootError> {
        let entries = self.read()?;
        let Chosen { number, superfluous } = self.ensure_entry(running, &entries)?;
        // P5: before the target's and the removable-media loader's; no further, because others
        // have their reasons to stand where they stand.
        let mut followers = entries.of_slot(running.other());
        followers.extend(entries.removable());
        let order = replaced(&entries.order, number, &superfluous).with_before(number, &followers);
        self.write_order(&entries.order, &order)?;
        self.remove_entries(&superfluous);
        self.keep()
    }

    fn add(&self, target: Slot, proof: SlotProof) -> Result<(), BootError> {
        let entries = self.read()?;
        let running = target.other();
        // P5: only behind a running slot that boots by itself.
        let leader = entries
            .of_slot(running)
            .into_iter()
            .find(|number| entries.is_right(*number) && entries.order.contains(*number))
            .ok_or(EfiError::EntryMissing { slot: running })?;
        let Chosen { number, superfluous } = self.ensure_entry(target, &entries)?;
        let mut order = replaced(&entries.order, number, &superfluous);
        let kept = entries.of_slot(target).into_iter().filter(|kept| order.contains(*kept));
        for number in kept.chain([number]).collect::<Vec<_>>() {
            order = match proof {
                SlotProof::Present => order.with_behind(number, leader),
                SlotProof::Absent => order.with_last(number),
            };
        }
        self.write_order(&entries.order, &order)?;
        self.remove_entries(&superfluous);
        self.keep()
    }

    fn arm(&self, target: Slot) -> Result<(), BootError> {
        self.variable_file()?;
        let entries = self.read()?;
        refuse_foreign_next(&entries)?;
        let number = entries
            .of_slot(target)
            .into_iter()
            // FIELD: rauc, fwupd: firmware deletes what BootOrder does not list.
            .find(|number| entries.is_right(*number) && entries.order.contains(*number))
            .ok_or(EfiError::EntryMissing { slot: target })?;
        self.variables.write("BootNext", GLOBAL_VARIABLE, &number.to_data())?;
        self.keep()
    }

    fn disarm(&self, target: Slot) -> Result<(), BootError> {
        match self.next()? {
            Next::Slot(slot) if slot == target => {
                self.variables.remove("BootNext", GLOBAL_VARIABLE)?;
            }
            _ => {}
        }
        self.keep()
    }

    fn set_default(&self, slot: Slot, proof: SlotProof) -> Result<(), BootError> {
        let entries = self.read()?;
        let front = self.ensure_entry(slot, &entries)?;
        let mut superfluous = front.superfluous;
        let other = slot.other();
        let back = if entries.of_slot(other).is_empty() || proof == SlotProof::Absent {
            None
        } else {
            let back = self.ensure_entry(other, &entries)?;
            superfluous.extend(back.superfluous);
            Some(back.number)
        };
        let mut group = entries.removable();
        Slot::BOTH.iter().for_each(|slot| group.extend(entries.of_slot(*slot)));
        let order =
            entries.order.clone().with_preferred(front.number, back, &group).without(&superfluous);
        self.write_order(&entries.order, &order)?;
        self.remove_entries(&superfluous);
        self.keep()
    }

    fn boots_without_loader(&self, running: Slot) -> Result<bool, BootError> {
        let entries = self.read()?;
        let of_running = entries.of_slot(running);
        // By its own entry: this firmware keeps what it was told over a reset.
        let booted_so = entries.current.is_some_and(|number| of_running.contains(&number));
        let is_listed = |n: &BootNumber| entries.is_right(*n) && entries.order.contains(*n);
        Ok(booted_so && of_running.iter().any(is_listed) && self.first()? == Some(running))
    }

    fn order(&self) -> Result<Vec<BootEntry>, BootError> {
        let entries = self.read()?;
        let listed = entries.order.numbers().iter().copied();
        let unlisted = Slot::BOTH.into_iter().flat_map(|slot| entries.of_slot(slot));
        let unlisted = unlisted.filter(|number| !entries.order.contains(*number));
        let entry = |number| {
            let entry = entries.entries.get(&number);
            BootEntry {
                name: EntryName::Number(number),
                description: entry.map_or_else(String::new, |entry| entry.description()),
                kind: entries.kind(number),
                is_active: entry.is_some_and(|entry| entry.is_bootable()),
                is_listed: entries.order.contains(number),
            }
        };
        Ok(listed.chain(unlisted).map(entry).collect())
    }
}
