// SPDX-License-Identifier: MIT OR Apache-2.0

//! Our ends of a program's pipes: what it is told, what it says, what it complains about. Nobody
//! who keeps the other ends open can hold a run up.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};

use super::TICK;
use super::lines::Lines;

/// The most lines of stdout and stderr together that go to the log.
const LOGGED_LINES: usize = 50;

/// Our ends, each until it is closed.
pub(super) struct Dialogue<'a> {
    /// What it is, and its name.
    kind: &'static str,
    name: &'a str,
    stdin: Option<PipeWriter>,
    unsaid: &'a [u8],
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    said: Lines,
    complained: Lines,
    logged: usize,
}

/// The program's ends.
pub(super) struct Pipes {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl<'a> Dialogue<'a> {
    /// With a program that is to find `input` on its stdin.
    pub fn new(kind: &'static str, name: &'a str, input: &'a [u8]) -> io::Result<(Self, Pipes)> {
        let (stdin, ours_in) = io::pipe()?;
        let (ours_out, stdout) = io::pipe()?;
        let (ours_err, stderr) = io::pipe()?;
        for end in [ours_in.as_fd(), ours_out.as_fd(), ours_err.as_fd()] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let dialogue = Self {
            kind,
            name,
            stdin: Some(ours_in),
            unsaid: input,
            stdout: Some(ours_out),
            stderr: Some(ours_err),
            said: Lines::default(),
            complained: Lines::default(),
            logged: 0,
        };
        let pipes = Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
        Ok((dialogue, pipes))
    }

    /// Until a pipe is ready, `process` ended, or a tick passed.
    pub fn wait_for_news(&self, process: Option<BorrowedFd<'_>>) {
        let mut ends = Vec::with_capacity(4);
        let (reads, writes) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        ends.extend(process.map(|end| PollFd::new(end, reads)));
        ends.extend(self.stdin.as_ref().map(|end| PollFd::new(end.as_fd(), writes)));
        ends.extend(self.stdout.as_ref().map(|end| PollFd::new(end.as_fd(), reads)));
        ends.extend(self.stderr.as_ref().map(|end| PollFd::new(end.as_fd(), reads)));
        // A signal ends the wait early, which the caller's loop takes as a tick.
        if let Err(error) = poll(&mut ends, TICK.as_millis() as u16)
            && error != Errno::EINTR
        {
            std::thread::sleep(TICK);
        }
    }

    /// Says what the program takes, and hears what there is.
    pub fn go_on(&mut self) {
        self.speak();
        self.listen();
    }

    /// One that does not listen is no error.
    fn speak(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(self.unsaid) {
            Ok(written) => self.unsaid = self.unsaid.get(written..).unwrap_or_default(),
            Err(error) if is_not_ready(&error) => return,
            Err(_) => self.unsaid = &[],
        }
        if self.unsaid.is_empty() {
            self.stdin = None;
        }
    }

    fn listen(&mut self) {
        let (kind, name, logged) = (self.kind, self.name, &mut self.logged);
        let mut log = |line: &str| log(kind, name, logged, line);
        let said = &mut self.said;
        if hear(self.stdout.as_mut(), |bytes| said.take(bytes, &mut log)) {
            self.stdout = None;
        }
        let complained = &mut self.complained;
        if hear(self.stderr.as_mut(), |bytes| complained.take(bytes, &mut log)) {
            self.stderr = None;
        }
    }

    /// The last lines of stdout and stderr. Whatever still holds the pipes open is not waited for.
    pub fn finish(mut self) -> (String, String) {
        self.listen();
        let (kind, name, mut logged) = (self.kind, self.name, self.logged);
        let mut log = |line: &str| log(kind, name, &mut logged, line);
        (self.said.finish(&mut log), self.complained.finish(&mut log))
    }
}

/// Takes what there is now, but no more than a pipe holds; whether that was the end.
fn hear(end: Option<&mut impl Read>, mut take: impl FnMut(&[u8])) -> bool {
    let Some(end) = end else { return false };
    let mut buffer = [0; 16 << 10];
    for _ in 0..64 {
        match end.read(&mut buffer) {
            Ok(0) => return true,
            Ok(length) => take(buffer.get(..length).unwrap_or_default()),
            Err(error) if is_not_ready(&error) => return false,
            Err(_) => return true,
        }
    }
    false
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn log(kind: &str, name: &str, logged: &mut usize, line: &str) {
    match *logged {
        count if count < LOGGED_LINES => {
            tracing::info!(flipside_hook = name, "{kind} {name}: {line}")
        }
        LOGGED_LINES => {
            tracing::info!(flipside_hook = name, "{kind} {name}: (more lines, not shown)");
        }
        _ => return,
    }
    *logged += 1;
}
