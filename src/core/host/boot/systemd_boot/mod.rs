// SPDX-License-Identifier: MIT OR Apache-2.0

//! Booting slots by systemd-boot as the removable-media loader, for firmware whose `BootNext`
//! cannot be trusted. NVRAM is never written, and need not be there.
//!
//! Each slot has its own entry, which never counts; the one that is preferred sorts first. A
//! trial is one file more, `flipside-b+1.conf`, which sorts before both: arming writes it,
//! disarming removes it. systemd-boot renames it to `flipside-b+0-1.conf` before it starts it,
//! and sorts it last from then on. The slots' own entries are not touched by any of that, so
//! whatever becomes of the rename, the preferred slot is what boots next, or the trial once more.

use super::{Backend, BootEntry, BootError, EntryKind, EntryName, Next, Nvram, SlotProof};
use crate::host::efi::{Variables, evidence};
use crate::host::esp::{BootFileState, Esp, Stored};
use crate::slot::Slot;

/// Sort keys, and used up entries last, are what systemd 252 does; that one was tested.
const OLDEST: u32 = 252;

/// Where an entry is chosen, and what lifts that.
type Choice = (&'static str, &'static str);

const PREFERRED_VARIABLE: Choice =
    ("the firmware variable LoaderEntryPreferred", "`bootctl set-preferred \"\"` removes it");
const PREFERRED_LINE: Choice = ("`preferred` in loader/loader.conf", "remove that line");
const DEFAULT_VARIABLE: Choice =
    ("the firmware variable LoaderEntryDefault", "`bootctl set-default \"\"` removes it");
const DEFAULT_LINE: Choice = ("`default` in loader/loader.conf", "remove that line");

/// Boots slots by the entries of systemd-boot.
#[derive(Debug, Clone)]
pub struct SystemdBoot {
    esp: Esp,
    product_name: String,
    variables: Option<Variables>,
}

impl SystemdBoot {
    /// With entries on `esp`, called `<product_name> A` and `B`. `variables` are only looked at, for
    /// a default that somebody set there.
    pub(crate) fn new(esp: Esp, product_name: &str, variables: Option<Variables>) -> Self {
        Self { esp, product_name: product_name.to_owned(), variables }
    }

    fn title(&self, slot: Slot) -> String {
        format!("{} {slot}", self.product_name)
    }

    /// Whether the entry of `slot` itself sorts first of the two; `None` where there is none, or
    /// it is damaged and starts nothing.
    fn is_preferred(&self, slot: Slot) -> Result<Option<bool>, BootError> {
        let entry = self.esp.loader_entry(slot)?;
        Ok(entry.as_present().map(|entry| entry.is_preferred))
    }

    /// `slot` first, then the other one where it has an entry.
    fn put_first(&self, slot: Slot) -> Result<(), BootError> {
        Ok(self.esp.put_loader_entry_first(slot, &self.title(slot))?)
    }

    fn is_bootable(&self, slot: Slot) -> Result<bool, BootError> {
        Ok(self.esp.boot_file(slot)? == BootFileState::Bootable)
    }

    /// What boots whatever the order of entries says. What matches no entry boots nothing: systemd-boot
    /// passes over it.
    fn refuse_choice(&self) -> Result<(), BootError> {
        let of_firmware = |name: &str| match &self.variables {
            Some(variables) => evidence::loader_text(variables, name),
            None => Ok(None),
        };
        let reported = match &self.variables {
            Some(variables) => evidence::loader_entries(variables)?,
            None => Vec::new(),
        };
        // In the order in which systemd-boot goes by them.
        for choice in [
            (&PREFERRED_VARIABLE, of_firmware("LoaderEntryPreferred")?),
            (&PREFERRED_LINE, self.esp.loader_setting("preferred")?),
            (&DEFAULT_VARIABLE, of_firmware("LoaderEntryDefault")?),
            (&DEFAULT_LINE, self.esp.loader_setting("default")?),
        ] {
            let ((place, remedy), Some(pattern)) = choice else { continue };
            if self.esp.is_loader_entry(&pattern, &reported)? {
                return Err(BootError::LoaderDefaultSet { place, pattern, remedy });
            }
        }
        Ok(())
    }
}

