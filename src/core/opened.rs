// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host, opened: its disk, ESP, boot manager and running slot, and the facts read from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flipside_image::code::Coded as _;
use flipside_image::secure_boot::Judgement;
use flipside_image::{Architecture, BOOT_FILE_PAYLOAD, Digest};
use jiff::Timestamp;
use uuid::Uuid;

use crate::cancel::Cancel;
use crate::codes;
use crate::error::Error;
use crate::host::boot::{Backend, BootEntry, Next, Nvram, SystemdBoot, UefiBoot};
use crate::host::cmdline;
use crate::host::disk::{self, Disk};
use crate::host::durable::Durable;
use crate::host::efi::{self, EfiError, Variables};
use crate::host::esp::{Esp, Stored};
use crate::host::mounted_for_writing::is_mounted_for_writing;
use crate::host::os_release::{self, OsRelease};
use crate::host::partition_io::PartitionIo;
use crate::host::place::{self, Place};
use crate::host::running;
use crate::host::spool::Spool;
use crate::host::storage::Storage;
use crate::host::{Partition, Root};
use crate::progress::Progress;
use crate::refusal::{Refusal, Verdict};
use crate::settings::{BootBackend, HostConfig, Settings};
use crate::slot::Slot;
use crate::state::failed::FailedDigests;
use crate::state::host_state::Obstacles;
use crate::state::journal::{self, Entry, Journal, State};
use crate::state::running::{Running, determine};
use crate::state::{HostState, Observer, SlotFacts, Transition};

/// How a host is reached, and by whom.
#[derive(Clone)]
pub struct Access {
    /// Where it is.
    pub root: Root,
    /// Its settings.
    pub settings: Settings,
    /// The way to the disk and to NVRAM.
    pub durable: Durable,
    /// Who is told of transitions.
    pub observer: Arc<dyn Observer>,
    /// Who is told how far a run is.
    pub progress: Arc<dyn Progress>,
    /// The wish to stop.
    pub stop: Cancel,
    /// Who says whether a program may be written that the firmware is to start. It is told what that is.
    pub trust: fn(&str, &Judgement) -> Verdict,
}

/// An opened host with slots.
pub struct Host {
    /// The ESP.
    pub(crate) esp: Esp,
    /// Which slot runs, and how that is known.
    pub(crate) running: Running,
    /// What flipside did last.
    pub(crate) journal: Journal,
    /// The way to the disk.
    pub(crate) durable: Durable,
    observer: Arc<dyn Observer>,
    /// Who says whether a program may be written.
    pub(crate) trust: fn(&str, &Judgement) -> Verdict,
    /// Where it is.
    pub(crate) root: Root,
    /// `boot.backend`.
    pub(crate) backend: BootBackend,
    config: HostConfig,
    boot: Result<Box<dyn Backend>, EfiError>,
    place: Place,
    os: OsRelease,
    by_kexec: bool,
}

/// The architecture of this build, which is the host's.
///
/// # Errors
/// `architecture-unknown`.
pub fn architecture() -> Result<Architecture, Refusal> {
    Architecture::of_this_build().ok_or_else(|| {
        Refusal::block(
            codes::ARCHITECTURE_UNKNOWN,
            "flipside knows UEFI on x86_64 and aarch64 only",
        )
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
            let node = place.esp_node();
            let boot = UefiBoot::new(variables?, node, &os.name, esp.architecture());
            Ok(Box::new(boot.with_files(esp.clone())))
        }
        BootBackend::SystemdBoot => {
            Ok(Box::new(SystemdBoot::new(esp.clone(), &os.name, variables.ok())))
        }
    }
}

