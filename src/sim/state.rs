// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the simulator remembers of a machine between two power-ons: `sim.json` in its directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flipside_image::{Architecture, Digest};
use serde::{Deserialize, Serialize};

use super::error::At as _;
use super::images::{self, KnownImage};
use super::nvram::Variables;
use super::{Quirk, SimError, Slot};

const FILE: &str = "sim.json";
/// The version of the file's format.
const FORMAT: u32 = 1;

/// `sim.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    architecture: String,
    /// The removable-media loader that the disk was built with.
    pub(super) loader: Digest,
    /// Quirks that this firmware has at every boot.
    pub(super) quirks: Vec<Quirk>,
    /// OCI layouts that are looked through for images at every boot.
    pub(super) layouts: Vec<PathBuf>,
    pub(super) images: Vec<KnownImage>,
    /// The variables as they were when the firmware last handed over.
    nvram: BTreeMap<String, String>,
    /// Whether the OS did not get to see them.
    pub(super) hidden: bool,
    /// How the last boot ended.
    pub(super) last: Option<Last>,
}

/// What the booted slot is after the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It has no proof.
    Trial,
    /// It has its proof.
    Promoted,
    /// Another slot was to be booted: `BootNext` or a loader entry with tries left named it and it
    /// could not be started, or the boot before this one was its trial and left it without a proof.
    FellBack,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trial => "trial",
            Self::Promoted => "promoted",
            Self::FellBack => "fell back",
        })
    }
}

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) slot: Slot,
    pub(super) ending: Ending,
}

impl State {
    pub(super) fn new(architecture: Architecture, loader: Digest) -> Self {
        Self {
            format: FORMAT,
            architecture: architecture.name().to_owned(),
            loader,
            quirks: Vec::new(),
            layouts: Vec::new(),
            images: Vec::new(),
            nvram: BTreeMap::new(),
            hidden: false,
            last: None,
        }
    }

    pub(super) fn load(directory: &Path) -> Result<Self, SimError> {
        let path = directory.join(FILE);
        let no_machine =
            |reason: String| SimError::NoMachine { path: directory.to_owned(), reason };
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(no_machine(format!("it has no {FILE}")));
            }
            other => other.at("read", &path)?,
        };
        let state: Self = serde_json::from_slice(&bytes)
            .map_err(|error| no_machine(format!("{FILE} cannot be read: {error}")))?;
        if state.format == FORMAT {
            Ok(state)
        } else {
            Err(no_machine(format!("{FILE} has the format {}, not {FORMAT}", state.format)))
        }
    }

    pub(super) fn save(&self, directory: &Path) -> Result<(), SimError> {
        let path = directory.join(FILE);
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        bytes.and_then(|bytes| std::fs::write(&path, bytes)).at("write", &path)
    }

    pub(super) fn architecture(&self) -> Architecture {
        Architecture::from_name(&self.architecture).unwrap_or(Architecture::X86_64)
    }

    /// Learns what the layouts hold by now. One that is gone teaches nothing new.
    pub(super) fn learn(&mut self) -> Result<(), SimError> {
        let architecture = self.architecture();
        for layout in self.layouts.iter().filter(|layout| layout.join("index.json").is_file()) {
            images::learn(&mut self.images, layout, architecture)?;
        }
        Ok(())
    }

    /// The variables as the firmware last handed them over.
    pub(super) fn remembered(&self) -> Variables {
        Variables::from_hex(&self.nvram).unwrap_or_default()
    }

    pub(super) fn remember(&mut self, variables: &Variables) {
        self.nvram = variables.to_hex();
    }
}
