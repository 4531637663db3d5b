// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the program is told of a transaction, as it happens: it keeps the history and tells the
//! system's journal. Nothing that core does depends on it (P8).

use flipside_image::Digest;

use super::host_state::SlotFacts;
use super::journal::Entry;
use crate::slot::Slot;

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Transition<'a> {
    /// The journal has this entry now.
    Noted(&'a Entry),
    /// `BootNext` names the target.
    Armed(&'a Held<'a>),
    /// What was armed does not boot any more.
    Superseded(&'a Held<'a>, &'a Reason),
    /// A trial was started and never promoted, and was counted; `failed`: it was the last.
    FellBack {
        /// What was tried.
        trial: &'a Held<'a>,
        /// What runs.
        running: &'a Held<'a>,
        /// Whether the digest gets no further trial by itself.
        failed: bool,
    },
    /// The same trial has been dealt with: what it left can be kept.
    TrialOver {
        /// What was tried.
        trial: &'a Held<'a>,
        /// Why it was not promoted.
        reason: &'a str,
        /// The journal's word about when it was armed.
        arming: Option<&'a Entry>,
        /// This boot.
        boot_id: &'a str,
    },
    /// The trial that runs is recorded as failed (P7).
    TrialFailed {
        /// What runs.
        trial: &'a Held<'a>,
        /// Why, in a sentence without its full stop.
        reason: &'a str,
    },
    /// The trial that runs is about to end: what it said can be kept.
    TrialEnds {
        /// What runs.
        trial: &'a Held<'a>,
        /// Why.
        reason: &'a str,
        /// This boot.
        boot_id: &'a str,
    },
    /// The running slot has proved itself and comes first.
    Promoted(&'a Held<'a>),
    /// A rollback arrived: the running slot comes first again.
    RolledBack(&'a Held<'a>),
    /// The firmware undid the promotion of the other slot, which comes first again.
    PromotionRestored(&'a Held<'a>),
    /// A person goes back to what the target holds.
    RollbackArmed(&'a Held<'a>),
    /// The tag names another manifest of what runs.
    Adopted(&'a Held<'a>),
    /// A person lets a digest be tried again.
    RetryAllowed(&'a Digest),
}

/// Why what was armed does not boot any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The tag names something else.
    TagMoved,
    /// Its publisher withdrew it, for this reason.
    Withdrawn(String),
}

/// A slot, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The slot.
    pub slot: Slot,
    /// Its image, where that is known.
    pub digest: Option<Digest>,
    /// Its version.
    pub version: &'a str,
}

impl<'a> Held<'a> {
    /// What `facts` say that `slot` holds.
    pub fn of(slot: Slot, facts: &'a SlotFacts) -> Self {
        Self { slot, digest: facts.digest(), version: facts.version() }
    }
}

/// Is told of each transition. Must not fail.
pub trait Observer: Send + Sync {
    /// Takes a transition.
    fn transition(&self, transition: &Transition<'_>);
}