impl Host {
    /// Opens the host of `access`. `None` where it has no slots and nothing says that it should have:
    /// not a flipside host, on which every command is a harmless no-op.
    ///
    /// # Errors
    /// [`Error`] where something about the slots is not right, also that they are missing.
    pub fn open(access: &Access) -> Result<Option<Self>, Error> {
        let (root, config, durable) = (&access.root, &access.settings.host, &access.durable);
        let variables = Variables::open(root, durable);
        let hint = match &variables {
            Ok(variables) => efi::esp_hint(variables)?,
            Err(_) => None,
        };
        let firmware = || variables.as_ref().ok().and_then(efi::own_entry);
        let Some(place) = place::find_if_host(root, config, hint, durable, firmware)? else {
            return Ok(None);
        };
        place.disk.check_slots(config)?;
        let architecture = architecture()?;
        let esp = Esp::new(&place.esp_directory, architecture, durable);
        let partition = &place.esp;
        let facts = match &variables {
            Ok(variables) => efi::evidence(variables, partition.uuid, esp.directory())?,
            Err(_) => Vec::new(),
        };
        let running = determine(root, &place.disk, config, facts)?;
        let os = os_release::read(root);
        let boot = backend(access.settings.boot, variables, &place, &esp, &os);
        Ok(Some(Self {
            journal: Journal::new(root, durable),
            durable: durable.clone(),
            observer: Arc::clone(&access.observer),
            trust: access.trust,
            root: root.clone(),
            config: config.clone(),
            backend: access.settings.boot,
            by_kexec: cmdline::read(root)?.all("flipside.slot").next().is_some(),
            place,
            esp,
            running,
            boot,
            os,
        }))
    }

    /// The disk with the slots.
    pub(crate) fn disk(&self) -> &Disk {
        &self.place.disk
    }

    /// The way to boot slots.
    ///
    /// # Errors
    /// Why there is none: this host has no EFI variables, and `boot.backend` needs them.
    pub(crate) fn boot(&self) -> Result<&dyn Backend, Error> {
        match &self.boot {
            Ok(boot) => Ok(boot.as_ref()),
            Err(error) => Err(Error::NoBootManager { what: error.to_string(), code: error.code() }),
        }
    }

    /// Reads the facts.
    ///
    /// # Errors
    /// [`Error`] where the ESP or the firmware cannot be read.
    pub fn host_state(&self) -> Result<HostState, Error> {
        let (next, first, nvram) = match &self.boot {
            Ok(boot) => (boot.next()?, boot.first()?, boot.nvram()?),
            Err(_) => (Next::Nothing, None, Nvram::Unused),
        };
        let names = self.labels(Slot::A).map(|(name, _)| name);
        Ok(HostState {
            running: self.running.slot,
            evidence: self.running.evidence.clone(),
            a: self.slot_facts(Slot::A)?,
            b: self.slot_facts(Slot::B)?,
            next,
            first,
            nvram,
            failed: self.failed()?,
            journal: self.journal.read(),
            boot_id: journal::boot_id(&self.root),
            by_kexec: self.by_kexec,
            payloads: names.chain([BOOT_FILE_PAYLOAD]).map(str::to_owned).collect(),
            obstacles: Obstacles::default(),
        })
    }

    fn slot_facts(&self, slot: Slot) -> Result<SlotFacts, Error> {
        let entry = self.esp.loader_entry(slot)?;
        let mut facts = SlotFacts {
            record: readable(self.esp.record(slot)?, slot, "record"),
            adopted: None,
            proof: readable(self.esp.proof(slot)?, slot, "proof"),
            boot_file: self.esp.boot_file(slot)?,
            loader_entry: readable(entry, slot, "loader entry").map(|entry| entry.is_preferred),
        };
        if slot == self.running.slot && facts.is_proven() {
            let adopted = self.journal.adopted().zip(facts.record.as_ref());
            facts.adopted = adopted.and_then(|(it, record)| it.release_of(slot, record));
        }
        Ok(facts)
    }

    fn failed(&self) -> Result<FailedDigests, Error> {
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
    /// [`Error::Esp`].
    pub(crate) fn write_failed(&self, failed: &FailedDigests) -> Result<(), Error> {
        let bytes = failed.to_bytes().map_err(std::io::Error::other)?;
        Ok(self.esp.write_failed(&bytes)?)
    }

    /// Which payload goes to which partition of `slot`, by label.
    pub(crate) fn labels(&self, slot: Slot) -> impl Iterator<Item = (&str, &str)> {
        disk::payloads(&self.config).map(move |(name, labels)| (name, labels.of(slot)))
    }

    /// Opens a partition of the target for writing; P1: never one that runs.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub(crate) fn open_target(&self, partition: &Partition) -> Result<PartitionIo, Error> {
        Ok(self.disk().open_target(partition, &self.running.protected)?)
    }

