// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reboots of a system that nobody asks any more: of a trial that has failed. The machine itself
//! only; a host in a directory has no power switch.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};

use super::Root;

/// What PID 1 is asked for, by the signals that it documents (systemd(1), "Signals"): they need
/// no bus and no socket, so they reach it in emergency mode too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `SIGRTMIN+5`: services are stopped in their order.
    Orderly,
    /// `SIGRTMIN+15`: all processes are ended, file systems unmounted.
    Immediate,
}

/// How long the kernel may take to write out what it has, before the reboot does not wait for it.
const SYNC_PATIENCE: Duration = Duration::from_secs(15);

/// What systemd makes at boot, and nothing else (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";

fn booted_by_systemd(root: &Root) -> io::Result<bool> {
    match std::fs::symlink_metadata(root.path(SYSTEMD)) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks PID 1 to reboot. Returns whether it was asked: only where `root` is the machine itself and
/// PID 1 is systemd.
///
/// # Errors
/// PID 1 cannot be looked at, or the signal cannot be sent.
pub fn ask_for_reboot(root: &Root, how: Request) -> io::Result<bool> {
    if !root.is_live() || !booted_by_systemd(root)? {
        return Ok(false);
    }
    let number = match how {
        Request::Orderly => 5,
        Request::Immediate => 15,
    };
    signal_init(number)?;
    Ok(true)
}

/// Sends `SIGRTMIN+number` to PID 1, as the C library counts, which keeps the first two for itself.
/// nix has no name for a real-time signal.
#[allow(unsafe_code)]
fn signal_init(number: i32) -> io::Result<()> {
    // SAFETY: the system call takes two numbers and touches no memory.
    let result = unsafe { libc::kill(1, libc::SIGRTMIN().saturating_add(number)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reboots through the kernel, without PID 1: the last resort. Returns only where that is not
/// possible, or where `root` is not the machine itself.
///
/// # Errors
/// The kernel's.
pub fn reboot_by_kernel(root: &Root) -> io::Result<()> {
    if !root.is_live() {
        return Ok(());
    }
    // A disk that is gone would keep sync(2) for ever.
    within(SYNC_PATIENCE, nix::unistd::sync);
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    Err(error.into())
}

/// What `work` returns, unless it takes longer than `patience`; it then goes on by itself.
pub fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, wait) = mpsc::channel();
    std::thread::Builder::new().spawn(move || done.send(work())).ok()?;
    wait.recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_in_a_directory_reboots_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        for how in [Request::Orderly, Request::Immediate] {
            assert!(!ask_for_reboot(&root, how).unwrap());
        }
        reboot_by_kernel(&root).unwrap();
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        assert_eq!(within(Duration::from_secs(60), || 1), Some(1));
        let endless = || std::thread::sleep(Duration::from_secs(600));
        assert_eq!(within(Duration::from_millis(10), endless), None);
    }
}
