// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boot manager of UEFI 2.10, section 3.1, as OVMF has it: `BootNext`, then `BootOrder`, then
//! the loader of the removable-media path; and what it, systemd-boot and systemd-stub leave
//! in variables for the OS.

use super::load_option::{ACTIVE, CATEGORY, LoadOption};
use super::machine::{Machine, Program};
use super::nvram::Variables;
use super::{Quirk, Slot, loader, tidy};

/// A boot file that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    pub(super) slot: Slot,
    /// The boot entry; `None` for the removable-media path by itself.
    pub(super) number: Option<u16>,
    /// Whether systemd-boot was in between.
    pub(super) by_loader: bool,
}

/// What a power-on led to, as far as the firmware goes.
#[derive(Debug, Default)]
pub(super) struct PowerOn {
    pub(super) started: Option<Started>,
    /// The slot that `BootNext` named, whether it could be started or not.
    pub(super) asked: Option<Slot>,
    /// Whether `BootNext` was there and was removed.
    pub(super) consumed_next: bool,
    /// What went on, for people.
    pub(super) notes: Vec<String>,
    /// Why nothing was started.
    pub(super) reason: String,
    /// The entries that the loader renamed, in order; not done yet.
    pub(super) renames: Vec<loader::Rename>,
}

/// What trying one entry came to.
enum Attempt {
    /// The next is tried.
    Fails(String),
    /// A boot file runs; whether through systemd-boot.
    Runs(Slot, bool),
    /// Something runs that does not come back.
    Hangs(String),
}

/// Plays a power-on of `machine`.
pub(super) fn power_on(
    variables: &mut Variables,
    remembered: &Variables,
    machine: &Machine<'_>,
    quirks: &[Quirk],
) -> PowerOn {
    tidy::at_power_on(variables, remembered, machine, quirks);
    let mut walk = Walk { variables, machine, quirks, result: PowerOn::default() };
    let ended = walk.run();
    if !ended && walk.result.reason.is_empty() {
        walk.result.reason = "no boot entry could be started".to_owned();
    }
    let result = walk.result;
    if let Some(started) = &result.started {
        stub(variables, machine, started.slot, quirks);
    }
    tidy::at_handover(variables, quirks);
    result
}

struct Walk<'a, 'm> {
    variables: &'a mut Variables,
    machine: &'a Machine<'m>,
    quirks: &'a [Quirk],
    result: PowerOn,
}

impl Walk<'_, '_> {
    fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Tries one after the other; whether it came to an end, good or bad.
    fn run(&mut self) -> bool {
        if let Some(next) = self.take_next()
            && self.try_number(next, true)
        {
            return true;
        }
        let mut order = self.variables.order().unwrap_or_default();
        if self.has(Quirk::FirstOnly) {
            order.truncate(1);
        }
        if order.into_iter().any(|number| self.try_number(number, false)) {
            return true;
        }
        // Firmware without an entry of its own for the disk has this at the end.
        let path = self.machine.removable_path();
        let attempt = self.start(&path);
        self.settle(attempt, None, &path)
    }

    /// The entry that `BootNext` names. It is gone before the entry is tried.
    fn take_next(&mut self) -> Option<u16> {
        if self.has(Quirk::IgnoreBootNext) {
            return None;
        }
        let next = self.variables.next();
        self.variables.remove("BootNext");
        self.result.consumed_next = next.is_some();
        if self.has(Quirk::SkipBootNext) {
            return None;
        }
        let next = next?;
        let target = self.variables.entry(next).and_then(|entry| entry.target());
        self.result.asked = target
            .filter(|(guid, _)| self.machine.is_esp(*guid))
            .and_then(|(_, file)| Slot::of_boot_file(&file?));
        Some(next)
    }

    fn try_number(&mut self, number: u16, explicitly: bool) -> bool {
        let Some(entry) = self.variables.entry(number) else {
            self.result.notes.push(format!("Boot{number:04X}: no such entry"));
            return false;
        };
        // What is asked for by BootNext boots whether it is active or not (EDK2, BdsEntry.c).
        if !explicitly && (entry.attributes & ACTIVE == 0 || entry.attributes & CATEGORY != 0) {
            return false;
        }
        self.variables.set_current(number);
        let attempt = self.try_entry(&entry);
        let name = format!("Boot{number:04X} {}", entry.description);
        if let Attempt::Fails(reason) = &attempt
            && entry.target().is_some()
        {
            if self.has(Quirk::StopAtMenu) {
                let reason = format!("the firmware stops at its menu ({reason})");
                return self.settle(Attempt::Hangs(reason), None, &name);
            }
            if self.has(Quirk::DeleteFailedEntry) {
                self.variables.remove_entry(number);
            }
        }
        self.settle(attempt, Some(number), &name)
    }