    /// Whether another image may be made from the running slot's payload called `name`. One that is or
    /// was mounted for writing in this boot may only be where that `may_be_writable`: which of its
    /// chunks are fetched after all tells a server what stands in them. Nothing but an image stands
    /// in a boot file.
    pub fn is_base(&self, name: &str, may_be_writable: bool) -> bool {
        let partition = self.running_partition(name);
        let is_writable = partition.is_some_and(|it| is_mounted_for_writing(&self.root, it));
        match is_writable && !may_be_writable {
            true => tracing::info!("payload {name} is mounted for writing, and fetched in full"),
            false => return partition.is_some() || name == BOOT_FILE_PAYLOAD,
        }
        false
    }

    /// The running slot's payload called `name`, for reading.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Esp`].
    pub(crate) fn open_base(&self, name: &str) -> Result<Option<Box<dyn Storage>>, Error> {
        if name == BOOT_FILE_PAYLOAD {
            let file = self.esp.open_boot_file(self.running.slot)?;
            return Ok(file.map(|file| Box::new(file) as Box<dyn Storage>));
        }
        let Some(partition) = self.running_partition(name) else { return Ok(None) };
        Ok(Some(Box::new(self.disk().open_for_reading(partition)?)))
    }

    fn running_partition(&self, name: &str) -> Option<&Partition> {
        let (_, label) = self.labels(self.running.slot).find(|(mapped, _)| *mapped == name)?;
        self.disk().by_label(label).ok()
    }

    /// Another disk than the slots' with a partition that has this GUID.
    pub(crate) fn other_disk_with(&self, uuid: Uuid) -> Option<PathBuf> {
        self.place.other_disk_with(&self.root, uuid)
    }

    /// A file without a name in the state directory.
    ///
    /// # Errors
    /// Where there is no room for one of `size` bytes, or there are no such files.
    pub(crate) fn spool(&self, size: u64) -> std::io::Result<Spool> {
        Spool::create(&self.durable, self.journal.existing_directory(), size)
    }

    /// Refuses an ESP that is damaged, or that has no room for a boot file of `size` bytes in
    /// place of the one that `target` has. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Esp`].
    pub(crate) fn check_esp(&self, target: Slot, size: u64) -> Result<(), Error> {
        self.place.check_esp()?;
        self.esp.check()?;
        Ok(self.esp.check_room(target, size)?)
    }

    /// Refuses a state directory that takes no writes, or that lies inside a slot (P8).
    ///
    /// # Errors
    /// [`Error::Journal`], [`Error::Host`].
    pub(crate) fn check_state_directory(&self) -> Result<(), Error> {
        let directory = Path::new(journal::STATE_DIRECTORY);
        running::state_directory_is_outside_slots(
            &self.root,
            self.disk(),
            &self.config,
            directory,
        )?;
        Ok(self.journal.check_writable()?)
    }

    /// What `slot` is called in menus.
    pub(crate) fn title(&self, slot: Slot) -> String {
        format!("{} {slot}", self.os.name)
    }

    /// The version of the OS that runs, as it says itself.
    pub(crate) fn os_version(&self) -> String {
        self.os.version.clone()
    }

    /// The product of the OS that runs, as it says itself.
    pub fn os_id(&self) -> Option<&str> {
        self.os.id.as_deref()
    }

    /// Writes a transition to the journal, and tells it.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub(crate) fn note(&self, state: State, slot: Slot, holds: &SlotFacts) -> Result<(), Error> {
        self.note_of(state, slot, holds.digest(), holds.version())
    }

    /// The same, where the slot does not hold it yet.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub(crate) fn note_of(
        &self,
        state: State,
        slot: Slot,
        digest: Option<Digest>,
        version: &str,
    ) -> Result<(), Error> {
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
        self.tell(&Transition::Noted(&entry));
        Ok(())
    }

    /// Tells the observer.
    pub(crate) fn tell(&self, transition: &Transition<'_>) {
        self.observer.transition(transition);
    }

    /// The boot entries, in their order; none where there is no boot manager to ask.
    pub fn boot_entries(&self) -> Vec<BootEntry> {
        self.boot().and_then(|boot| Ok(boot.order()?)).unwrap_or_default()
    }
}

/// What stands in a file; one that says nothing is told and counts as absent.
fn readable<T>(stored: Stored<T>, slot: Slot, what: &str) -> Option<T> {
    if let Stored::Unreadable(why) = &stored {
        tracing::warn!("the {what} of slot {slot} says nothing: {why}");
    }
    stored.present()
}
