// SPDX-License-Identifier: MIT OR Apache-2.0

//! Other programs, run to their end.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `command` and gives its standard output.
///
/// # Errors
/// It cannot be started, or does not end with 0; its last words are in the error.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}: `tests/needs vm` installs what is missing"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        let last: Vec<&str> = said.lines().rev().take(12).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{name} ended with {}:\n{}", done.status, last.join("\n"));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs it, where only success matters.
///
/// # Errors
/// As [`output`].
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Copies a tree with everything that it is, in place of what stands at `to`.
///
/// # Errors
/// As [`output`].
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").arg("--reflink=auto").arg("-T").arg(from).arg(to))
}

/// The same by hard links. What is changed in the copy has to be made anew, not written to.
///
/// # Errors
/// As [`output`].
pub fn link_tree(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("-al").arg("-T").arg(from).arg(to))
}
