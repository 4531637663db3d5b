// SPDX-License-Identifier: MIT OR Apache-2.0

//! An install, in the order of P4. Each step takes the one before it as a value, so that
//! another order does not compile, and makes its work durable before it returns.

use flipside_image::{Layer, PartitionIdentity};

use super::arm::{forget_unarmed, note_unarmed, secure};
use super::boot_file::CheckedBootFile;
use super::job::Job;
use crate::error::Error;
use crate::host::boot::SlotProof;
use crate::host::{Partition, kexec};
use crate::opened::Host;
use crate::progress::{Event, Phase};
use crate::slot::Slot;
use crate::state::Transition;
use crate::state::journal::State;
use crate::state::transition::{Held, Reason};

/// Step 2 is done: nothing stands against the install, nothing was changed.
pub struct Checked<'a> {
    pub(super) job: &'a Job<'a>,
    /// The layer for each partition of the target.
    pub(super) partitions: Vec<(Layer<'a>, &'a Partition)>,
    pub(super) boot_file: CheckedBootFile<'a>,
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

impl Checked<'_> {
    /// Installs and arms. Step 1, the policy, was the caller's.
    ///
    /// # Errors
    /// Whatever stopped it. The running slot boots as before, and the next run goes on.
    pub fn run(self) -> Result<(), Error> {
        // P2: a kernel that was loaded for kexec would start with what is overwritten now.
        kexec::forget(&self.job.access.root)?;
        self.put_fallback_first()?
            .disarm_target()?
            .write_partitions()?
            .write_boot_file()?
            .list_boot_entry()?
            .arm()
    }
}

impl<'a> Checked<'a> {
    fn put_fallback_first(self) -> Result<Secured<'a>, Error> {
        secure(self.job.host, self.job.host_state)?;
        Ok(Secured(self))
    }
}

impl<'a> Secured<'a> {
    /// Step 4, P2: whatever boots the target goes, before its first byte changes. The
    /// journal speaks first, so that what follows is not taken for a fall-back.
    fn disarm_target(self) -> Result<Disarmed<'a>, Error> {
        let job = self.0.job;
        let target = job.host_state.target();
        job.host.durable.phase("disarm")?;
        job.note(State::Writing)?;
        disarm(job.host, target)?;
        if job.host_state.is_armed() {
            let held = Held::of(target, job.host_state.target_slot());
            job.host.tell(&Transition::Superseded(&held, &Reason::TagMoved));
        }
        Ok(Disarmed(self.0))
    }
}

/// The loader's entries, whichever backend wrote them, and `BootNext` go before the boot file: an
/// entry whose file is no PE ends systemd-boot.
fn disarm(host: &Host, target: Slot) -> Result<(), Error> {
    host.esp.remove_loader_entry(target)?;
    host.boot()?.disarm(target)?;
    host.esp.remove_slot_files(target)?;
    Ok(())
}

impl<'a> Disarmed<'a> {
    /// Step 5: partitions written, synced, read back (P3 is the pipeline's).
    fn write_partitions(self) -> Result<Written<'a>, Error> {
        let job = self.0.job;
        let (version, slot) = (job.image.version().to_owned(), job.host_state.target());
        let sizes = self.0.partitions.iter().map(|(layer, _)| layer.payload.size);
        let size = sizes.chain([self.0.boot_file.size()]).sum();
        job.access.progress.event(Event::Installing { version, slot, size });
        job.host.durable.phase("write")?;
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
                partition = job.host.disk().set_identity(&partition, &random)?;
            }
            let storage = job.host.open_target(&partition)?;
            job.write(layer, &storage)?;
            drop(storage);
            if let Some(identity) = identity {
                job.host.disk().set_identity(&partition, &identity)?;
            }
        }
        Ok(Written(self.0))
    }
}

impl<'a> Written<'a> {
    /// Step 6: the record first, then the boot file, whose first sector makes the slot
    /// bootable, then the loader's entry for it.
    fn write_boot_file(self) -> Result<Bootable<'a>, Error> {
        let Checked { job, boot_file, .. } = &self.0;
        let target = job.host_state.target();
        job.host.durable.phase("boot-file")?;
        job.keep_config();
        job.host.esp.write_record(target, &job.record())?;
        let storage = job.host.esp.create_boot_file(target, boot_file.size())?;
        boot_file.write(job, &storage)?;
        storage.complete()?;
        job.host.esp.write_loader_entry(target, &job.host.title(target), false)?;
        Ok(Bootable(self.0))
    }
}

impl<'a> Bootable<'a> {
    /// Step 7: into `BootOrder` before `BootNext`, since firmware deletes entries that
    /// the order does not list.
    fn list_boot_entry(self) -> Result<Listed<'a>, Error> {
        let job = self.0.job;
        job.host.durable.phase("list")?;
        job.access.progress.event(Event::Phase(Phase::Arming));
        job.host.boot()?.add(job.host_state.target(), SlotProof::Absent)?;
        Ok(Listed(self.0))
    }
}

impl Listed<'_> {
    /// Step 8: the journal; `BootNext`; and the journal again, so that a fall-back is known
    /// for one, and a cut before the trial is not.
    fn arm(self) -> Result<(), Error> {
        let job = self.0.job;
        let digest = job.image.digest;
        let stands = job.access.stop.check().map_err(Error::from);
        if let Err(error) = stands.and_then(|()| (job.still_stands)()) {
            note_unarmed(job.host, job.host_state, Some(digest));
            return Err(error);
        }
        job.host.durable.phase("arm")?;
        forget_unarmed(job.host, job.host_state, digest)?;
        job.note(State::Arming)?;
        let target = job.host_state.target();
        job.host.boot()?.arm(target)?;
        let (digest, version) = (Some(digest), job.image.version());
        job.host.tell(&Transition::Armed(&Held { slot: target, digest, version }));
        job.note(State::Armed)
    }
}
