// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the commands that work on a host have in common: settings, progress, the wish to stop.

use super::signals::stop_on_signals;
use super::{Failure, Global, progress};
use crate::config::Config;
use crate::report::journal::{Entry, Kind};
use crate::run::Run;

/// Opens the host of `global` for a run.
///
/// # Errors
/// A config that cannot be used.
pub fn open(global: &Global, plain_http: bool) -> Result<Run, Failure> {
    let config = Config::load(&global.root).map_err(|error| {
        let failure = Failure::from(error);
        // No run will say it (P11).
        Entry::new(Kind::of(failure.severity), &failure.message).code(failure.code).send();
        failure
    })?;
    let stop = stop_on_signals()?;
    Ok(Run::new(&global.root, config, progress::of(global), stop, plain_http))
}
