// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the progress of a run is shown.

use std::io;
use std::sync::Arc;

use super::{Global, ProgressMode};
use crate::report::progress::{Json, Lines, Progress, Silent, Terminal};

/// What `--progress` asks for.
pub fn of(global: &Global) -> Arc<dyn Progress> {
    match global.progress {
        ProgressMode::Auto if global.has_terminal_for_bars() => Arc::new(Terminal::new()),
        ProgressMode::Auto | ProgressMode::Plain => Arc::new(Lines::new(io::stderr())),
        ProgressMode::Json => Arc::new(Json::new(io::stdout())),
        ProgressMode::None => Arc::new(Silent),
    }
}

/// The same for a command that says only its result where there is no terminal.
pub fn on_terminal(global: &Global) -> Arc<dyn Progress> {
    match global.progress {
        ProgressMode::Auto if !global.has_terminal_for_bars() => Arc::new(Silent),
        _ => of(global),
    }
}
