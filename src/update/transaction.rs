// SPDX-License-Identifier: MIT OR Apache-2.0

//! An install, in the order of P4. Each step takes the one before it as a value, so that
//! another order does not compile, and makes its work durable before it returns.

use super::announce;
use super::journal::{Entry, State};
use super::machine::Machine;
use super::situation::Situation;
use super::{Run, UpdateError, verify};
use crate::host::boot::Standing;
use crate::host::{Partition, Record, Slot, kexec};
use crate::image::{Digest, HOOK_PAYLOAD, Image, Layer, PartitionIdentity};
use crate::policy::asks::END_OF_LIFE;
use crate::progress::{Event, Phase};
use crate::reboot::Inhibitor;
use crate::refusal::Refusal;
use crate::source::Source;

/// The payload that becomes the slot's boot file.
pub const BOOT_FILE_PAYLOAD: &str = "kernel.efi";
/// The payload that goes to the partition with the slot's label.
pub const SYSTEM_PAYLOAD: &str = "system";

/// What is to be installed, and on what.
pub struct Job<'a> {
    /// Settings, progress, the wish to stop.
    pub run: &'a Run,
    /// The machine.
    pub machine: &'a Machine,
    /// The facts, read under the lock.
    pub situation: &'a Situation,
    /// Where the image comes from.
    pub source: &'a dyn Source,
    /// The image, checked.
    pub image: &'a Image,
    /// What the tag pointed to: the image, or an index that lists it.
    pub tag: Digest,
    /// The key that it was signed with, where that was asked.
    pub signed_by: Option<String>,
    /// The version that it is a step to, where it is not the goal itself.
    pub towards: Option<String>,
    /// Asked when all is written, which may take hours: whether it is still to boot.
    pub still_stands: &'a dyn Fn() -> Result<(), UpdateError>,
}

/// Step 2 is done: nothing stands against the install, nothing was changed.
struct Checked<'a> {
    job: &'a Job<'a>,
    /// The layer for each partition of the target.
    partitions: Vec<(Layer<'a>, &'a Partition)>,
    boot_file: Layer<'a>,
}
/// Step 3 is done: whatever happens now, the firmware comes back to the running slot (P5).
struct Secured<'a>(Checked<'a>);
/// Step 4 is done: the target cannot boot (P2).
struct Disarmed<'a>(Checked<'a>);
/// Step 5 is done: the partitions hold the image, durable and read back.
struct Written<'a>(Checked<'a>);
/// Step 6 is done: the slot is whole and could boot.
struct Bootable<'a>(Checked<'a>);
/// Step 7 is done: the firmware knows the slot, behind the running one.
struct Listed<'a>(Checked<'a>);

/// Installs and arms. Step 1, the policy, was the caller's.
///
/// # Errors
/// Whatever stopped it. The running slot boots as before, and the next run goes on.
pub fn install(job: &Job<'_>) -> Result<(), UpdateError> {
    let checked = check(job)?;
    let _inhibitor = job.hold_off_shutdown();
    // A kernel that was loaded for kexec would start with what is overwritten now.
    kexec::forget(&job.run.root)?;
    checked
        .secure_running_slot()?
        .disarm_target()?
        .write_partitions()?
        .write_boot_file()?
        .list_boot_entry()?
        .arm()
}

/// Arms a target that an earlier run installed: steps 3, 7 and 8 alone.
///
/// # Errors
/// Whatever stopped it. The running slot boots as before.
pub fn arm_installed(
    run: &Run,
    machine: &Machine,
    situation: &Situation,
) -> Result<(), UpdateError> {
    let target = situation.target();
    let backend = machine.boot()?;
    backend.check(situation.running)?;
    secure(machine, situation)?;
    run.durable.phase("list")?;
    backend.add(target, situation.target_slot().standing())?;
    run.durable.phase("arm")?;
    let slot = situation.target_slot();
    if slot.is_proven() && situation.failed.wanted != slot.digest() {
        let mut failed = situation.failed.clone();
        failed.wanted = slot.digest();
        machine.write_failed(&failed)?;
    }
    machine.note(State::Arming, target, slot)?;
    backend.arm(target)?;
    let state = if slot.is_proven() { State::Returning } else { State::Armed };
    announce::armed(target, slot.digest(), slot.version());
    machine.note(state, target, slot)
}

/// Step 3, P5: the running slot comes before the target, in the firmware and in the loader.
pub(super) fn secure(machine: &Machine, situation: &Situation) -> Result<(), UpdateError> {
    let running = situation.running;
    machine.durable.phase("secure")?;
    let backend = machine.boot()?;
    backend.secure(running)?;
    put_first_in_loader(machine, running)
}

/// The running slot's entry sorts first in the removable-media loader, the other's does not.
pub(super) fn put_first_in_loader(machine: &Machine, running: Slot) -> Result<(), UpdateError> {
    Ok(machine.esp.put_loader_entry_first(running, &machine.title(running))?)
}

