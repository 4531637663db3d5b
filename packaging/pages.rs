// SPDX-License-Identifier: MIT OR Apache-2.0

//! Man pages: one for each command.

use std::path::Path;

use anyhow::Result;

pub fn write(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(flipside::cli::command(), directory)?;
    Ok(())
}
