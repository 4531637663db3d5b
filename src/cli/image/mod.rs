// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image`.

use clap::Subcommand;

use super::Global;
use connection::Connection;

mod build;
pub(in crate::cli) mod connection;
mod delta;
mod extract;
mod from_tree;
mod inspect;
mod key;
mod pull;
mod push;
mod sign;

/// Make, show, move and sign OS images.
#[derive(Debug, Subcommand)]
pub enum Args {
    Build(Box<build::Args>),
    Inspect(inspect::Args),
    Extract(extract::Args),
    Push(push::Args),
    Pull(pull::Args),
    Delta(delta::Args),
    Sign(sign::Args),
    Key(key::Args),
}

/// Makes, shows, moves and signs images.
///
/// # Errors
/// Those of the command.
pub fn run(args: Args, global: &Global) -> super::Result {
    let done = match args {
        Args::Build(args) => build::run(*args, global),
        Args::Inspect(args) => inspect::run(args, global),
        Args::Extract(args) => extract::run(args, global),
        Args::Push(args) => push::run(args, global),
        Args::Pull(args) => pull::run(args, global),
        Args::Delta(args) => delta::run(args, global),
        Args::Sign(args) => sign::run(args, global),
        Args::Key(args) => key::run(&args, global),
    };
    done.map_err(Connection::explain)
}
