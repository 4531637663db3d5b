// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run tells of its progress, as events.

use serde::{Deserialize, Serialize};

use crate::slot::Slot;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Asking the source what the tag points to.
    Checking,
    /// Asking the hooks.
    Hooks,
    /// Fetching the boot file, to look at it before anything is written.
    Fetching,
    /// Looking what of the image stands in the target already.
    Comparing,
    /// Fetching and writing.
    Writing,
    /// Reading back what was written.
    ReadingBack,
    /// Writing the boot file and the boot entries.
    Arming,
    /// Sending blobs to a registry.
    Pushing,
    /// Nothing left to do.
    Done,
}

impl Phase {
    /// What it is, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Checking => "looking for an update",
            Self::Hooks => "asking the hooks",
            Self::Fetching => "fetching the boot file",
            Self::Comparing => "comparing with what is there",
            Self::Writing => "writing",
            Self::ReadingBack => "reading back",
            Self::Arming => "writing the boot entries",
            Self::Pushing => "pushing",
            Self::Done => "done",
        }
    }
}

/// Something that happened. Byte counts are differences, not sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new phase began.
    Phase(Phase),
    /// What is written, and where; said before the phase of writing.
    Installing {
        /// The version.
        version: String,
        /// The slot.
        slot: Slot,
        /// The size of all payloads, in uncompressed bytes.
        size: u64,
    },
    /// What is pushed, said in the phase of pushing.
    Pushing {
        /// How many blobs are sent.
        blobs: u64,
        /// How many others the registry has already.
        present: u64,
        /// The size of those that are sent, in bytes.
        size: u64,
    },
    /// A payload is fetched before anything is written: its name, and what has to be fetched of it.
    Ahead {
        /// Its name.
        name: String,
        /// In compressed bytes.
        fetch: u64,
    },
    /// A payload begins: its name, its size, and how many of its bytes are kept.
    Payload {
        /// Its name.
        name: String,
        /// Its size in bytes, uncompressed.
        size: u64,
        /// Of these, what stands in the target already.
        kept: u64,
        /// What has to be fetched, in compressed bytes.
        fetch: u64,
    },
    /// Compressed bytes came in.
    Fetched(u64),
    /// Uncompressed bytes were verified and written, or bytes were sent to a registry.
    Written(u64),
    /// Bytes were read back and found right.
    ReadBack(u64),
}

/// Follows a run. Must not fail, and must not take long.
pub trait Progress: Send + Sync {
    /// Takes an event; called from several threads.
    fn event(&self, event: Event);
}

/// Follows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}
