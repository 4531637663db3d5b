// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine as a transaction sees it: disk, ESP, firmware, running slot and journal,
//! opened once, and the facts read from them.

use std::path::Path;

use jiff::Timestamp;

use super::failed::FailedDigests;
use super::journal::{self, Entry, Journal, State};
use super::situation::{Situation, SlotFacts};
use super::transaction::{BOOT_FILE_PAYLOAD, SYSTEM_PAYLOAD};
use super::{Run, UpdateError};
use crate::code::Coded as _;
use crate::host::boot::{Backend, Next};
use crate::host::cmdline::CommandLine;
use crate::host::disk::Disk;
use crate::host::durable::Durable;
use crate::host::efi::{self, EfiError, EspIdentity, UefiBoot, Variables};
use crate::host::esp::{Esp, Stored};
use crate::host::os_release::OsRelease;
use crate::host::place::{self, Place};
use crate::host::region::Region;
use crate::host::running::{self, Running};
use crate::host::systemd_boot::SystemdBoot;
use crate::host::{Partition, Root, Slot};
use crate::image::Architecture;
use crate::refusal::Refusal;
use crate::report::history::{self, Happening, HistoryFile};
use crate::settings::{BootBackend, HostConfig};

/// An opened machine with slots.
pub struct Machine {
    /// The ESP.
    pub esp: Esp,
    /// Which slot runs, and how that is known.
    pub running: Running,
    /// What flipside did last.
    pub journal: Journal,
    /// The way to the disk.
    pub durable: Durable,
    root: Root,
    host: HostConfig,
    boot: Result<Box<dyn Backend>, EfiError>,
    place: Place,
    os: OsRelease,
    by_kexec: bool,
}

/// The architecture of this build, which is the host's.
pub fn architecture() -> Result<Architecture, UpdateError> {
    Architecture::of_this_build().ok_or_else(|| {
        Refusal::block("architecture-unknown", "flipside knows UEFI on x86_64 and aarch64 only")
            .into()
    })
}

/// The way to boot slots that `boot.backend` asks for: the one place that chooses.
fn backend(
    choice: BootBackend,
    variables: Result<Variables, EfiError>,
    place: &Place,
    esp: &Esp,
    os: &OsRelease,
) -> Result<Box<dyn Backend>, EfiError> {
    match choice {
        BootBackend::Uefi => {
            let (sector, partition) = (place.esp_disk().sector_size(), &place.esp);
            let sector = u64::from(sector).max(1);
            let identity = EspIdentity {
                number: partition.number,
                start_lba: partition.start / sector,
                size_lba: partition.size / sector,
                uuid: partition.uuid,
            };
            Ok(Box::new(UefiBoot::new(variables?, identity, &os.name, esp.architecture())))
        }
        BootBackend::SystemdBoot => {
            Ok(Box::new(SystemdBoot::new(esp.clone(), &os.name, variables.ok())))
        }
    }
}

impl Machine {
    /// Opens the machine of `run`. `None` where it has no slots: not a flipside host, on which
    /// every command is a harmless no-op.
    ///
    /// # Errors
    /// [`UpdateError`] where there are slots and something about them is not right.
    pub fn open(run: &Run) -> Result<Option<Self>, UpdateError> {
        let (root, host, durable) = (&run.root, &run.config.host, &run.durable);
        let variables = Variables::open(root, durable);
        let hint = match &variables {
            Ok(variables) => efi::esp_hint(variables)?,
            Err(_) => None,
        };
        let Some(place) = place::find_if_host(root, host, hint, durable)? else {
            return Ok(None);
        };
        let has_label =
            |slot| place.disk.partitions().iter().any(|p| p.label == host.slots.of(slot));
        if !Slot::BOTH.into_iter().any(has_label) {
            return Ok(None);
        }
        place.disk.check_slots(host)?;
        let architecture = architecture()?;
        let esp = Esp::new(&place.esp_directory, architecture, durable);
        let partition = &place.esp;
        let facts = match &variables {
            Ok(variables) => efi::evidence(variables, partition.uuid, esp.directory())?,
            Err(_) => Vec::new(),
        };
        let running = running::determine(root, &place.disk, host, facts)?;
        let os = OsRelease::read(root);
        let boot = backend(run.config.boot.backend, variables, &place, &esp, &os);
        Ok(Some(Self {
            journal: Journal::new(root, durable),
            durable: durable.clone(),
            root: root.clone(),
            host: host.clone(),
            by_kexec: CommandLine::read(root)?.all("flipside.slot").next().is_some(),
            place,
            esp,
            running,
            boot,
            os,
        }))
    }

