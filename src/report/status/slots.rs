// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts of the status: the slots, and what the firmware boots.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use flipside_core::host::Slot;
use flipside_image::Digest;

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Which.
    pub slot: Slot,
    /// Whether it is the running one.
    pub running: bool,
    /// The version of the OS in it.
    pub version: Option<String>,
    /// The digest of the image in it; `None` on a host that flipside did not install.
    pub digest: Option<Digest>,
    /// The key that it was signed with, where signatures were required when it was installed.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// What it is good for.
    pub state: SlotState,
    /// Since when it is in that state, where that is recorded.
    pub since: Option<Timestamp>,
    /// Its boot file on the ESP.
    pub boot_file: BootFile,
    /// Whether the loader on the ESP has an entry for it; `None` where it cannot be told.
    pub loader_entry: Option<bool>,
    /// Its entry in the firmware: four hex digits; `None` where there is none.
    pub boot_entry: Option<String>,
}

/// What a slot is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// Nothing is in it.
    Empty,
    /// It is being written, or a run that wrote it was cut off.
    Writing,
    /// It is whole, and has not booted yet.
    Installed,
    /// It was to boot, and does not any more: the tag moved, or its publisher withdrew it.
    Superseded,
    /// It boots once at the next boot.
    Armed,
    /// It runs, and has not proved itself yet.
    Trial,
    /// It has booted to success.
    Proven,
    /// What is in it failed its trial.
    Failed,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// A slot's boot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootFile {
    /// There is none.
    Absent,
    /// There is one without a valid first sector: it cannot boot (P2).
    Unbootable,
    /// There is one.
    Bootable,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// A firmware boot entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// Its number: four hex digits; the name of its file, where the loader has the entries.
    pub number: String,
    /// What the firmware calls it.
    pub description: String,
    /// What it boots.
    pub what: BootTarget,
    /// Whether the firmware may boot it (the attribute `LOAD_OPTION_ACTIVE`).
    pub active: bool,
}

/// What a boot entry boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootTarget {
    /// Slot A.
    SlotA,
    /// Slot B.
    SlotB,
    /// The removable-media loader on this host's ESP.
    Removable,
    /// Something that is not flipside's.
    Foreign,
    /// Nothing: `BootOrder` lists a number without an entry.
    Missing,
}
