// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the system's journal is told (P11): each transition and each refusal, once.

use super::situation::{Situation, SlotFacts};
use super::{Promotion, Rollback, UpdateError};
use crate::code::{Coded as _, sentence};
use crate::host::Slot;
use crate::image::Digest;
use crate::report::Status;
use crate::report::journal::{Entry, Kind};
use crate::report::status::Available;

/// A slot, and what is in it.
fn entry(kind: Kind, slot: Slot, digest: Option<Digest>, version: &str, message: String) -> Entry {
    Entry::new(kind, message).slot(slot).version(version).digest(digest)
}

/// The tag points to something new.
pub(super) fn available(offer: &Available) {
    let version = offer.version.as_deref().unwrap_or("unknown");
    let message = format!("{version} ({}) is available", offer.digest.short());
    Entry::new(Kind::UpdateAvailable, message).version(version).digest(offer.digest).send();
}

/// `BootNext` names the target.
pub(super) fn armed(slot: Slot, digest: Option<Digest>, version: &str) {
    let message = format!("{version} is whole in slot {slot} and boots once at the next boot");
    entry(Kind::Armed, slot, digest, version, message).send();
}

/// What was armed does not boot any more, because of the tag.
pub(super) fn superseded(slot: Slot, holds: &SlotFacts) {
    let version = holds.version();
    let message = format!("the tag has moved: {version} in slot {slot} does not boot any more");
    entry(Kind::Superseded, slot, holds.digest(), version, message).send();
}

/// What was armed does not boot any more, because its publisher withdrew it.
pub(super) fn withdrawn(slot: Slot, holds: &SlotFacts) {
    let version = holds.version();
    let message = format!("{version} in slot {slot} was withdrawn and does not boot any more");
    let entry = entry(Kind::Superseded, slot, holds.digest(), version, message);
    entry.code("release-withdrawn").send();
}

/// A trial that was started and never promoted was counted; `failed`: it was the last.
pub(super) fn fell_back(situation: &Situation, digest: Digest, version: &str, failed: bool) {
    let (running, target) = (situation.running, situation.target());
    let message = format!(
        "{version} in slot {target} was started and never promoted: slot {running} with {} runs",
        situation.running_slot().version(),
    );
    entry(Kind::FellBack, target, Some(digest), version, message).send();
    if failed {
        digest_failed(target, digest, version);
    }
}

/// P7: `digest` is not tried again by itself.
pub(super) fn digest_failed(slot: Slot, digest: Digest, version: &str) {
    let message = format!(
        "{version} ({}) failed on this host and is not tried again by itself; \
         `flipside release {digest}` allows it",
        digest.short()
    );
    entry(Kind::DigestFailed, slot, Some(digest), version, message).code("digest-failed").send();
}

/// What a promote did, besides what [`fell_back`] says.
pub(super) fn promotion(situation: &Situation, promotion: &Promotion) {
    let (kind, slot) = match promotion {
        Promotion::Promoted(slot) => (Kind::Promoted, *slot),
        Promotion::RolledBack(slot) => (Kind::RolledBack, *slot),
        Promotion::Restored(slot) => (Kind::PromotionLost, *slot),
        _ => return,
    };
    let (version, digest) = (situation.slot(slot).version(), situation.slot(slot).digest());
    let message = match kind {
        Kind::Promoted => {
            format!("{version} in slot {slot} has proved itself and boots first from now on")
        }
        Kind::RolledBack => format!("rolled back: {version} in slot {slot} boots first again"),
        _ => format!(
            "the firmware undid the promotion of {version} in slot {slot}; it boots first again \
             from the next boot on"
        ),
    };
    let entry = entry(kind, slot, digest, version, message);
    match kind {
        Kind::PromotionLost => entry.code("promotion-lost").send(),
        _ => entry.send(),
    }
}

/// A person goes back.
pub(super) fn rollback(rollback: &Rollback, digest: Option<Digest>) {
    let Rollback { slot, version } = rollback;
    let message = format!("back to {version} in slot {slot} at the next boot");
    entry(Kind::RollbackArmed, *slot, digest, version, message).send();
}

/// A person lets a digest be tried again.
pub(super) fn released(digest: &Digest) {
    let message = format!("{} may be installed again", digest.short());
    Entry::new(Kind::Released, message).digest(*digest).send();
}

/// A run ended with `error`; `status` tells what it was about.
pub(super) fn refused(error: &UpdateError, status: &Status) {
    let mut entry = Entry::new(Kind::of(error.severity()), sentence(error)).code(error.code());
    if let Some(Available { version, digest }) = &status.available {
        entry = entry.digest(*digest);
        if let Some(version) = version {
            entry = entry.version(version);
        }
    }
    entry.send();
}
