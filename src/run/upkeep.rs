// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is done about the slots besides updates.

use flipside_core::install::{SlotContents, contents};
use flipside_core::trial::{self, Armed, FailedRun, Promotion, Rollback};
use flipside_core::{Host, Slot};

use super::asked_retry::do_asked_retries;
use super::trial_due::is_trial_due;
use super::withdrawn::{note_remembered, warn_of_promoted};
use super::{Error, Run};
use crate::system::MachineId;
use flipside_image::{CONFIG_LIMIT, Digest, Image, ImageConfig, Manifest};

/// Promotes what runs, and keeps the machine ID for both slots. Writes nothing where nothing is to
/// be done.
///
/// # Errors
/// [`Error`]; what was done before it stays.
pub fn promote(run: &Run) -> Result<Promotion, Error> {
    if run.config.track.image.is_none() {
        return Ok(Promotion::NotAHost);
    }
    let promoted = trial::promote(&run.access());
    do_asked_retries(run);
    let promotion = promoted?;
    if promotion != Promotion::NotAHost {
        note_remembered(run);
        if let Promotion::Promoted(slot) = promotion {
            warn_of_promoted(run, slot);
        }
        match MachineId::keep(&run.root, &run.files()) {
            Ok(true) => tracing::info!("the machine ID is kept for both slots"),
            Ok(false) => {}
            Err(error) => tracing::warn!("the machine ID cannot be kept for both slots: {error}"),
        }
    }
    Ok(promotion)
}

/// Arms the other slot, where it is proven and whole.
///
/// # Errors
/// [`Error`], and refusals: `rollback-overwritten`, `slot-not-proven`, `slot-damaged`, `slot-unverifiable`.
pub fn rollback(run: &Run, unverified: bool) -> Result<Rollback, Error> {
    let fetch = |digest: &Digest| fetch_config(run, digest);
    let armed = trial::rollback(&run.access(), unverified, &fetch);
    do_asked_retries(run);
    Ok(armed?)
}

/// Forgets that `digest` failed, or that a rollback left it. Returns whether either was so.
///
/// # Errors
/// [`Error`].
pub fn retry(run: &Run, digest: &Digest) -> Result<bool, Error> {
    Ok(trial::retry(&run.access(), digest)?)
}

/// Forgets everything that failed, and what a rollback left. Returns the digests.
///
/// # Errors
/// [`Error`].
pub fn retry_all(run: &Run) -> Result<Vec<Digest>, Error> {
    Ok(trial::retry_all(&run.access())?)
}

/// Records that what runs, unproven, has failed, because of `reason`; does not reboot. `None` where
/// no reboot is to follow.
///
/// # Errors
/// [`Error`].
pub fn fail_trial(run: &Run, reason: &str) -> Result<Option<FailedRun>, Error> {
    Ok(trial::fail_trial(&run.access(), reason)?)
}

/// What is armed; `None` where nothing is, or where no slots are recognised.
///
/// # Errors
/// [`Error`]; `locked` where another run is at work.
pub fn armed(run: &Run) -> Result<Option<Armed>, Error> {
    Ok(trial::armed(&run.access(), is_trial_due(run))?)
}

/// Reads `slots` from the medium. Nothing on a host without slots.
///
/// # Errors
/// [`Error`].
pub fn verify(run: &Run, slots: &[Slot]) -> Result<Vec<(Slot, SlotContents)>, Error> {
    let access = run.access();
    let Some(host) = Host::open(&access)? else { return Ok(Vec::new()) };
    let host_state = host.host_state()?;
    let fetch = |digest: &Digest| fetch_config(run, digest);
    let verify = |slot: &Slot| Ok((*slot, contents(&access, &host, &host_state, *slot, &fetch)?));
    slots.iter().map(verify).collect()
}

/// The chunk hashes of an image that this host has not kept.
pub(super) fn fetch_config(run: &Run, digest: &Digest) -> Result<ImageConfig, String> {
    let fetch = || -> Result<ImageConfig, Error> {
        let source = run.source()?;
        let manifest = Manifest::parse(&source.manifest(digest)?)?;
        let bytes = source.blob("config", &manifest.config, CONFIG_LIMIT)?;
        Ok(Image::with_config(*digest, manifest, bytes)?.config)
    };
    fetch().map_err(|error| error.to_string())
}
