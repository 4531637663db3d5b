// SPDX-License-Identifier: MIT OR Apache-2.0

//! How slots are booted: what a boot loader or firmware has to be told, whichever it is.

use serde::Serialize;

use super::Slot;
use super::efi::{BootNumber, EfiError};

/// What the next boot was reserved for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// Nothing: the order decides. Also where it was reserved for an entry that does not
    /// exist, which the firmware passes over.
    Nothing,
    /// This slot.
    Slot(Slot),
    /// Something that is not flipside's.
    Foreign {
        /// The entry.
        number: BootNumber,
        /// What it calls itself.
        description: String,
    },
}

/// What a boot entry is to flipside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A slot's boot file.
    Slot(Slot),
    /// The removable-media loader of this host's ESP.
    Removable,
    /// Something of others.
    Foreign,
    /// A number in the order without an entry.
    Missing,
}

/// A boot entry, as a person sees it in the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootEntry {
    /// Its number.
    pub number: BootNumber,
    /// What it calls itself.
    pub description: String,
    /// What it is.
    pub kind: EntryKind,
    /// Whether the firmware would boot it in its turn.
    pub is_active: bool,
    /// Whether it stands in the boot order.
    pub is_listed: bool,
}

/// Whether what a slot holds has booted to success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has.
    Proven,
    /// It has not.
    Unproven,
}

/// A way to boot slots. Each call reads what stands there now and trusts no earlier answer;
/// each change is durable and read back when the call returns.
pub trait Backend: Send + Sync {
    /// Whether an update could be booted on this host, changing nothing.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, running: Slot) -> Result<(), EfiError>;

    /// What the next boot is reserved for.
    ///
    /// # Errors
    /// What cannot be read.
    fn next(&self) -> Result<Next, EfiError>;

    /// The slot that the order boots first, of the two.
    ///
    /// # Errors
    /// What cannot be read.
    fn first(&self) -> Result<Option<Slot>, EfiError>;

    /// P5: sees to it that the running slot boots before the other one, and before the
    /// removable-media loader.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn secure(&self, running: Slot) -> Result<(), EfiError>;

    /// Makes `target` bootable, behind the running slot, which has to be secured: right behind
    /// it where what it holds is proven, last of all where it is not. Should the running slot's
    /// entry be lost, everything else is tried before an OS that never booted to success.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn add(&self, target: Slot, standing: Standing) -> Result<(), EfiError>;

    /// Reserves the next boot for `target`, which was added.
    ///
    /// # Errors
    /// What cannot be read or changed; a next boot that somebody else has reserved.
    fn arm(&self, target: Slot) -> Result<(), EfiError>;

    /// Lifts a reservation of the next boot for `target`; any other stands.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn disarm(&self, target: Slot) -> Result<(), EfiError>;

    /// Boots `slot` first from now on, then the other one where it is known already and proven.
    ///
    /// # Errors
    /// What cannot be read or changed.
    fn prefer(&self, slot: Slot, other: Standing) -> Result<(), EfiError>;

    /// All entries in their order, then those of flipside's that the order does not list.
    ///
    /// # Errors
    /// What cannot be read.
    fn order(&self) -> Result<Vec<BootEntry>, EfiError>;
}
