// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside status --watch`: the status, again whenever it changes.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::{Failure, Global, error_document, print};
use crate::codes;
use crate::report::{ReportError, Status, StatusFile, Watch, status_text};

/// How often what is drawn is drawn again, in milliseconds: it says how long ago things were.
const REDRAW: u16 = 20_000;

/// The shortest time between two drawings; writers of the file are slower.
const PAUSE: Duration = Duration::from_millis(100);

/// DEC private modes 1049 and 25: a screen of its own, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// ECMA-48, CUP and ED: everything below is drawn anew.
const HOME: &str = "\x1b[H\x1b[J";

/// Shows the status file's status, and again whenever it changes, until SIGINT or SIGTERM comes or
/// nobody reads any more. `first` is shown where no run has written one yet.
///
/// # Errors
/// A file that cannot be watched, an output that takes nothing.
pub fn run(global: &Global, first: impl FnOnce() -> Result<Status, Failure>) -> super::Result {
    let mut watch = Watch::of(&global.root)?;
    let ended = on_signals().map_err(|error| {
        Failure::error(codes::RESOURCES_EXHAUSTED, format!("cannot watch for SIGINT: {error}"))
    })?;
    let file = StatusFile::of(&global.root);
    let mut shown = match file.read() {
        Ok(None) => Ok(first()?),
        Ok(Some(status)) => Ok(status),
        Err(error) => Err(error),
    };
    let view = View::new(global);
    view.begin()?;
    let result = view.show(&shown).and_then(|()| {
        while let Some(is_due) = wait(&mut watch, &ended)? {
            let now = match file.read() {
                Ok(None) => Ok(Status::unknown(jiff::Timestamp::now())),
                Ok(Some(status)) => Ok(status),
                Err(error) => Err(error),
            };
            let is_same = matches!((&now, &shown), (Ok(now), Ok(shown)) if now == shown);
            if !is_same || (is_due && view.is_screen) {
                view.show(&now)?;
            }
            shown = now;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    });
    view.end(&shown)?;
    result.map(|()| ExitCode::SUCCESS)
}

/// A stream that has something to read once SIGINT or SIGTERM came.
fn on_signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

/// Waits until the file may have changed (`Some(false)`), or what is drawn is old (`Some(true)`);
/// `None` where nobody wants to see more.
fn wait(watch: &mut Watch, ended: &UnixStream) -> Result<Option<bool>, Failure> {
    loop {
        if watch.take()? {
            return Ok(Some(false));
        }
        let stdout = io::stdout();
        let mut polled = [
            PollFd::new(watch.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            // Asked for nothing: only that its reader went away is told.
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut polled, REDRAW) {
            Ok(0) => return Ok(Some(true)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                let path = std::path::PathBuf::from(crate::report::file::PATH);
                return Err(ReportError::Watch { path, source: error.into() }.into());
            }
        }
        let [_, ended, stdout] = polled;
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        if ended.any() == Some(true) || stdout.revents().is_some_and(|news| news.intersects(gone)) {
            return Ok(None);
        }
    }
}

/// Where it is shown, and as what.
struct View<'a> {
    global: &'a Global,
    /// Drawn in one place, rather than one below the other.
    is_screen: bool,
}

impl<'a> View<'a> {
    fn new(global: &'a Global) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { global, is_screen: !global.json && !is_dumb && io::stdout().is_terminal() }
    }

    fn begin(&self) -> Result<(), Failure> {
        if self.is_screen { write(ENTER) } else { Ok(()) }
    }

    fn show(&self, status: &Result<Status, ReportError>) -> Result<(), Failure> {
        if self.global.json {
            let line = match status {
                Ok(status) => serde_json::to_string(status),
                Err(error) => serde_json::to_string(&error_document(&failure(error))),
            };
            return print(
                line.map_err(|error| Failure::error(codes::INTERNAL, error.to_string()))?,
            );
        }
        let text = self.text(status);
        match self.is_screen {
            true => write(&format!("{HOME}{text}\n")),
            false => print(format!("{text}\n")),
        }
    }

    /// The last view stays on the terminal.
    fn end(&self, status: &Result<Status, ReportError>) -> Result<(), Failure> {
        if self.is_screen { write(&format!("{LEAVE}{}\n", self.text(status))) } else { Ok(()) }
    }

    fn text(&self, status: &Result<Status, ReportError>) -> String {
        match status {
            Ok(status) => status_text(status, self.global.page_style()),
            Err(error) => failure(error).to_string(),
        }
    }
}

fn failure(error: &ReportError) -> Failure {
    use flipside_image::code::Coded as _;
    Failure::error(error.code(), flipside_image::code::sentence(error))
}

/// Writes escape sequences and text as they are.
fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(codes::OUTPUT_FAILED, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
