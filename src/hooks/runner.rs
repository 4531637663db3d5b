// SPDX-License-Identifier: MIT OR Apache-2.0

//! How hooks run on this host: as units of systemd, or as process groups of ours.

#[cfg(feature = "dbus")]
use std::io;

use serde::Serialize;

use super::converse::converse;
#[cfg(feature = "dbus")]
use super::dialogue::Pipes;
use super::ended::Ended;
use super::process::Group;
use super::program::{Limits, Program};
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;

#[cfg(feature = "dbus")]
use super::unit::Unit;
#[cfg(feature = "dbus")]
use crate::system::bus::Bus;

/// As what a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RanAs {
    /// A transient unit of systemd, in a sandbox.
    Unit,
    /// A process group with resource limits, in the sandbox of whoever asks.
    ProcessGroup,
}

/// Runs hooks, all in the same way.
pub(crate) struct Runner {
    #[cfg(feature = "dbus")]
    bus: Option<Bus>,
}

impl Runner {
    /// For the host below `root`: units where systemd can be reached.
    pub fn of(root: &Root) -> Self {
        #[cfg(feature = "dbus")]
        let bus = reach(root);
        #[cfg(feature = "dbus")]
        let (bus, why) = match bus {
            Ok(bus) => (Some(bus), None),
            Err(why) => (None, Some(why)),
        };
        #[cfg(not(feature = "dbus"))]
        let why = Some(format!("this flipside speaks no D-Bus ({})", root.directory().display()));
        if let Some(why) = why {
            tracing::debug!("hooks run as process groups, without a sandbox of systemd's: {why}");
        }
        Self {
            #[cfg(feature = "dbus")]
            bus,
        }
    }

    /// As what hooks run, unless systemd refuses to start a unit.
    pub fn runs_as(&self) -> RanAs {
        #[cfg(feature = "dbus")]
        if self.bus.is_some() {
            return RanAs::Unit;
        }
        RanAs::ProcessGroup
    }

    /// Runs `program`. Returns how it ended, its reason, and as what it ran.
    pub fn run(
        &self,
        program: &Program<'_>,
        limits: &Limits,
        stop: &Cancel,
    ) -> (Ended, String, RanAs) {
        #[cfg_attr(not(feature = "dbus"), allow(unused_mut))]
        let mut ran_as = RanAs::ProcessGroup;
        let (ended, said) = converse(program, limits.timeout, stop, |pipes| {
            #[cfg(feature = "dbus")]
            if let Some(unit) = self.start_unit(program, &pipes, limits)? {
                ran_as = RanAs::Unit;
                return Ok(Box::new(unit));
            }
            Ok(Box::new(Group::start(program, pipes, Some(limits))?))
        });
        (ended, said, ran_as)
    }

    /// `None` where there are no units to be had.
    #[cfg(feature = "dbus")]
    fn start_unit<'a>(
        &'a self,
        program: &Program<'_>,
        pipes: &Pipes,
        limits: &Limits,
    ) -> io::Result<Option<Unit<'a>>> {
        let Some(bus) = &self.bus else { return Ok(None) };
        match Unit::start(bus, program, pipes, limits) {
            Ok(unit) => Ok(Some(unit)),
            // It may run all the same, and must not run twice.
            Err(error) if !error.is_refusal() => Err(io::Error::other(error.message)),
            Err(error) => {
                tracing::warn!(
                    "{} {} runs without a sandbox of its own: systemd refuses: {}",
                    program.kind,
                    program.name,
                    error.message
                );
                Ok(None)
            }
        }
    }
}

/// systemd, where it is the host's init.
#[cfg(feature = "dbus")]
fn reach(root: &Root) -> Result<Bus, String> {
    // sd_booted(3).
    if !root.path("/run/systemd/system").is_dir() {
        return Err("systemd does not run here".to_owned());
    }
    Bus::of(root)
}
