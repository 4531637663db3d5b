// SPDX-License-Identifier: MIT OR Apache-2.0

//! A program as a process group of ours: ended with everything that it started if it takes too
//! long. What a host without systemd can do for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::converse::{Running, converse};
use super::dialogue::Pipes;
use super::ended::Ended;
use super::program::{Limits, Program, Sandbox};
use super::{GRACE, TICK, exec};
use flipside_core::cancel::Cancel;

/// How often a program that is just being written is tried again, once a [`TICK`].
const BUSY_ATTEMPTS: u32 = 10;

/// Runs `program` as a process group, without limits but that of time.
/// Returns how it ended, and its reason.
pub(crate) fn run(program: &Program<'_>, timeout: Duration, stop: &Cancel) -> (Ended, String) {
    converse(program, timeout, stop, |pipes| Ok(Box::new(Group::start(program, pipes, None)?)))
}

/// A process and its group.
pub(super) struct Group {
    name: String,
    child: Child,
    pid: Pid,
    /// Readable once it ended; `None` on kernels before 5.3, where the tick has to do.
    pidfd: Option<OwnedFd>,
}

impl Group {
    pub fn start(program: &Program<'_>, pipes: Pipes, limits: Option<&Limits>) -> io::Result<Self> {
        let mut command = Command::new(program.path);
        command
            .current_dir(program.directory)
            .stdin(pipes.stdin)
            .stdout(pipes.stdout)
            .stderr(pipes.stderr)
            // Its own group, so that a time-out ends its children as well.
            .process_group(0);
        // What makes sandboxes itself has large files to write.
        let limits = limits.filter(|_| program.sandbox == Sandbox::Closed);
        exec::into(&mut command, program, limits)?;
        let child = spawn(&mut command)?;
        let pid = i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self {
            name: format!("{} {}", program.kind, program.name),
            pidfd: pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty()).ok(),
            child,
            pid: Pid::from_raw(pid),
        })
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

impl Running for Group {
    fn process(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|pidfd| pidfd.as_fd())
    }

    fn has_ended(&mut self) -> bool {
        // Not reaped yet: until then the group's number cannot be another's.
        let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid), how) {
            Ok(WaitStatus::StillAlive) => false,
            // nix has no name for the real-time signal that ended it.
            Ok(_) | Err(Errno::EINVAL) => true,
            Err(_) => false,
        }
    }

    fn outcome(&mut self) -> io::Result<Ended> {
        Ok(Ended::Itself(self.child.wait()?))
    }

    fn end(&mut self) {
        let _ = killpg(self.pid, Signal::SIGTERM);
    }

    /// Not for ever: a program that hangs in the kernel is not even ended by SIGKILL.
    fn kill(&mut self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK / 10);
        }
        tracing::warn!("{} does not end, even by SIGKILL", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;

    #[test]
    fn whatever_signal_ends_a_program_its_end_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        // The second is a real-time signal.
        for signal in [15, 40] {
            let program = Program {
                kind: "hook",
                name: "x",
                path: Path::new("/bin/sh"),
                arguments: vec!["-c".into(), format!("kill -{signal} $$").into()],
                directory: directory.path(),
                environment: &[],
                input: b"",
                sandbox: Sandbox::Delegated,
                body: None,
            };
            let (ended, _) = run(&program, Duration::from_secs(30), &Cancel::new());
            let Ended::Itself(status) = ended else { panic!("{signal}: {ended:?}") };
            assert_eq!(status.signal(), Some(signal));
        }
    }
}
