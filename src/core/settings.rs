// SPDX-License-Identifier: MIT OR Apache-2.0

//! The settings that decide what is written and booted: plain values. `config` makes them from
//! files, and has checked them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::slot::Slot;

/// What of the settings core goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[host]`.
    pub host: HostConfig,
    /// `boot.backend`.
    pub boot: BootBackend,
    /// `trial.attempts`: trials that a digest gets before it counts as failed, at least 1.
    pub attempts: u32,
    /// `update.read_back`: read everything back from the medium before it may boot.
    pub read_back: bool,
}

/// `[host]`: where things are on this host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostConfig {
    /// `host.esp`: where the ESP is mounted; `None` is `"auto"`.
    pub esp: Option<PathBuf>,
    /// `host.disk`: the disk with the slots; `None` is `"auto"`, the one that holds the ESP.
    pub disk: Option<PathBuf>,
    /// `host.slots`: GPT labels of the `system` payload's partitions.
    pub slots: SlotLabels,
    /// `host.payloads`: further payloads and the labels of their partitions.
    pub payloads: BTreeMap<String, SlotLabels>,
}

/// A GPT label for each slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SlotLabels {
    /// Slot A's.
    pub a: String,
    /// Slot B's.
    pub b: String,
}

impl SlotLabels {
    /// The label for `slot`.
    pub fn of(&self, slot: Slot) -> &str {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }
}

/// The `system` payload's.
impl Default for SlotLabels {
    fn default() -> Self {
        Self { a: "system-a".to_owned(), b: "system-b".to_owned() }
    }
}

/// `boot.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootBackend {
    /// UEFI boot entries, `BootOrder` and `BootNext`.
    #[default]
    Uefi,
    /// The entries of systemd-boot, which counts their tries.
    SystemdBoot,
}
