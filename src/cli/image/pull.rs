// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image pull`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::super::location::{one_tag, parse_image, parse_layout};
use super::super::signals::stop_on_signals;
use super::super::{Global, print, print_json, progress};
use super::connection::{Connection, parse_architecture};
use flipside_image::Architecture;
use flipside_publish::disk::Size;
use flipside_publish::pull::pull;
use flipside_source::Location;

/// Download an image to an OCI layout directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, a registry reference, `[oci:]DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
    #[arg(value_parser = parse_image)]
    image: Location,
    /// The OCI layout directory; it is made, or the image is added to it.
    #[arg(value_name = "[oci:]DIR[:TAG]", value_parser = parse_layout)]
    layout: (PathBuf, Option<String>),
    /// Tag the image in the layout [default: its present tag].
    #[arg(long)]
    tag: Option<String>,
    /// Take only the image for this machine type, if there are several: x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", value_parser = parse_architecture)]
    architecture: Option<Architecture>,
    #[command(flatten)]
    connection: Connection,
}

/// Downloads an image.
///
/// # Errors
/// The source's, and those of [`pull`].
pub fn run(args: Args, global: &Global) -> super::super::Result {
    let stop = stop_on_signals()?;
    let source = args.connection.open(&args.image, &stop)?;
    let (directory, tag) = args.layout;
    let tag = one_tag(args.tag, tag)?;
    let tag = tag.as_deref().or_else(|| tag_of(&args.image));
    let (source, progress) = (source.as_ref(), progress::of(global));
    let pulled = pull(source, &directory, tag, args.architecture, progress.as_ref(), &stop)?;
    if global.json {
        print_json(&json!({
            "digest": pulled.digest,
            "fetched": pulled.fetched,
            "kept": pulled.kept,
        }))?;
    } else {
        let (fetched, kept) = (Size(pulled.fetched), Size(pulled.kept));
        print(format!("pulled {}: fetched {fetched}, kept {kept}", pulled.digest))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tag_of(image: &Location) -> Option<&str> {
    match image {
        Location::Registry(reference) if reference.digest().is_some() => None,
        Location::Registry(reference) => Some(reference.tag()),
        Location::Layout { tag, .. } | Location::Archive { tag, .. } => tag.as_deref(),
    }
}
