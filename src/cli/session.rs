// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the commands that work on a host have in common: settings, progress, the wish to stop.

use std::sync::Arc;

use super::signals::stop_on_signals;
use super::{Failure, Global, progress};
use crate::config::Config;
use crate::host::durable::Durable;
use crate::report::journal::{Entry, Kind};
use crate::report::progress::Tee;
use crate::report::{Follow, Notify, StatusFile};
use crate::update::{self, Run};

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
    with(global, config, plain_http)
}

/// The same, by settings that were read already.
///
/// # Errors
/// Signals cannot be watched for.
pub fn with(global: &Global, config: Config, plain_http: bool) -> Result<Run, Failure> {
    let stop = stop_on_signals()?;
    let follow =
        Arc::new(Follow::new(StatusFile::of(&global.root), update::last_status(&global.root)));
    Ok(Run {
        root: global.root.clone(),
        config,
        durable: Durable::new(),
        progress: Arc::new(Tee(vec![
            progress::of(global),
            Arc::new(Notify::new()),
            follow.clone(),
        ])),
        follow,
        stop,
        plain_http,
    })
}
