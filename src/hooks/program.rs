// SPDX-License-Identifier: MIT OR Apache-2.0

//! A program that is asked something, and what it may use.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

/// A program, and what it is given.
pub(crate) struct Program<'a> {
    /// What it is, for the log.
    pub kind: &'static str,
    /// What people call it.
    pub name: &'a str,
    /// Where it stands.
    pub path: &'a Path,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Its working directory.
    pub directory: &'a Path,
    /// Its environment, and nothing else.
    pub environment: &'a [(&'static str, String)],
    /// What it finds on stdin.
    pub input: &'a [u8],
    /// What it may do as a unit.
    #[cfg_attr(not(feature = "dbus"), allow(dead_code))]
    pub sandbox: Sandbox,
    /// The program itself, where it stands in no file: `path` leads to it in this process.
    pub body: Option<BorrowedFd<'a>>,
}

/// What a program may do as a unit of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// Look at the whole host, ask over the network, and change nothing.
    Closed,
    /// Make sandboxes itself: limits only, and control groups of its own.
    Delegated,
}

/// What a program may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long it may run.
    pub timeout: Duration,
    /// Bytes of memory, of all its processes where systemd counts, otherwise of each.
    pub memory: u64,
}
