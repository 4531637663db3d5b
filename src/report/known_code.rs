// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes that are told in words of their own. The status document and the journal have codes
//! as text: here it is read, once. Only how something is told may rest on it, no decision.

/// What a code says to who tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownCode {
    /// Nothing follows what runs by itself.
    DeadEnd,
    /// The release on offer failed on this host.
    DigestFailed,
    /// A person left the release on offer by a rollback.
    DigestHeld,
    /// The ESP does not get well by itself.
    EspDamaged,
    /// Somebody holds off reboots.
    RebootInhibited,
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
    pub const ALL: [(&str, Self); 12] = [
        ("dead-end", Self::DeadEnd),
        ("digest-failed", Self::DigestFailed),
        ("digest-held", Self::DigestHeld),
        ("esp-damaged", Self::EspDamaged),
        ("policy-document-expired", Self::MayBeAttack),
        ("policy-document-foreign", Self::MayBeAttack),
        ("policy-document-invalid", Self::MayBeAttack),
        ("policy-document-missing", Self::MayBeAttack),
        ("policy-document-replayed", Self::MayBeAttack),
        ("policy-document-unsigned", Self::MayBeAttack),
        ("reboot-inhibited", Self::RebootInhibited),
        ("updates-held", Self::UpdatesHeld),
    ];

    /// What `code` says.
    pub fn of(code: &str) -> Self {
        Self::ALL.iter().find(|(known, _)| *known == code).map_or(Self::Other, |(_, is)| *is)
    }
}
