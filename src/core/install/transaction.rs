// SPDX-License-Identifier: MIT OR Apache-2.0

//! An install, in the order of P4. Each step takes the one before it as a value, so that
//! another order does not compile, and makes its work durable before it returns.

use flipside_image::constraints::END_OF_LIFE;
use flipside_image::{Digest, Image, Layer, PartitionIdentity};

use super::arm::secure;
use crate::blob_source::BlobSource;
use crate::error::Error;
use crate::host::boot::Standing;
use crate::host::medium::Medium;
use crate::host::{Partition, Record, kexec};
use crate::lock::Lock;
use crate::opened::{Access, Host};
use crate::progress::{Event, Phase};
use crate::slot::Slot;
use crate::state::journal::{Entry, State};
use crate::state::transition::Held;
use crate::state::{Situation, Transition};

/// What is to be installed, and on what.
pub struct Job<'a> {
    /// Held until the install is over.
    pub lock: &'a Lock,
    /// Settings, progress, the wish to stop.
    pub access: &'a Access,
    /// The host.
    pub host: &'a Host,
    /// The facts, read under the lock.
    pub situation: &'a Situation,
    /// Where the image comes from.
    pub source: &'a dyn BlobSource,
    /// The repository that it comes from, without tag.
    pub repository: String,
    /// The image, checked.
    pub image: &'a Image,
    /// What the tag pointed to: the image, or an index that lists it.
    pub tag: Digest,
    /// The key that it was signed with, where that was asked.
    pub signed_by: Option<String>,
    /// The version that it is a step to, where it is not the goal itself.
    pub towards: Option<String>,
    /// Gives the bytes of the image's config, to be kept; in words, why not.
    pub config: &'a dyn Fn() -> Result<Vec<u8>, String>,
    /// Asked when all is written, which may take hours: whether it is still to boot.
    pub still_stands: &'a dyn Fn() -> Result<(), Error>,
}

/// Step 2 is done: nothing stands against the install, nothing was changed.
pub struct Checked<'a> {
    pub(super) job: &'a Job<'a>,
    /// The layer for each partition of the target.
    pub(super) partitions: Vec<(Layer<'a>, &'a Partition)>,
    pub(super) boot_file: Layer<'a>,
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
        self.secure_running_slot()?
            .disarm_target()?
            .write_partitions()?
            .write_boot_file()?
            .list_boot_entry()?
            .arm()
    }
}

impl<'a> Checked<'a> {
    fn secure_running_slot(self) -> Result<Secured<'a>, Error> {
        secure(self.job.host, self.job.situation)?;
        Ok(Secured(self))
    }
}

impl<'a> Secured<'a> {
    /// Step 4, P2: whatever boots the target goes, before its first byte changes. The
    /// journal speaks first, so that what follows is not taken for a fall-back.
    fn disarm_target(self) -> Result<Disarmed<'a>, Error> {
        let job = self.0.job;
        let target = job.situation.target();
        job.host.durable.phase("disarm")?;
        job.note(State::Writing)?;
        disarm(job.host, target)?;
        if job.situation.is_armed() {
            let held = Held::of(target, job.situation.target_slot());
            job.host.tell(&Transition::Superseded(&held));
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
        let (version, slot) = (job.image.version().to_owned(), job.situation.target());
        job.access.progress.event(Event::Installing { version, slot });
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
            let medium = job.host.open_target(&partition)?;
            job.write(layer, &medium)?;
            drop(medium);
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
        let target = job.situation.target();
        job.host.durable.phase("boot-file")?;
        job.access.progress.event(Event::Phase(Phase::Arming));
        job.keep_config();
        job.host.esp.write_record(target, &job.record())?;
        let medium = job.host.esp.create_boot_file(target, boot_file.payload.size)?;
        job.write(boot_file, &medium)?;
        medium.complete()?;
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
        job.host.boot()?.add(job.situation.target(), Standing::Unproven)?;
        Ok(Listed(self.0))
    }
}

impl Listed<'_> {
    /// Step 8: the journal; `BootNext`; and the journal again, so that a fall-back is known
    /// for one, and a cut before the trial is not.
    fn arm(self) -> Result<(), Error> {
        let job = self.0.job;
        job.access.stop.check()?;
        (job.still_stands)()?;
        job.host.durable.phase("arm")?;
        job.note(State::Arming)?;
        let target = job.situation.target();
        job.host.boot()?.arm(target)?;
        let (digest, version) = (Some(job.image.digest), job.image.version());
        job.host.tell(&Transition::Armed(&Held { slot: target, digest, version }));
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
            repository: Some(self.repository.clone()),
            signed_by: self.signed_by.clone(),
            end_of_life: self.image.manifest.annotations.get(END_OF_LIFE).cloned(),
            towards: self.towards.clone(),
        }
    }

    fn write(&self, layer: &Layer<'_>, medium: &dyn Medium) -> Result<(), Error> {
        let resumes = self.situation.journal.as_ref().is_some_and(|e: &Entry| {
            e.state == State::Writing && e.digest == Some(self.image.digest)
        });
        let read_back = self.access.settings.read_back;
        let options = super::Options { read_back, resume: resumes, ..Default::default() };
        let (progress, stop) = (self.access.progress.as_ref(), &self.access.stop);
        super::write_payload(self.source, layer, medium, &options, progress, stop)?;
        Ok(())
    }

    fn note(&self, state: State) -> Result<(), Error> {
        let target = self.situation.target();
        self.host.note_of(state, target, Some(self.image.digest), self.image.version())
    }

    /// Keeps the chunk hashes, for `verify` and rollback without a network. Where that fails,
    /// they are fetched when they are wanted: it is no reason to stop (P8).
    fn keep_config(&self) {
        let descriptor = &self.image.manifest.config;
        let running = self.situation.running_slot().record.as_ref();
        let needed: Vec<_> = running.and_then(|r| r.config_digest).into_iter().collect();
        let kept = (self.config)().and_then(|bytes| {
            let kept = self.host.journal.keep_config(&descriptor.digest, &bytes, &needed);
            kept.map_err(|error| error.to_string())
        });
        if let Err(error) = kept {
            tracing::warn!("the chunk hashes are not kept on this host: {error}");
        }
    }
}
