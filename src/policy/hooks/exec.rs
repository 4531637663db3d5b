// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a child of ours to a program, with limits that are set in between.

use std::ffi::{CString, OsStr, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

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
    let become_program = move || {
        for (resource, most) in limits.into_iter().flatten() {
            // Who may not have more than that cannot have it set either.
            let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
        }
        let (words, variables) = (pointers(&words), pointers(&variables));
        // SAFETY: all three are strings that end in a zero byte, the lists end in null, and both
        // outlive the call. rustix offers it to programs without a C library only.
        unsafe { libc::execve(path.as_ptr(), words.as_ptr(), variables.as_ptr()) };
        Err(io::Error::last_os_error())
    };
    // SAFETY: between fork and exec only system calls are allowed, and no allocation: this makes
    // nothing else. What it uses was made before.
    unsafe {
        command.pre_exec(become_program);
    }
    Ok(())
}

/// For the program and all that it starts. Each process has its own share: there is no limit for
/// all of them together without control groups.
fn resources(limits: &Limits) -> [(Resource, u64); 4] {
    let seconds = limits.timeout.as_secs().saturating_add(GRACE.as_secs()).saturating_add(1);
    [
        // Not the address space, of which some languages reserve much more than they use.
        (Resource::Data, limits.memory),
        (Resource::Cpu, seconds),
        (Resource::Fsize, FILE_LIMIT),
        (Resource::Core, 0),
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
