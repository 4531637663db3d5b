// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy push`.

use std::process::ExitCode;

use serde_json::json;

use super::super::image::connection::Connection;
use super::super::location::parse_image;
use super::super::signals::stop_on_signals;
use super::super::{Global, print, print_json};
use super::{read, warn};
use flipside_image::document::Draft;
use flipside_publish::PublishError;
use flipside_publish::policy::{place, push};
use flipside_source::Location;

/// Publish a policy document beside its tag.
///
/// For `registry.example.com/acme/edge:stable`, the document is published as `stable.policy` and
/// names `stable` as its tag. A document with errors is refused, and so is one that is not newer
/// than the published one. If hosts require signatures, sign it next with `flipside image sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document: a file, `-` for stdin, or the one of a tag, in a registry or `[oci:]DIR:TAG`.
    #[arg(value_name = "FILE|REF")]
    document: String,
    /// The tag that hosts follow, in a registry or `[oci:]DIR:TAG`.
    #[arg(value_parser = parse_image)]
    target: Location,
    #[command(flatten)]
    connection: Connection,
}

/// Publishes a document.
///
/// # Errors
/// The document's, and those of where it goes.
pub fn run(args: Args, global: &Global) -> super::Result {
    let options = args.connection.options(&stop_on_signals()?);
    let document = read(&args.document, &options)?;
    warn(&Draft::parse(&document).map_err(PublishError::from)?);
    let digest = push(&document, &args.target, &options)?;
    if global.json {
        print_json(&json!({ "digest": digest }))?;
    } else {
        print(format!("pushed {} {digest}", place(&args.target)?))?;
    }
    Ok(ExitCode::SUCCESS)
}