    /// The disk with the slots.
    pub fn disk(&self) -> &Disk {
        &self.place.disk
    }

    /// The way to boot slots.
    ///
    /// # Errors
    /// Why there is none: this host has no EFI variables, and `boot.backend` needs them.
    pub fn boot(&self) -> Result<&dyn Backend, UpdateError> {
        match &self.boot {
            Ok(boot) => Ok(boot.as_ref()),
            Err(error) => {
                Err(UpdateError::NoBootManager { what: error.to_string(), code: error.code() })
            }
        }
    }

    /// Reads the facts.
    ///
    /// # Errors
    /// [`UpdateError`] where the ESP or the firmware cannot be read.
    pub fn situation(&self) -> Result<Situation, UpdateError> {
        let (next, first) = match &self.boot {
            Ok(boot) => (boot.next()?, boot.first()?),
            Err(_) => (Next::Nothing, None),
        };
        Ok(Situation {
            running: self.running.slot,
            evidence: self.running.evidence.clone(),
            a: self.slot_facts(Slot::A)?,
            b: self.slot_facts(Slot::B)?,
            next,
            first,
            failed: self.failed()?,
            journal: self.journal.read(),
            boot_id: journal::boot_id(&self.root),
            by_kexec: self.by_kexec,
        })
    }

    fn slot_facts(&self, slot: Slot) -> Result<SlotFacts, UpdateError> {
        let entry = self.esp.loader_entry(slot)?;
        Ok(SlotFacts {
            record: told(self.esp.record(slot)?, slot, "record"),
            proof: told(self.esp.proof(slot)?, slot, "proof"),
            boot_file: self.esp.boot_file(slot)?,
            loader_entry: told(entry, slot, "loader entry").map(|entry| entry.is_preferred),
        })
    }

    fn failed(&self) -> Result<FailedDigests, UpdateError> {
        Ok(match self.esp.read_failed()? {
            Stored::Present(bytes) => FailedDigests::parse(&bytes).unwrap_or_else(|error| {
                tracing::warn!("failed.json says nothing, all digests may be tried: {error}");
                FailedDigests::default()
            }),
            Stored::Absent => FailedDigests::default(),
            Stored::Unreadable(why) => {
                tracing::warn!("failed.json says nothing, all digests may be tried: {why}");
                FailedDigests::default()
            }
        })
    }

    /// Makes `failed` durable on the ESP.
    ///
    /// # Errors
    /// [`UpdateError::Esp`].
    pub fn write_failed(&self, failed: &FailedDigests) -> Result<(), UpdateError> {
        let bytes = failed.to_bytes().map_err(std::io::Error::other)?;
        Ok(self.esp.write_failed(&bytes)?)
    }

    /// Which payload goes to which partition of `slot`, by label.
    pub fn labels(&self, slot: Slot) -> impl Iterator<Item = (&str, &str)> {
        let further = self.host.payloads.iter().map(move |(n, l)| (n.as_str(), l.of(slot)));
        std::iter::once((SYSTEM_PAYLOAD, self.host.slots.of(slot))).chain(further)
    }

    /// Whether `payload` has a place on this host.
    pub fn takes(&self, payload: &str) -> bool {
        payload == BOOT_FILE_PAYLOAD || self.labels(Slot::A).any(|(mapped, _)| mapped == payload)
    }

