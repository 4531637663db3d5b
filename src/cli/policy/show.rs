// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy show`.

use std::process::ExitCode;

use super::super::output::fitted;
use super::super::{Global, print, print_json};
use super::DocumentArgs;
use flipside_publish::policy::text;

/// Show what a policy document says.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    document: DocumentArgs,
}

/// Shows a document.
///
/// # Errors
/// The source's, and what has not the form of a document.
pub fn run(args: Args, global: &Global) -> super::Result {
    let draft = args.document.read()?;
    match global.json {
        true => print_json(&draft)?,
        false => print(fitted(text(&draft), global.width))?,
    }
    Ok(ExitCode::SUCCESS)
}
