// SPDX-License-Identifier: MIT OR Apache-2.0

//! `generate DIR`: man pages to DIR/man, shell completions to DIR/bash, DIR/zsh and DIR/fish.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap_complete::{Shell, generate_to};

mod pages;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [directory] = arguments.as_slice() else { bail!("usage: generate DIR") };
    generate(directory)
}

fn generate(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    completions(directory).context("cannot write the completions")?;
    pages::write(&directory.join("man")).context("cannot write the man pages")
}

fn completions(directory: &Path) -> Result<()> {
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory)?;
        let written = generate_to(shell, &mut flipside::cli::command(), "flipside", &directory)?;
        if shell == Shell::Bash {
            // The name by which bash-completion finds it.
            std::fs::rename(&written, directory.join("flipside"))?;
        }
    }
    Ok(())
}