/// The number before the first that is none.
fn major(version: &str) -> u32 {
    let end = version.bytes().take_while(u8::is_ascii_digit).count();
    version.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Backend for SystemdBoot {
    fn check(&self, _running: Slot) -> Result<(), BootError> {
        let file = self.esp.removable_loader_name();
        match self.esp.removable_loader_version()? {
            None => return Err(BootError::LoaderMissing { file }),
            Some(version) if major(&version) < OLDEST => {
                return Err(BootError::LoaderTooOld { file, version });
            }
            Some(_) => {}
        }
        self.refuse_choice()
    }

    fn next(&self) -> Result<Next, BootError> {
        // Should both wait, which nothing here does, the higher name sorts first.
        for slot in [Slot::B, Slot::A] {
            let waits = |e: &crate::host::esp::CountedEntry| e.starts_slot && e.tries_left > 0;
            if self.esp.counted_entries(slot)?.iter().any(waits) {
                return Ok(Next::Slot(slot));
            }
        }
        Ok(Next::Nothing)
    }

    fn nvram(&self) -> Result<Nvram, BootError> {
        Ok(Nvram::Unused)
    }

    fn first(&self) -> Result<Option<Slot>, BootError> {
        let mut listed = Vec::new();
        for slot in [Slot::B, Slot::A] {
            if let Some(is_preferred) = self.is_preferred(slot)?
                && self.is_bootable(slot)?
            {
                listed.push((!is_preferred, slot));
            }
        }
        // Of equal keys the higher name sorts first, so the order of the list stays.
        Ok(listed.into_iter().min_by_key(|(is_behind, _)| *is_behind).map(|(_, slot)| slot))
    }

    fn secure(&self, running: Slot) -> Result<(), BootError> {
        self.put_first(running)
    }

    fn add(&self, target: Slot, _proof: SlotProof) -> Result<(), BootError> {
        // P5: only behind a running slot that boots by itself.
        let running = target.other();
        if self.is_preferred(running)? != Some(true) || !self.is_bootable(running)? {
            return Err(BootError::LoaderEntryMissing { slot: running });
        }
        match self.is_preferred(target)? {
            Some(false) => Ok(()),
            _ => Ok(self.esp.write_loader_entry(target, &self.title(target), false)?),
        }
    }

    fn arm(&self, target: Slot) -> Result<(), BootError> {
        // systemd-boot ends where the first entry's file is no program, so that entry comes last of
        // all. The slot's own has to be there: see the top of `esp/counted_entry.rs`.
        if self.is_preferred(target)?.is_none() || !self.is_bootable(target)? {
            return Err(BootError::LoaderEntryMissing { slot: target });
        }
        if self.next()? == Next::Slot(target) {
            return Ok(());
        }
        self.esp.remove_counted_entries(target.other())?;
        self.esp.remove_counted_entries(target)?;
        Ok(self.esp.write_counted_entry(target, &self.title(target))?)
    }

    fn disarm(&self, target: Slot) -> Result<(), BootError> {
        Ok(self.esp.remove_counted_entries(target)?)
    }

    fn set_default(&self, slot: Slot, _other: SlotProof) -> Result<(), BootError> {
        self.put_first(slot)
    }

    fn boots_without_loader(&self, _running: Slot) -> Result<bool, BootError> {
        Ok(false)
    }

    fn order(&self) -> Result<Vec<BootEntry>, BootError> {
        let mut own = Vec::new();
        let mut counted = Vec::new();
        for slot in [Slot::B, Slot::A] {
            let is_bootable = self.is_bootable(slot)?;
            let entry = |name: String, description: String, is_listed| BootEntry {
                name: EntryName::File(name),
                description,
                kind: EntryKind::Slot(slot),
                is_active: is_bootable,
                is_listed,
            };
            if let Stored::Present(present) = self.esp.loader_entry(slot)? {
                let name = format!("flipside-{}.conf", slot.letter());
                own.push((!present.is_preferred, entry(name, present.title, true)));
            }
            for waiting in self.esp.counted_entries(slot)? {
                counted.push(entry(waiting.name, self.title(slot), false));
            }
        }
        own.sort_by_key(|(is_behind, _)| *is_behind);
        Ok(own.into_iter().map(|(_, entry)| entry).chain(counted).collect())
    }
}