/// Step 2: everything that can be known beforehand. Changes nothing.
fn check<'a>(job: &'a Job<'a>) -> Result<Checked<'a>, UpdateError> {
    let Job { machine, situation, image, run, .. } = job;
    run.durable.phase("check")?;
    // P6
    if !situation.running_slot().is_proven() {
        return Err(Refusal::defer("trial-running", "the running slot has no proof").into());
    }
    refuse_damaged_running_slot(job)?;
    let target = situation.target();
    let boot_file = payload(image, BOOT_FILE_PAYLOAD)?;
    let mut partitions = Vec::new();
    for (name, label) in machine.labels(target) {
        let layer = payload(image, name)?;
        let partition = machine.disk().by_label(label)?;
        if layer.payload.size > partition.size {
            return Err(Refusal::block(
                "slot-too-small",
                format!(
                    "payload {name} has {} bytes, partition {label} only {}",
                    layer.payload.size, partition.size
                ),
            )
            .into());
        }
        if let Some(identity) = &layer.payload.partition {
            refuse_duplicate(machine, partition, identity)?;
        }
        partitions.push((layer, partition));
    }
    machine.check_esp(target, boot_file.payload.size)?;
    machine.check_state_directory()?;
    machine.boot()?.check(situation.running)?;
    for layer in image.layers() {
        let name = layer.payload.name.as_str();
        if !machine.takes(name) && name != HOOK_PAYLOAD {
            tracing::info!("payload {name} is skipped: host.payloads does not map it");
        }
    }
    Ok(Checked { job, partitions, boot_file })
}

/// P5, P9: its proof says that the running slot has booted, not that it would again. Where its boot
/// file was damaged since, the target may be all that still boots, and is not written.
fn refuse_damaged_running_slot(job: &Job<'_>) -> Result<(), UpdateError> {
    let Job { run, machine, situation, .. } = job;
    let running = situation.running;
    let what = if !situation.running_slot().has_boot_file() {
        "is missing, or no EFI program"
    } else if verify::has_damaged_boot_file(run, machine, situation, running)? {
        "does not hold what was installed"
    } else {
        return Ok(());
    };
    Err(Refusal::block(
        "running-slot-damaged",
        format!("slot {running} runs, and may not boot again: its boot file {what}"),
    )
    .into())
}

/// A partition UUID that images manage may stand on the disk once (`set_identity` refuses
/// it too, but by then the target is disarmed).
fn refuse_duplicate(
    machine: &Machine,
    partition: &Partition,
    identity: &PartitionIdentity,
) -> Result<(), UpdateError> {
    let other = identity.uuid.and_then(|uuid| machine.disk().by_uuid(uuid));
    match other.filter(|other| other.number != partition.number) {
        None => Ok(()),
        Some(other) => Err(Refusal::block(
            "partition-uuid-duplicate",
            format!(
                "the image gives partition {} the UUID that partition {} has",
                partition.label, other.label
            ),
        )
        .into()),
    }
}

fn payload<'a>(image: &'a Image, name: &str) -> Result<Layer<'a>, UpdateError> {
    image.layer(name).ok_or_else(|| {
        Refusal::block("payload-missing", format!("the image has no payload {name}")).into()
    })
}

impl<'a> Checked<'a> {
    fn secure_running_slot(self) -> Result<Secured<'a>, UpdateError> {
        secure(self.job.machine, self.job.situation)?;
        Ok(Secured(self))
    }
}

impl<'a> Secured<'a> {
    /// Step 4, P2: whatever boots the target goes, before its first byte changes. The
    /// journal speaks first, so that what follows is not taken for a fall-back.
    fn disarm_target(self) -> Result<Disarmed<'a>, UpdateError> {
        let job = self.0.job;
        let target = job.situation.target();
        job.run.durable.phase("disarm")?;
        job.note(State::Writing)?;
        disarm(job.machine, target)?;
        if job.situation.is_armed() {
            announce::superseded(target, job.situation.target_slot());
        }
        Ok(Disarmed(self.0))
    }
}

/// The loader's entries, whichever backend wrote them, and `BootNext` go before the boot file: an
/// entry whose file is no PE ends systemd-boot.
fn disarm(machine: &Machine, target: Slot) -> Result<(), UpdateError> {
    machine.esp.remove_loader_entry(target)?;
    machine.boot()?.disarm(target)?;
    machine.esp.remove_slot_files(target)?;
    Ok(())
}

