// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which process holds a lock.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::stat::{major, minor};
use nix::unistd::Pid;

use crate::host::trust::is_own;

/// The process that holds the lock on `file`: by the kernel's list, otherwise by what its holder
/// wrote into it.
pub(super) fn of(file: &File) -> Option<u32> {
    by_kernel(file).or_else(|| written(file))
}

/// As proc_locks(5) has it: `1: FLOCK  ADVISORY  WRITE 1234 00:1b:5678 0 EOF`.
pub(super) fn by_kernel(file: &File) -> Option<u32> {
    let found = file.metadata().ok()?;
    let (major, minor) = (major(found.dev()), minor(found.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let list = fs::read_to_string("/proc/locks").ok()?;
    list.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // A line of one that waits has an arrow before its kind.
        let [_, "FLOCK", _, _, pid, place, ..] = fields.as_slice() else { return None };
        // 0: a process that this one cannot see.
        pid.parse().ok().filter(|pid| *pid != 0 && *place == wanted)
    })
}

fn written(file: &File) -> Option<u32> {
    let mut bytes = [0; 16];
    let length = file.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(bytes.get(..length)?).ok()?.trim().parse().ok()
}

/// Whether `process` belongs to root or the caller, as a flipside would; also where that cannot be
/// told.
pub(super) fn may_be_flipside(process: u32) -> bool {
    // Real, effective, saved and file system's: a program that is set-uid has the real one of whoever
    // started it.
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    if let Some(users) = status.lines().find_map(|line| line.strip_prefix("Uid:")) {
        return users.split_ascii_whitespace().all(|user| user.parse().is_ok_and(is_own));
    }
    // `ProtectProc=` hides it. It is gone, or another user's, where no signal could be sent.
    let answer = i32::try_from(process).map(|pid| kill(Pid::from_raw(pid), None));
    !matches!(answer, Ok(Err(Errno::ESRCH | Errno::EPERM)))
}
