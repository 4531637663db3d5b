// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the commands that work on a host have in common: settings, progress, the wish to stop.

use super::signals::stop_on_signals;
use super::{Failure, Global, progress};
use crate::config::{Config, ConfigError};
use crate::report::journal::{Entry, Kind};
use crate::run::Run;
use flipside_core::host::Root;

/// Opens the host of `global` for a run.
///
/// # Errors
/// A config that cannot be used.
pub fn open(global: &Global, plain_http: bool) -> Result<Run, Failure> {
    open_by(global, Config::load, plain_http)
}

/// The same for the commands that judge a boot or lead back: they have to work in the older of two
/// slots, so keys that only the other slot's flipside knows are a warning.
///
/// # Errors
/// A config that cannot be used all the same.
pub fn open_shared(global: &Global) -> Result<Run, Failure> {
    open_by(global, Config::load_shared, false)
}

fn open_by(
    global: &Global,
    load: fn(&Root) -> Result<Config, ConfigError>,
    plain_http: bool,
) -> Result<Run, Failure> {
    let config = load(&global.root).map_err(|error| {
        let failure = Failure::from(error);
        // No run will say it (P11).
        Entry::new(Kind::of(failure.severity), &failure.message).code(failure.code).send();
        failure
    })?;
    let stop = stop_on_signals()?;
    Ok(Run::new(&global.root, config, progress::of(global), stop, plain_http))
}