    fn try_entry(&mut self, entry: &LoadOption) -> Attempt {
        let machine = self.machine;
        match entry.target() {
            _ if tidy::is_whole_disk(entry) => self.start(&machine.removable_path()),
            Some((guid, file)) if machine.is_esp(guid) => {
                self.start(&file.unwrap_or_else(|| machine.removable_path()))
            }
            Some((guid, _)) => Attempt::Fails(format!("no file system on a partition {guid}")),
            None => Attempt::Fails("no such device".to_owned()),
        }
    }

    fn start(&mut self, path: &str) -> Attempt {
        match self.machine.start(path) {
            Program::Fails(reason) => Attempt::Fails(format!("{path}: {reason}")),
            Program::Hangs(reason) => Attempt::Hangs(reason),
            Program::Kernel(slot) => Attempt::Runs(slot, false),
            Program::Loader => self.run_loader(path),
        }
    }

    /// systemd-boot: what it says of itself stays, also where its entry does not start.
    fn run_loader(&mut self, path: &str) -> Attempt {
        if let Some(guid) = self.machine.esp_guid_text() {
            self.variables.set_loader_text("LoaderDevicePartUUID", &guid);
        }
        self.variables.set_loader_text("LoaderImageIdentifier", path);
        self.variables.set_loader_text("LoaderInfo", "systemd-boot 257");
        let (esp, renames) = (&self.machine.esp, &self.result.renames);
        let Some(entry) = loader::choose(esp, self.variables, renames, self.quirks) else {
            return Attempt::Hangs("systemd-boot has no entry to start".to_owned());
        };
        if entry.is_tried() {
            self.result.asked = Slot::of_boot_file(&entry.program);
        }
        if let Some(rename) = entry.count(self.quirks) {
            let path = format!("\\{}", rename.to.display()).replace('/', "\\");
            self.variables.set_loader_text("LoaderBootCountPath", &path);
            self.result.renames.push(rename);
        }
        self.variables.set_loader_text("LoaderEntrySelected", &entry.id);
        match self.machine.start(&entry.program) {
            Program::Kernel(slot) => Attempt::Runs(slot, true),
            Program::Fails(reason) => {
                Attempt::Fails(format!("systemd-boot: {}: {reason}", entry.id))
            }
            Program::Hangs(reason) => Attempt::Hangs(reason),
            Program::Loader => Attempt::Hangs("systemd-boot starts itself for ever".to_owned()),
        }
    }

    fn settle(&mut self, attempt: Attempt, number: Option<u16>, name: &str) -> bool {
        match attempt {
            Attempt::Fails(reason) => {
                self.result.notes.push(format!("{name}: {reason}"));
                false
            }
            Attempt::Runs(slot, by_loader) => {
                let through = if by_loader { " through systemd-boot" } else { "" };
                self.result.notes.push(format!("{name}: starts slot {slot}{through}"));
                self.result.started = Some(Started { slot, number, by_loader });
                true
            }
            Attempt::Hangs(reason) => {
                self.result.notes.push(format!("{name}: {reason}"));
                self.result.reason = reason;
                true
            }
        }
    }
}

/// What systemd-stub tells the OS: version 257 both pairs, 252 only the loader's, and that only
/// where no loader did (systemd-stub(7)).
fn stub(variables: &mut Variables, machine: &Machine<'_>, slot: Slot, quirks: &[Quirk]) {
    let guid = machine.esp_guid_text();
    let facts = [("DevicePartUUID", guid), ("ImageIdentifier", Some(slot.boot_file()))];
    for (name, text) in facts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        let of_loader = format!("Loader{name}");
        if variables.loader_text(&of_loader).is_none() {
            variables.set_loader_text(&of_loader, &text);
        }
        if !quirks.contains(&Quirk::OldStub) {
            variables.set_loader_text(&format!("Stub{name}"), &text);
        }
    }
    let version = if quirks.contains(&Quirk::OldStub) { 252 } else { 257 };
    variables.set_loader_text("StubInfo", &format!("systemd-stub {version}"));
}
