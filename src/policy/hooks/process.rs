// SPDX-License-Identifier: MIT OR Apache-2.0

//! One program: fed, listened to, waited for, and ended with everything that it
//! started if it takes too long. One loop over its pipes, no threads, so that
//! nothing that a hook leaves behind can hold a run up.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::ended::Ended;
use super::lines::Lines;
use crate::stop::Stop;

/// How long a program may take to end itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How long a wish to stop may go unheard.
const TICK: Duration = Duration::from_millis(100);

/// The most lines of stderr that go to the log.
const LOGGED_LINES: usize = 50;

/// How often a program that is just being written is tried again, once a [`TICK`].
const BUSY_ATTEMPTS: u32 = 10;

/// What became of a program.
struct Outcome {
    ended: Ended,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// How it ended, and its reason: the last line of stdout. Where a program failed
    /// without one, the last line of stderr is what tells most.
    fn into_parts(self) -> (Ended, String) {
        let has_failed = matches!(self.ended, Ended::Itself(status) if !status.success());
        let is_silent = self.stdout.is_empty();
        (self.ended, if has_failed && is_silent { self.stderr } else { self.stdout })
    }
}

/// A program, and what it is given.
pub(crate) struct Program<'a> {
    /// What it is, for the log.
    pub kind: &'static str,
    /// Where it stands.
    pub path: &'a Path,
    /// Its working directory.
    pub directory: &'a Path,
    /// Its environment, and nothing else.
    pub environment: &'a [(&'static str, String)],
    /// What it finds on stdin.
    pub input: &'a [u8],
}

impl Program<'_> {
    /// Runs it. Returns how it ended, and its reason.
    pub(crate) fn run(&self, timeout: Duration, stop: &Stop) -> (Ended, String) {
        match self.converse(timeout, stop) {
            Ok(outcome) => outcome.into_parts(),
            Err(error) => (Ended::NotRun(error.to_string()), String::new()),
        }
    }

    fn converse(&self, timeout: Duration, stop: &Stop) -> io::Result<Outcome> {
        let mut command = Command::new(self.path);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that a time-out ends its children as well.
            .process_group(0);
        let child = spawn(&mut command)?;
        Conversation::new(self, child)?.hold(timeout, stop)
    }
}

/// A hook that an installer has open for writing is there in a moment.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut attempt = 1;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && attempt < BUSY_ATTEMPTS =>
            {
                attempt += 1;
                std::thread::sleep(TICK);
            }
            done => return done,
        }
    }
}

/// A program and our ends of its pipes, each until it is closed.
struct Conversation<'a> {
    /// Kind and name.
    name: String,
    child: Child,
    pid: Pid,
    /// Readable once it ended; `None` on kernels before 5.3, where the tick has to do.
    pidfd: Option<OwnedFd>,
    stdin: Option<ChildStdin>,
    unsaid: &'a [u8],
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    said: Lines,
    complained: Lines,
    logged: usize,
}

impl<'a> Conversation<'a> {
    fn new(program: &Program<'a>, mut child: Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ours = [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        for end in ours.into_iter().flatten() {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
        Ok(Self {
            name: format!(
                "{} {}",
                program.kind,
                program.path.file_name().unwrap_or_default().to_string_lossy()
            ),
            child,
            pid,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok(),
            stdin,
            unsaid: program.input,
            stdout,
            stderr,
            said: Lines::default(),
            complained: Lines::default(),
            logged: 0,
        })
    }

    fn hold(mut self, timeout: Duration, stop: &Stop) -> io::Result<Outcome> {
        let begun = Instant::now();
        // Set once we ended it: why, and when.
        let mut ended_by_us: Option<(Ended, Instant)> = None;
        loop {
            self.wait_for_news();
            self.speak();
            self.listen();
            if self.has_ended() {
                break;
            }
            match &ended_by_us {
                None if stop.is_requested() => ended_by_us = Some((Ended::Stopped, self.end())),
                None if begun.elapsed() >= timeout => {
                    ended_by_us = Some((Ended::TimedOut, self.end()));
                }
                Some((_, when)) if when.elapsed() >= GRACE => break,
                _ => {}
            }
        }
        if ended_by_us.is_some() {
            // It is not reaped yet, so the group's number cannot be another's.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            self.wait_for_the_end();
        }
        // Whatever still holds the pipes open is not waited for.
        self.listen();
        let ended = match ended_by_us {
            Some((why, _)) => why,
            None => Ended::Itself(self.child.wait()?),
        };
        let (name, mut logged) = (self.name, self.logged);
        let stdout = self.said.finish(|_| ());
        let stderr = self.complained.finish(|line| log(&name, &mut logged, line));
        Ok(Outcome { ended, stdout, stderr })
    }

    /// Not for ever: a program that hangs in the kernel is not even ended by SIGKILL.
    fn wait_for_the_end(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK / 10);
        }
        tracing::warn!("{} does not end, even by SIGKILL", self.name);
    }

    /// Until a pipe is ready, the program ended, or a tick passed.
    fn wait_for_news(&self) {
        let mut ends = Vec::with_capacity(4);
        ends.extend(self.pidfd.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        ends.extend(self.stdin.as_ref().map(|end| PollFd::new(end, PollFlags::OUT)));
        ends.extend(self.stdout.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        ends.extend(self.stderr.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        // A signal ends the wait early, which the caller's loop takes as a tick.
        if let Err(error) = poll(&mut ends, Some(&tick))
            && error != rustix::io::Errno::INTR
        {
            std::thread::sleep(TICK);
        }
    }

    /// Says what the program takes. One that does not listen is no error.
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
        let said = &mut self.said;
        if hear(self.stdout.as_mut(), |bytes| said.take(bytes, |_| ())) {
            self.stdout = None;
        }
        let (complained, logged, name) = (&mut self.complained, &mut self.logged, &self.name);
        let heard = |bytes: &[u8]| complained.take(bytes, |line| log(name, logged, line));
        if hear(self.stderr.as_mut(), heard) {
            self.stderr = None;
        }
    }

    fn has_ended(&self) -> bool {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(rustix::process::waitid(WaitId::Pid(self.pid), how), Ok(Some(_)))
    }

    /// Asks the program and all that it started to end; when that was.
    fn end(&mut self) -> Instant {
        let _ = rustix::process::kill_process_group(self.pid, Signal::TERM);
        Instant::now()
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

fn log(name: &str, logged: &mut usize, line: &str) {
    match *logged {
        count if count < LOGGED_LINES => tracing::info!("{name}: {line}"),
        LOGGED_LINES => tracing::info!("{name}: (more lines, not shown)"),
        _ => return,
    }
    *logged += 1;
}
