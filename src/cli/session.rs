// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the commands that work on a host have in common: settings, progress, the wish to stop.

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::signals::stop_on_signals;
use super::{Failure, Global, progress};
use crate::codes;
use crate::config::{Config, ConfigError};
use crate::report::journal::{Entry, Kind};
use crate::run::Run;
use flipside_core::host::Root;

/// Opens the host of `global` for a run.
///
/// # Errors
/// `needs-root`, before anything else is looked at; a config that cannot be used.
pub fn open(global: &Global, plain_http: bool) -> Result<Run, Failure> {
    needs_root(&global.root)?;
    open_by(global, Config::load, plain_http)
}

/// The same for who only looks, which needs no root.
///
/// # Errors
/// A config that cannot be used.
pub fn open_to_look(global: &Global) -> Result<Run, Failure> {
    open_by(global, Config::load, false)
}

/// The same for the commands that judge a boot or lead back: they have to work in the older of two
/// slots, so keys that only the other slot's flipside knows are a warning.
///
/// # Errors
/// `needs-root`; a config that cannot be used all the same.
pub fn open_shared(global: &Global) -> Result<Run, Failure> {
    needs_root(&global.root)?;
    open_by(global, Config::load_shared, false)
}

/// Refuses who may not change this host. Whoever may make files in `/run` may.
fn needs_root(root: &Root) -> Result<(), Failure> {
    let run = root.path("/run/flipside");
    let existing = run.ancestors().find(|path| path.exists()).unwrap_or(&run);
    if access(existing, AccessFlags::W_OK) != Err(Errno::EACCES) {
        return Ok(());
    }
    Err(of_root(root))
}

/// `needs-root`.
pub fn of_root(root: &Root) -> Failure {
    let message = match root.is_live() {
        true => "this command needs root: run it as root, for example with sudo".to_owned(),
        false => {
            let host = root.directory().display();
            format!("this command needs the rights of root or of who owns the host {host}")
        }
    };
    Failure::error(codes::NEEDS_ROOT, message)
}

fn open_by(
    global: &Global,
    load: fn(&Root) -> Result<Config, ConfigError>,
    plain_http: bool,
) -> Result<Run, Failure> {
    let config = load(&global.root).map_err(|error| {
        let failure = Failure::from(error);
        // No run will say it (P11), and a person who only looks is told anyway.
        if needs_root(&global.root).is_ok() {
            Entry::new(Kind::of(failure.severity), &failure.message).code(failure.code).send();
        }
        failure
    })?;
    let stop = stop_on_signals()?;
    Ok(Run::new(&global.root, config, progress::of(global), stop, plain_http))
}
