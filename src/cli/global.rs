// SPDX-License-Identifier: MIT OR Apache-2.0

//! The options that every command has.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::report::PageStyle;
use flipside_core::host::Root;

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressMode {
    /// Bars if stderr is a terminal, otherwise plain lines.
    #[default]
    Auto,
    /// One line for each phase, on stderr.
    Plain,
    /// One JSON event per line, on stdout.
    Json,
    /// Nothing.
    None,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct GlobalArgs {
    /// Work on the host in directory DIR instead of this machine.
    #[arg(long, value_name = "DIR", global = true, default_value = "/", hide_default_value = true)]
    root: PathBuf,
    /// Print JSON on stdout instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// How to show progress.
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    progress: ProgressMode,
    /// Show more, and log more on stderr; twice: log everything.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log only errors, and show no progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

/// The options that every command has, checked.
#[derive(Debug, Clone)]
pub struct Global {
    /// The host to work on.
    pub root: Root,
    /// Print JSON on stdout instead of text.
    pub json: bool,
    /// How to show progress.
    pub progress: ProgressMode,
    /// Whether text on stdout may have colours.
    pub colour: bool,
    /// How many characters a line on stdout may have; `None` where it is no terminal.
    pub width: Option<usize>,
    /// The same of stderr.
    pub error_width: Option<usize>,
    /// Whether more is to be shown than usual.
    pub verbose: bool,
    /// The least important messages that are shown on stderr.
    pub level: LevelFilter,
}

impl GlobalArgs {
    /// The message of a usage error where the root is no directory: everything would
    /// look absent there, and be reported as nothing to do.
    pub(super) fn check(self) -> Result<Global, String> {
        let root = std::fs::canonicalize(&self.root)
            .and_then(|root| match root.is_dir() {
                true => Ok(root),
                false => Err(io::ErrorKind::NotADirectory.into()),
            })
            .map_err(|error| format!("--root {}: {error}", self.root.display()))?;
        Ok(Global {
            root: Root::new(root),
            json: self.json,
            progress: match self.progress {
                ProgressMode::Auto if self.quiet => ProgressMode::None,
                other => other,
            },
            colour: colours_suit(&io::stdout()),
            width: io::stdout().is_terminal().then_some(WIDTH),
            error_width: io::stderr().is_terminal().then_some(WIDTH),
            verbose: self.verbose > 0,
            level: match (self.quiet, self.verbose) {
                (true, _) => LevelFilter::ERROR,
                (false, 0) => LevelFilter::INFO,
                (false, 1) => LevelFilter::DEBUG,
                (false, _) => LevelFilter::TRACE,
            },
        })
    }
}

/// Narrower than any terminal that people use, as other tools have it.
const WIDTH: usize = 80;

/// Whether what is written to `stream` may have colours: a terminal that can, and
/// nobody who asked for none (<https://no-color.org>).
fn colours_suit(stream: &impl io::IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

impl Global {
    /// How the status is shown on stdout.
    pub fn page_style(&self) -> PageStyle {
        PageStyle { colour: self.colour, width: self.width, verbose: self.verbose }
    }

    /// Whether bars can be drawn on stderr.
    pub fn has_terminal_for_bars(&self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
    }
}
