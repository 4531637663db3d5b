// SPDX-License-Identifier: MIT OR Apache-2.0

//! The judge: what a power-on would end in, without changing anything.

use std::path::Path;

use flipside_image::Digest;
use serde::Serialize;

use super::firmware::{self, PowerOn};
use super::images::KnownImage;
use super::machine::{Machine, VARIABLES};
use super::nvram::Variables;
use super::state::State;
use super::{Quirk, SimError, Slot, kernel};

/// The circumstances of a power-on.
#[derive(Debug, Clone, Default)]
pub struct Power {
    /// NVRAM is empty.
    pub wipe_nvram: bool,
    /// Faults of the firmware, besides those that it always has.
    pub quirks: Vec<Quirk>,
}

/// An OS that comes up whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Booted {
    /// From where.
    pub slot: Slot,
    /// Its version.
    pub version: String,
    /// Its image.
    pub digest: Digest,
    /// The number of its `Boot####`; `None` where no entry was used.
    pub entry: Option<u16>,
    /// Whether the removable-media loader started it.
    pub by_loader: bool,
}

/// What a power-on ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The OS, or why the machine is dead.
    pub booted: Result<Booted, String>,
    /// The slot that `BootNext` named, where it did.
    pub asked: Option<Slot>,
    /// What was tried, in order.
    pub notes: Vec<String>,
}

/// Judges directories by the images of one machine, which are hashed once, when it is made.
#[derive(Debug, Clone)]
pub struct Judge {
    state: State,
    remembered: Variables,
}

impl Judge {
    /// The judge of the machine in `directory`, and of its copies.
    ///
    /// # Errors
    /// [`SimError`]: there is no machine, or one of its image layouts is damaged.
    pub fn of(directory: &Path) -> Result<Self, SimError> {
        let mut state = State::load(directory)?;
        state.learn()?;
        Ok(Self::new(state))
    }

    pub(super) fn new(state: State) -> Self {
        Self { remembered: state.remembered(), state }
    }

    /// What a power-on of the machine in `directory`, a copy of this one, ends in. Reads only.
    pub fn judge(&self, directory: &Path, power: &Power) -> Verdict {
        let machine = match Machine::open(directory, &self.state) {
            Ok(machine) => machine,
            Err(reason) => return Verdict { booted: Err(reason), asked: None, notes: Vec::new() },
        };
        let quirks = all_quirks(&self.state, power);
        let mut variables = match firmware_variables(directory, &self.state, &self.remembered) {
            Ok(variables) => variables,
            Err(error) => {
                let reason = format!("the firmware's variables cannot be read: {error}");
                return Verdict { booted: Err(reason), asked: None, notes: Vec::new() };
            }
        };
        let power_on = firmware::power_on(&mut variables, &self.remembered, &machine, &quirks);
        judged(&machine, power_on, &quirks).0
    }
}

/// The quirks of the firmware and of this power-on.
pub(super) fn all_quirks(state: &State, power: &Power) -> Vec<Quirk> {
    let mut quirks = [state.quirks.as_slice(), power.quirks.as_slice()].concat();
    if power.wipe_nvram {
        quirks.push(Quirk::LoseNvram);
    }
    quirks
}

/// The variables as the firmware has them: those that the OS saw, or its own where it hid them.
pub(super) fn firmware_variables(
    directory: &Path,
    state: &State,
    remembered: &Variables,
) -> std::io::Result<Variables> {
    if state.hidden { Ok(remembered.clone()) } else { Variables::load(&directory.join(VARIABLES)) }
}

/// Lets the kernel that the firmware started come up, or not.
pub(super) fn judged<'a>(
    machine: &Machine<'a>,
    power_on: PowerOn,
    quirks: &[Quirk],
) -> (Verdict, Option<&'a KnownImage>) {
    let PowerOn { started, asked, mut notes, reason, .. } = power_on;
    let Some(started) = started else {
        return (Verdict { booted: Err(reason), asked, notes }, None);
    };
    match kernel::come_up(machine, started.slot, quirks) {
        Ok(image) => {
            let booted = Booted {
                slot: started.slot,
                version: image.version.clone(),
                digest: image.digest,
                entry: started.number,
                by_loader: started.by_loader,
            };
            (Verdict { booted: Ok(booted), asked, notes }, Some(image))
        }
        Err(reason) => {
            notes.push(reason.clone());
            (Verdict { booted: Err(reason), asked, notes }, None)
        }
    }
}
