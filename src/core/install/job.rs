// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an install is about, and what its steps do with it.

use flipside_image::delta::OldImage;
use flipside_image::{Digest, Image, Layer};

use super::base::Base;
use super::transfer::Target;
use super::{InstallError, Options, write_target};
use crate::blob_source::BlobSource;
use crate::error::Error;
use crate::host::Record;
use crate::host::storage::Storage;
use crate::lock::Lock;
use crate::opened::{Access, Host};
use crate::progress::Progress;
use crate::state::HostState;
use crate::state::journal::{Entry, State};

/// What is to be installed, and on what.
pub struct Job<'a> {
    /// Held until the install is over.
    pub lock: &'a Lock,
    /// Settings, progress, the wish to stop.
    pub access: &'a Access,
    /// The host.
    pub host: &'a Host,
    /// The facts, read under the lock.
    pub host_state: &'a HostState,
    /// Where the image comes from.
    pub source: &'a dyn BlobSource,
    /// The repository that it comes from, without tag.
    pub repository: String,
    /// The image, checked.
    pub image: &'a Image,
    /// The image in the running slot, from which the new one may be made.
    pub old: Option<&'a OldImage>,
    /// What the tag pointed to: the image, or an index that lists it.
    pub tag: Digest,
    /// The key that it was signed with, where that was asked.
    pub signed_by: Option<String>,
    /// The version that it is a step to, where it is not the target release itself.
    pub towards: Option<String>,
    /// Asked when all is written, which may take hours: whether it is still to boot.
    pub still_stands: &'a dyn Fn() -> Result<(), Error>,
}

impl Job<'_> {
    /// What the target will hold.
    pub(super) fn record(&self) -> Record {
        Record {
            signed_by: self.signed_by.clone(),
            towards: self.towards.clone(),
            content_id: Some(self.host_state.content_of(&self.image.config)),
            ..Record::of(self.image, self.tag, Some(self.repository.clone()))
        }
    }

    /// Puts a payload onto `storage`. What of it the running slot has is not fetched.
    pub(super) fn write(
        &self,
        layer: &Layer<'_>,
        storage: &dyn Storage,
    ) -> Result<(), InstallError> {
        let progress = self.access.progress.as_ref();
        self.write_from(self.source, layer, storage, &self.options(), progress)
    }

    /// The same, from another source, or otherwise.
    pub(super) fn write_from(
        &self,
        source: &dyn BlobSource,
        layer: &Layer<'_>,
        storage: &dyn Storage,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<(), InstallError> {
        let base = self.base(layer);
        let target = Target { storage, payload: layer.payload, progress, stop: &self.access.stop };
        write_target(target, source, layer, base.as_ref(), options)?;
        Ok(())
    }

    /// What the running slot has for the payload of `layer`; `None` where that is nothing.
    fn base(&self, layer: &Layer<'_>) -> Option<Base<'_>> {
        let delta = self.old?.delta_of(layer)?;
        let storage = match self.host.open_base(delta.name.as_str()) {
            Ok(storage) => storage?,
            Err(error) => {
                tracing::warn!("payload {} is fetched in full: {error}", delta.name);
                return None;
            }
        };
        (storage.capacity() >= delta.from_size).then(|| Base::new(storage, delta))
    }

    /// How payloads are put there.
    pub(super) fn options(&self) -> Options {
        let resume = self.host_state.journal.as_ref().is_some_and(|e: &Entry| {
            e.state == State::Writing && e.digest == Some(self.image.digest)
        });
        Options { read_back: self.access.settings.read_back, resume, ..Options::default() }
    }

    pub(super) fn note(&self, state: State) -> Result<(), Error> {
        let target = self.host_state.target();
        self.host.note_of(state, target, Some(self.image.digest), self.image.version())
    }

    /// Keeps the chunk hashes, for `verify` and rollback without a network. Where that fails,
    /// they are fetched when they are wanted: it is no reason to stop (P8).
    pub(super) fn keep_config(&self) {
        let descriptor = &self.image.manifest.config;
        let running = self.host_state.running_slot().record.as_ref();
        let needed: Vec<_> = running.and_then(|r| r.config_digest).into_iter().collect();
        let bytes = &self.image.config_bytes;
        if let Err(error) = self.host.journal.keep_config(&descriptor.digest, bytes, &needed) {
            tracing::warn!("the chunk hashes are not kept on this host: {error}");
        }
    }
}
