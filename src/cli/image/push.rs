// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image push`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::super::location::parse_layout;
use super::super::signals::stop_on_signals;
use super::super::{Global, print, print_json, progress};
use super::connection::Connection;
use flipside_publish::push::push;
use flipside_source::Reference;

/// Upload an image from an OCI layout directory to a registry.
///
/// Blobs that the registry already has are not sent again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The OCI layout. Without a tag, it must hold only one image.
    #[arg(value_name = "[oci:]DIR[:TAG]", value_parser = parse_layout)]
    layout: (PathBuf, Option<String>),
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
    let (directory, tag) = args.layout;
    let options = args.connection.options(&stop_on_signals()?);
    let progress = progress::on_terminal(global);
    let digest = push(&directory, tag.as_deref(), &args.reference, &options, progress.as_ref())?;
    if global.json {
        print_json(&json!({ "digest": digest }))?;
    } else {
        print(format!("pushed {} {digest}", args.reference))?;
    }
    Ok(ExitCode::SUCCESS)
}