    /// Opens a partition of the target for writing; P1: never one that runs.
    ///
    /// # Errors
    /// [`UpdateError::Host`].
    pub fn open_target(&self, partition: &Partition) -> Result<Region, UpdateError> {
        Ok(self.disk().open_target(partition, &self.running)?)
    }

    /// Refuses an ESP that is damaged, or that has no room for a boot file of `size` bytes in
    /// place of the one that `target` has. Changes nothing.
    ///
    /// # Errors
    /// [`UpdateError::Host`], [`UpdateError::Esp`].
    pub fn check_esp(&self, target: Slot, size: u64) -> Result<(), UpdateError> {
        self.place.check_esp()?;
        self.esp.check()?;
        Ok(self.esp.check_room(target, size)?)
    }

    /// Refuses a state directory that takes no writes, or that lies inside a slot (P8).
    ///
    /// # Errors
    /// [`UpdateError::State`], [`UpdateError::Host`].
    pub fn check_state_directory(&self) -> Result<(), UpdateError> {
        let directory = Path::new(journal::STATE_DIRECTORY);
        running::state_directory_is_outside_slots(&self.root, self.disk(), &self.host, directory)?;
        self.journal.check_writable()
    }

    /// What `slot` is called in menus.
    pub fn title(&self, slot: Slot) -> String {
        format!("{} {slot}", self.os.name)
    }

    /// The version of the OS that runs, as it says itself.
    pub fn os_version(&self) -> String {
        self.os.version.clone()
    }

    /// The product of the OS that runs, as it says itself.
    pub fn os_id(&self) -> Option<&str> {
        self.os.id.as_deref()
    }

    /// Writes a transition to the journal, and a line of history.
    ///
    /// # Errors
    /// [`UpdateError::State`].
    pub fn note(&self, state: State, slot: Slot, holds: &SlotFacts) -> Result<(), UpdateError> {
        self.note_of(state, slot, holds.digest(), holds.version())
    }

    /// The same, where the slot does not hold it yet.
    ///
    /// # Errors
    /// [`UpdateError::State`].
    pub fn note_of(
        &self,
        state: State,
        slot: Slot,
        digest: Option<crate::image::Digest>,
        version: &str,
    ) -> Result<(), UpdateError> {
        let entry = Entry {
            format: 1,
            state,
            slot,
            digest,
            version: version.to_owned(),
            boot_id: journal::boot_id(&self.root),
            time: Timestamp::now(),
        };
        self.journal.write(&entry)?;
        // The history is for people: losing a line of it stops nothing.
        let file = HistoryFile::of(&self.root);
        if let Err(error) = file.append(&self.durable, &history_entry(&entry)) {
            tracing::warn!("{error}");
        }
        Ok(())
    }
}

fn history_entry(entry: &Entry) -> history::Entry {
    let Entry { slot, version, .. } = entry;
    let (event, message) = match entry.state {
        State::Arming => (Happening::Installed, format!("{version} is whole in slot {slot}")),
        State::Writing => (Happening::Writing, format!("{version} is written to slot {slot}")),
        State::Armed | State::Returning => {
            (Happening::Armed, format!("{version} in slot {slot} boots once at the next boot"))
        }
        State::RollingBack => {
            (Happening::RolledBack, format!("back to {version} in slot {slot} at the next boot"))
        }
        State::FellBack => (
            Happening::FellBack,
            format!("{version} in slot {slot} was started and never promoted"),
        ),
        State::Promoted => (Happening::Promoted, format!("{version} in slot {slot} is proven")),
    };
    history::Entry {
        time: entry.time,
        boot_id: Some(entry.boot_id.clone()),
        event,
        slot: Some(*slot),
        version: Some(version.clone()),
        digest: entry.digest,
        code: None,
        message,
    }
}

/// What stands in a file; one that says nothing is told and counts as absent.
fn told<T>(stored: Stored<T>, slot: Slot, what: &str) -> Option<T> {
    if let Stored::Unreadable(why) = &stored {
        tracing::warn!("the {what} of slot {slot} says nothing: {why}");
    }
    stored.present()
}