impl<'a> Disarmed<'a> {
    /// Step 5: partitions written, synced, read back (P3 is the pipeline's).
    fn write_partitions(self) -> Result<Written<'a>, UpdateError> {
        let job = self.0.job;
        let (version, slot) = (job.image.version().to_owned(), job.situation.target());
        job.run.progress.event(Event::Installing { version, slot });
        job.run.durable.phase("write")?;
        for (layer, partition) in &self.0.partitions {
            let mut partition = (*partition).clone();
            let identity = layer.payload.partition;
            if identity.is_some_and(|i| i.uuid.is_some()) {
                // What finds its root by PARTUUID must not find a half-written one.
                let random = PartitionIdentity {
                    uuid: Some(uuid::Uuid::new_v4()),
                    type_uuid: None,
                    flags: None,
                };
                partition = job.machine.disk().set_identity(&partition, &random)?;
            }
            let medium = job.machine.open_target(&partition)?;
            job.write(layer, &medium)?;
            drop(medium);
            if let Some(identity) = identity {
                job.machine.disk().set_identity(&partition, &identity)?;
            }
        }
        Ok(Written(self.0))
    }
}

impl<'a> Written<'a> {
    /// Step 6: the record first, then the boot file, whose first sector makes the slot
    /// bootable, then the loader's entry for it.
    fn write_boot_file(self) -> Result<Bootable<'a>, UpdateError> {
        let Checked { job, boot_file, .. } = &self.0;
        let target = job.situation.target();
        job.run.durable.phase("boot-file")?;
        job.run.progress.event(Event::Phase(Phase::Arming));
        job.keep_config();
        job.machine.esp.write_record(target, &job.record())?;
        let medium = job.machine.esp.create_boot_file(target, boot_file.payload.size)?;
        job.write(boot_file, &medium)?;
        medium.complete()?;
        job.machine.esp.write_loader_entry(target, &job.machine.title(target), false)?;
        Ok(Bootable(self.0))
    }
}

impl<'a> Bootable<'a> {
    /// Step 7: into `BootOrder` before `BootNext`, since firmware deletes entries that
    /// the order does not list.
    fn list_boot_entry(self) -> Result<Listed<'a>, UpdateError> {
        let job = self.0.job;
        job.run.durable.phase("list")?;
        job.machine.boot()?.add(job.situation.target(), Standing::Unproven)?;
        Ok(Listed(self.0))
    }
}

impl Listed<'_> {
    /// Step 8: the journal; `BootNext`; and the journal again, so that a fall-back is known
    /// for one, and a cut before the trial is not.
    fn arm(self) -> Result<(), UpdateError> {
        let job = self.0.job;
        job.run.stop.check()?;
        (job.still_stands)()?;
        job.run.durable.phase("arm")?;
        job.note(State::Arming)?;
        let target = job.situation.target();
        job.machine.boot()?.arm(target)?;
        announce::armed(target, Some(job.image.digest), job.image.version());
        job.note(State::Armed)
    }
}

impl Job<'_> {
    /// What the target will hold.
    fn record(&self) -> Record {
        Record {
            digest: Some(self.image.digest),
            index_digest: (self.tag != self.image.digest).then_some(self.tag),
            version: self.image.version().to_owned(),
            config_digest: Some(self.image.manifest.config.digest),
            repository: Some(self.source.repository()),
            signed_by: self.signed_by.clone(),
            end_of_life: self.image.manifest.annotations.get(END_OF_LIFE).cloned(),
            towards: self.towards.clone(),
        }
    }

    fn hold_off_shutdown(&self) -> Inhibitor {
        let (version, target) = (self.image.version(), self.situation.target());
        Inhibitor::take(&self.run.root, &format!("writing {version} into slot {target}"))
    }

    fn write(
        &self,
        layer: &Layer<'_>,
        medium: &dyn crate::host::medium::Medium,
    ) -> Result<(), UpdateError> {
        let resumes = self.situation.journal.as_ref().is_some_and(|e: &Entry| {
            e.state == State::Writing && e.digest == Some(self.image.digest)
        });
        let options = crate::install::Options {
            read_back: self.run.config.update.read_back,
            resume: resumes,
            ..Default::default()
        };
        let progress = self.run.progress.as_ref();
        crate::install::write_payload(
            self.source,
            layer,
            medium,
            &options,
            progress,
            &self.run.stop,
        )?;
        Ok(())
    }

    fn note(&self, state: State) -> Result<(), UpdateError> {
        let target = self.situation.target();
        self.machine.note_of(state, target, Some(self.image.digest), self.image.version())
    }

    /// Keeps the chunk hashes, for `verify` and rollback without a network. Where that fails,
    /// they are fetched when they are wanted: it is no reason to stop (P8).
    fn keep_config(&self) {
        let descriptor = &self.image.manifest.config;
        let running = self.situation.running_slot().record.as_ref();
        let needed: Vec<_> = running.and_then(|r| r.config_digest).into_iter().collect();
        let kept = self
            .source
            .blob("config", descriptor, crate::image::CONFIG_LIMIT)
            .map_err(UpdateError::from)
            .and_then(|bytes| {
                self.machine.journal.keep_config(&descriptor.digest, &bytes, &needed)
            });
        if let Err(error) = kept {
            tracing::warn!("the chunk hashes are not kept on this host: {error}");
        }
    }
}
