// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the log is the whole truth: an update runs under strace, and every system call
//! that changes a file of the host has to stand in the log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use flipside_core::host::durable::Durable;

use crate::host::TestHost;
use crate::images::ImageBuilder;
use crate::recorder::{Op, Recorder};
use crate::scenario::{Action, is_volatile};

/// Set for the process that runs under strace: the host to update.
pub const CHILD: &str = "FLIPSIDE_CRASH_TEST_CHILD";

/// Runs an update, and leaves the paths of its log beside the host.
pub fn child(path: &Path) {
    let recorder = Arc::new(Recorder::new(path));
    Action::Update.run(path, Durable::observed(recorder.clone())).unwrap();
    let lines: Vec<String> = recorder.take().iter().flat_map(paths).collect();
    std::fs::write(path.with_extension("log"), lines.join("\n")).unwrap();
}

fn paths(op: &Op) -> Vec<String> {
    let text = |path: &PathBuf| path.display().to_string();
    match op {
        Op::MakeDirectory(p)
        | Op::Create(p)
        | Op::SetLength(p, _)
        | Op::Write(p, ..)
        | Op::Unlink(p)
        | Op::CreateUnnamed(p)
        | Op::SetVariable(p, _)
        | Op::RemoveVariable(p) => vec![text(p)],
        Op::Rename(from, to) => vec![text(from), text(to)],
        Op::Sync(_) | Op::SyncDirectory(_) | Op::Phase(_) => Vec::new(),
    }
}

pub fn test() -> Result<String, String> {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    let trace = host.directory.path().join("strace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", "signal=none", "-e"])
        .arg(
            "trace=write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,unlink,\
              unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,\
              symlinkat,copy_file_range,sendfile,mknod,mknodat,chmod,fchmod,fchmodat,openat,\
              open,creat,mmap,io_uring_setup",
        )
        .arg("-o")
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, host.path())
        .status()
        .map_err(|error| format!("strace (Debian: apt install strace): {error}"))?;
    if !status.success() {
        return Err(format!("the traced update failed: {status}"));
    }
    let log = std::fs::read_to_string(host.path().with_extension("log")).unwrap();
    let logged: BTreeSet<PathBuf> = log.lines().map(PathBuf::from).collect();
    let trace = std::fs::read_to_string(trace).unwrap();
    let mut seen = BTreeSet::new();
    for line in trace.lines().filter(|line| changes_something(line)) {
        seen.extend(host_paths(line, &host.path()));
    }
    let outside: Vec<_> =
        seen.iter().filter(|path| !is_volatile(path) && !logged.contains(*path)).collect();
    if !outside.is_empty() {
        return Err(format!("written, and not in the log: {outside:?}"));
    }
    let unseen: Vec<_> = logged.difference(&seen).collect();
    if !unseen.is_empty() {
        return Err(format!("in the log, and not seen by strace: {unseen:?}"));
    }
    Ok(format!("{} files", seen.len()))
}

/// Opening to read changes nothing; `O_TRUNC` and `O_CREAT` do.
fn changes_something(line: &str) -> bool {
    // Where threads interleave, strace prints a call in two lines; what it was given, flags and
    // paths, stands in the first.
    if line.contains(" resumed>") {
        return false;
    }
    let failed = line.contains(" = -1 ");
    let only_opens = line.contains("openat(") || line.contains(" open(");
    let maps = line.contains("mmap(");
    if maps {
        return line.contains("MAP_SHARED") && line.contains("PROT_WRITE");
    }
    !failed && (!only_opens || line.contains("O_TRUNC") || line.contains("O_CREAT"))
}

/// The paths of the host that a line of strace names, relative to it.
fn host_paths(line: &str, host: &Path) -> Vec<PathBuf> {
    let host = format!("{}/", host.display());
    line.match_indices(&host)
        .map(|(at, _)| {
            let rest = &line[at + host.len()..];
            let end = rest.find(['"', '>', '<', ')']).unwrap_or(rest.len());
            // `/var/lib/flipside/#4711 (deleted)`: it has no name, and its directory has.
            let path = Path::new(&rest[..end]);
            let is_unnamed = path.file_name().is_some_and(|n| n.as_encoded_bytes()[0] == b'#');
            path.parent().filter(|_| is_unnamed).unwrap_or(path).to_owned()
        })
        .collect()
}
