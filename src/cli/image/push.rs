// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image push`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::super::location::{parse_image, parse_layout};
use super::super::signals::stop_on_signals;
use super::super::{Global, print, print_json, progress};
use super::connection::Connection;
use super::delta::{DeltaDocument, DeltaLine};
use flipside_publish::delta::DeltaSources;
use flipside_publish::push::push_with_deltas;
use flipside_source::{Location, Reference};

/// Upload an image from an OCI layout directory to a registry.
///
/// The signatures and the deltas of the image that the layout has are pushed with it. Blobs that the
/// registry already has are not sent again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The OCI layout. Without a tag, it must hold only one image.
    #[arg(value_name = "[oci:]DIR[:TAG]", value_parser = parse_layout)]
    layout: (PathBuf, Option<String>),
    /// Where to upload it, such as `registry.example.com/acme/edge:stable`.
    reference: Reference,
    /// Also make and push a delta from this image; may be repeated. A registry reference,
    /// `[oci:]DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
    #[arg(long, value_name = "IMAGE", value_parser = parse_image)]
    delta_from: Vec<Location>,
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
    let sources = DeltaSources { from: &args.delta_from, ..DeltaSources::default() };
    let (tag, reference) = (tag.as_deref(), &args.reference);
    let pushed =
        push_with_deltas(&directory, tag, reference, sources, &options, progress.as_ref())?;
    if global.json {
        let deltas: Vec<_> = pushed.deltas.iter().map(DeltaDocument::of).collect();
        print_json(&json!({ "digest": pushed.digest, "deltas": deltas }))?;
    } else {
        let deltas =
            pushed.deltas.iter().map(|delta| format!("pushed {reference} {}", DeltaLine(delta)));
        let image = format!("pushed {reference} {}", pushed.digest);
        print(deltas.chain([image]).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
