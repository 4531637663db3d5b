// SPDX-License-Identifier: MIT OR Apache-2.0

//! `generate DIR`: man pages to DIR/man, shell completions to DIR/bash, DIR/zsh and DIR/fish.

#![allow(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap_complete::{Shell, generate_to};

mod markdown;
mod pages;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [directory] = arguments.as_slice() else { bail!("usage: generate DIR") };
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    generate(directory)
}

fn generate(directory: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs `program` on each file of `directory`; it has to be silent.
    fn is_silent(program: &str, arguments: &[&str], directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let Ok(output) = Command::new(program).args(arguments).arg(&path).output() else {
                println!("skipped: there is no {program} here");
                return;
            };
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
        }
    }

    #[test]
    fn shells_take_the_completions_and_formatters_the_pages() {
        let directory = tempfile::tempdir().unwrap();
        generate(directory.path()).unwrap();
        for shell in ["bash", "zsh", "fish"] {
            is_silent(shell, &["-n"], &directory.path().join(shell));
        }
        is_silent("mandoc", &["-T", "lint", "-W", "warning"], &directory.path().join("man"));
    }

    #[test]
    fn every_command_has_a_page_that_the_pages_above_it_name() {
        let directory = tempfile::tempdir().unwrap();
        pages::write(directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let mut number = 0;
        pages::each(&flipside::cli::command(), None, &mut |command, parent| {
            let page = read(&pages::file_name(command));
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"]
            {
                assert!(page.contains(&format!(".SH \"{section}\"")), "{}: {section}", command);
            }
            if let Some(parent) = parent {
                let above = read(&pages::file_name(parent));
                assert!(above.contains(&pages::reference(command)), "{parent} names no {command}");
            }
            number += 1;
        });
        assert!(number > 15, "{number}");
    }

    #[test]
    fn the_page_of_the_settings_has_every_key() {
        let directory = tempfile::tempdir().unwrap();
        pages::write(directory.path()).unwrap();
        let page = std::fs::read_to_string(directory.path().join("flipside.toml.5")).unwrap();
        let documentation = include_str!("../docs/configuration.md");
        let keys: Vec<&str> = documentation
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(key, _)| key)
            .collect();
        assert!(keys.len() > 20, "{keys:?}");
        for key in keys {
            let key = key.replace('-', "\\-");
            assert!(page.contains(&format!(".TP\n\\fB{key}\\fP\n")), "{key}");
        }
    }
}
