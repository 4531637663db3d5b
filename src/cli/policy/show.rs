// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy show`.

use std::process::ExitCode;

use super::super::image::connection::Connection;
use super::super::signals::stop_on_signals;
use super::super::{Global, print, print_json};
use super::read_draft;
use flipside_publish::policy::text;

/// Show what a policy document says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document: a file, `-` for stdin, or the one of a tag, in a registry or `[oci:]DIR:TAG`.
    #[arg(value_name = "FILE|REF")]
    document: String,
    #[command(flatten)]
    connection: Connection,
}

/// Shows a document.
///
/// # Errors
/// The source's, and what has not the form of a document.
pub fn run(args: Args, global: &Global) -> super::Result {
    let draft = read_draft(&args.document, &args.connection.options(&stop_on_signals()?))?;
    match global.json {
        true => print_json(&draft)?,
        false => print(text(&draft))?,
    }
    Ok(ExitCode::SUCCESS)
}
