// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a child of ours to a program, with limits that are set in between.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{dup, dup2_stdin};

use super::GRACE;
use super::program::{Limits, Program};

/// The largest file that a program with limits may write.
const FILE_LIMIT: u64 = 64 << 20;

/// The most arguments, and the most variables, that a program of ours has.
const MOST_WORDS: usize = 255;

/// Lets `command` become `program` by the kernel alone, within `limits`. What std does would hand
/// a file of no known format to a shell, and comes too early for limits.
///
/// # Errors
/// A zero byte in what it is given, or too much of it.
#[allow(unsafe_code)]
pub(super) fn into(
    command: &mut Command,
    program: &Program<'_>,
    limits: Option<&Limits>,
) -> io::Result<()> {
    let path = text(program.path.as_os_str())?;
    let mut words = vec![path.clone()];
    for word in &program.arguments {
        words.push(text(word)?);
    }
    let mut variables = Vec::new();
    for (name, value) in program.environment {
        variables.push(text(OsStr::new(&format!("{name}={value}")))?);
    }
    if words.len().max(variables.len()) > MOST_WORDS {
        return Err(io::ErrorKind::ArgumentListTooLong.into());
    }
    let limits = limits.map(resources);
    let body = program.body.map(|body| body.try_clone_to_owned()).transpose()?;
    let path = match &body {
        Some(body) => text(OsStr::new(&format!("/proc/self/fd/{}", body.as_raw_fd())))?,
        None => path,
    };
    let become_program = move || {
        if let Some(body) = &body {
            // A script's interpreter opens it once more, by that path.
            fcntl(body, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        for (resource, most) in limits.into_iter().flatten() {
            // Who may not have more than that cannot have it set either.
            let _ = setrlimit(resource, most, most);
        }
        Err(execve(&path, &words, &variables))
    };
    // SAFETY: between fork and exec only system calls are allowed, and no allocation: this makes
    // nothing else, and nix's functions here only pass numbers on. What it uses was made before.
    unsafe {
        command.pre_exec(become_program);
    }
    Ok(())
}

/// Makes this process the program that was handed over as its stdin, with `document` as the
/// program's own stdin. Returns only where that is not possible.
pub(crate) fn from_stdin(document: &str) -> io::Error {
    match become_stdin(document) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn become_stdin(document: &str) -> io::Result<std::convert::Infallible> {
    // Not closed on exec: a script's interpreter opens it once more.
    let program = dup(io::stdin())?;
    let (stdin, mut tell) = io::pipe()?;
    // A pipe holds more than any document has.
    fcntl(&tell, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    tell.write_all(format!("{document}\n").as_bytes())?;
    drop(tell);
    dup2_stdin(&stdin)?;
    drop(stdin);
    let path = text(OsStr::new(&format!("/proc/self/fd/{}", program.as_raw_fd())))?;
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        variables.push(text(&variable)?);
    }
    Err(execve(&path, std::slice::from_ref(&path), &variables))
}

/// The system call itself, without what the C library adds. Returns only where it fails.
#[allow(unsafe_code)]
fn execve(path: &CStr, words: &[CString], variables: &[CString]) -> io::Error {
    let (words, variables) = (pointers(words), pointers(variables));
    // SAFETY: all three are strings that end in a zero byte, the lists end in null, and all
    // outlive the call. nix's own allocates, which is not allowed after fork.
    unsafe { libc::execve(path.as_ptr(), words.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// For the program and all that it starts. Each process has its own share: there is no limit for
/// all of them together without control groups.
fn resources(limits: &Limits) -> [(Resource, u64); 4] {
    let seconds = limits.timeout.as_secs().saturating_add(GRACE.as_secs()).saturating_add(1);
    [
        // Not the address space, of which some languages reserve much more than they use.
        (Resource::RLIMIT_DATA, limits.memory),
        (Resource::RLIMIT_CPU, seconds),
        (Resource::RLIMIT_FSIZE, FILE_LIMIT),
        (Resource::RLIMIT_CORE, 0),
    ]
}

fn text(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn pointers(texts: &[CString]) -> [*const c_char; MOST_WORDS + 1] {
    let mut pointers = [std::ptr::null(); MOST_WORDS + 1];
    for (pointer, text) in pointers.iter_mut().take(MOST_WORDS).zip(texts) {
        *pointer = text.as_ptr();
    }
    pointers
}
