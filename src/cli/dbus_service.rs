// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside dbus-service`.

use std::process::ExitCode;
use std::time::Duration;

use super::Global;
use crate::report::dbus;

/// Serve the status on the system bus, as org.flipside.Updater1.
///
/// Runs as the unprivileged user `flipside`. The bus starts it when it is needed. It exits after a
/// while without calls or changes, unless an update is running.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exit after this many idle seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle: u64,
}

/// Serves the status until nobody needs it.
///
/// # Errors
/// A bus that cannot be reached, a name that is taken, a status file that cannot be watched.
pub fn run(args: Args, global: &Global) -> super::Result {
    dbus::serve(&global.root, Duration::from_secs(args.idle))?;
    Ok(ExitCode::SUCCESS)
}
