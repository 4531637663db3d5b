// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes that are told in words of their own. The status document and the journal have codes
//! as text: here it is read, once. Only how something is told may rest on it, no decision.

use crate::codes;
use flipside_image::code::Code;

/// What a code says to who tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownCode {
    /// Nothing follows what runs by itself.
    DeadEnd,
    /// The release on offer failed on this host.
    DigestFailed,
    /// A person left the release on offer by a rollback.
    DigestRolledBack,
    /// The ESP does not get well by itself.
    EspDamaged,
    /// A person holds updates.
    UpdatesHeld,
    /// A deferral that goes away by itself in a registry that is well, and that lasts where
    /// somebody keeps this host from updates by freezing or replaying what it shows.
    MayBeAttack,
    /// Any other code.
    Other,
}

impl KnownCode {
    /// All but [`Self::Other`], by their codes.
    const ALL: [(Code, Self); 11] = [
        (codes::DEAD_END, Self::DeadEnd),
        (codes::DIGEST_FAILED, Self::DigestFailed),
        (codes::DIGEST_ROLLED_BACK, Self::DigestRolledBack),
        (codes::ESP_DAMAGED, Self::EspDamaged),
        (codes::POLICY_DOCUMENT_EXPIRED, Self::MayBeAttack),
        (codes::POLICY_DOCUMENT_FOREIGN, Self::MayBeAttack),
        (codes::POLICY_DOCUMENT_INVALID, Self::MayBeAttack),
        (codes::POLICY_DOCUMENT_MISSING, Self::MayBeAttack),
        (codes::POLICY_DOCUMENT_REPLAYED, Self::MayBeAttack),
        (codes::POLICY_DOCUMENT_UNSIGNED, Self::MayBeAttack),
        (codes::UPDATES_HELD, Self::UpdatesHeld),
    ];

    /// What `code` says.
    pub fn of(code: &str) -> Self {
        Self::ALL.iter().find(|(known, _)| known.name() == code).map_or(Self::Other, |(_, is)| *is)
    }
}
