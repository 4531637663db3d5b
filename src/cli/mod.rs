// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line: one file per command, each with `Args` and
//! `run(Args, &Global)`, which parses, calls and prints, and decides nothing.

// A reader that went away must not end a run with a panic, as `println!` would.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{FromArgMatches as _, Parser, Subcommand};
use flipside_image::redact::redact_reference;
use nix::sys::stat::{Mode, umask};

mod failure;
mod global;
mod help;
mod log;
mod output;
pub mod progress;
mod remedy;
mod stderr;

mod check;
#[cfg(feature = "dbus")]
mod dbus_service;
#[cfg(feature = "publish")]
mod disk;
mod explain;
mod health;
mod history;
mod hold;
mod hooks;
#[cfg(feature = "publish")]
mod image;
mod labels;
mod location;
#[cfg(feature = "publish")]
mod policy;
mod promote;
mod reboot;
mod retry;
mod rollback;
mod session;
mod signals;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod sim_source;
mod status;
mod switch;
mod trial_deadline;
mod update;
mod verify;
mod watch;

pub use failure::Failure;
pub use global::{Global, ProgressMode};
/// The whole command line, as man pages and completions are made from it.
pub use help::command;
pub use output::{error_document, print, print_json};
#[cfg(feature = "sim")]
pub use sim::new_machine;

/// Exit statuses.
pub mod exit {
    /// Done, or nothing to do.
    pub const DONE: u8 = 0;
    /// An error, or an update that is blocked.
    pub const FAILED: u8 = 1;
    /// The command line was wrong.
    pub const USAGE: u8 = 2;
    /// Deferred: `EX_TEMPFAIL` of `sysexits.h`.
    pub const DEFERRED: u8 = 75;
    /// `check --exit-code`: an update is available, as `dnf check-update` says it.
    pub const AVAILABLE: u8 = 100;
}

/// A/B updates of image-based Linux hosts from an OCI registry, through UEFI.
#[derive(Debug, Parser)]
#[command(name = "flipside", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    global: global::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Each has its help at its `Args`; [`help`] puts them into groups.
#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Update(update::Args),
    Status(status::Args),
    History(history::Args),
    Promote(promote::Args),
    Rollback(rollback::Args),
    Reboot(reboot::Args),
    Retry(retry::Args),
    Hold(hold::Hold),
    Unhold(hold::Unhold),
    Switch(switch::Args),
    Verify(verify::Args),
    Health(health::Args),
    TrialDeadline(trial_deadline::Args),
    #[command(subcommand)]
    Hooks(hooks::Args),
    Labels(labels::Args),
    #[cfg(feature = "dbus")]
    DbusService(dbus_service::Args),
    #[cfg(feature = "publish")]
    #[command(subcommand)]
    Image(Box<image::Args>),
    #[cfg(feature = "publish")]
    #[command(subcommand)]
    Policy(policy::Args),
    #[cfg(feature = "publish")]
    Disk(disk::Args),
    #[cfg(feature = "sim")]
    #[command(subcommand)]
    Sim(sim::Args),
}

/// What every command returns. `?` takes any error with a code.
pub type Result<T = ExitCode> = std::result::Result<T, Failure>;

fn run(command: Command, global: &Global) -> Result {
    match command {
        Command::Check(args) => check::run(args, global),
        Command::Update(args) => update::run(args, global),
        Command::Status(args) => status::run(args, global),
        Command::History(args) => history::run(args, global),
        Command::Rollback(args) => rollback::run(args, global),
        Command::Reboot(args) => reboot::run(args, global),
        Command::Promote(args) => promote::run(args, global),
        Command::Verify(args) => verify::run(args, global),
        Command::Health(args) => health::run(args, global),
        Command::TrialDeadline(args) => trial_deadline::run(args, global),
        Command::Retry(args) => retry::run(args, global),
        Command::Hold(args) => hold::hold(args, global),
        Command::Unhold(args) => hold::unhold(args, global),
        Command::Switch(args) => switch::run(args, global),
        Command::Hooks(args) => hooks::run(args, global),
        Command::Labels(args) => labels::run(args, global),
        #[cfg(feature = "dbus")]
        Command::DbusService(args) => dbus_service::run(args, global),
        #[cfg(feature = "publish")]
        Command::Image(args) => image::run(*args, global),
        #[cfg(feature = "publish")]
        Command::Policy(args) => policy::run(args, global),
        #[cfg(feature = "publish")]
        Command::Disk(args) => disk::run(args, global),
        #[cfg(feature = "sim")]
        Command::Sim(args) => sim::run(args, global),
    }
}

/// An argument that is refused is repeated, but not the password in it.
fn hide_secret(error: &mut clap::Error) {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return };
    let shown = redact_reference(value);
    error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
}

/// Runs the program: arguments in, exit code out.
pub fn main() -> ExitCode {
    // What is made here decides about updates: nobody else may change it, whatever the caller's umask.
    let others_write = Mode::S_IWGRP | Mode::S_IWOTH;
    umask(others_write | umask(others_write));
    let parsed = help::command().try_get_matches().and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(mut error) => {
            hide_secret(&mut error);
            // `--help` and `--version` come here as well. Nobody left to read it is no error.
            let _ = error.print();
            let status = u8::try_from(error.exit_code()).unwrap_or(exit::USAGE);
            return ExitCode::from(status);
        }
    };
    let global = match cli.global.check() {
        Ok(global) => global,
        Err(message) => {
            stderr::complain(&format!("flipside: {message}"));
            return ExitCode::from(exit::USAGE);
        }
    };
    log::start(&global);
    match run(cli.command, &global) {
        Ok(status) => status,
        Err(failure) => {
            output::report_failure(&failure, &global);
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_options_stand_before_and_behind_the_command() {
        for line in ["flipside --root / --json status", "flipside status --json --root /"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let global = cli.global.check().unwrap();
            assert!(global.json && global.root.is_live(), "{line}");
        }
    }
}
