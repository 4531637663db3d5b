// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image push`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::super::signals::stop_on_signals;
use super::super::{Failure, Global, print, print_json};
use super::connection::Connection;
use crate::codes;
use flipside_publish::push::push;
use flipside_source::{Location, Reference};

/// Upload an image from an OCI layout directory to a registry.
///
/// Blobs that the registry already has are not sent again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The OCI layout, `DIR` or `oci:DIR[:TAG]`. Without a tag, it must hold only one image.
    #[arg(value_name = "DIR")]
    layout: String,
    /// Where to upload it, such as `registry.example.com/acme/edge:stable`.
    reference: Reference,
    #[command(flatten)]
    connection: Connection,
}

/// Uploads an image.
///
/// # Errors
/// The layout's and the registry's.
pub fn run(args: Args, global: &Global) -> super::super::Result {
    let (directory, tag) = layout(&args.layout)?;
    let options = args.connection.options(&stop_on_signals()?);
    let digest = push(&directory, tag.as_deref(), &args.reference, &options)?;
    if global.json {
        print_json(&json!({ "digest": digest }))?;
    } else {
        print(format!("pushed {} {digest}", args.reference))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A directory of any name, or a location of a layout.
fn layout(text: &str) -> Result<(PathBuf, Option<String>), Failure> {
    if Path::new(text).is_dir() {
        return Ok((PathBuf::from(text), None));
    }
    let location = if text.starts_with("oci:") { text.to_owned() } else { format!("oci:{text}") };
    match location.parse()? {
        Location::Layout { directory, tag } => Ok((directory, tag)),
        _ => Err(Failure::error(codes::REFERENCE_INVALID, format!("{text:?} is no OCI layout"))),
    }
}
