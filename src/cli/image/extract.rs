// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image extract`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::location::parse_image;
use super::super::signals::stop_on_signals;
use super::super::{Global, progress};
use super::connection::{Connection, parse_architecture};
use flipside_image::Architecture;
use flipside_publish::{extract, find_image};
use flipside_source::Location;

/// Write one payload of an image to a file, and verify every chunk.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, a registry reference, `[oci:]DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
    #[arg(value_parser = parse_image)]
    image: Location,
    /// The payload, such as `system`.
    payload: String,
    /// Write to this file. An existing file is replaced when the new one is complete.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Select the image for this machine type, if there are several: x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", value_parser = parse_architecture)]
    architecture: Option<Architecture>,
    #[command(flatten)]
    connection: Connection,
}

/// Writes a payload to a file.
///
/// # Errors
/// The source's, and those of [`extract`].
pub fn run(args: Args, global: &Global) -> super::super::Result {
    let stop = stop_on_signals()?;
    let source = args.connection.open(&args.image, &stop)?;
    let image = find_image(source.as_ref(), args.architecture)?;
    let (source, progress) = (source.as_ref(), progress::of(global));
    extract(source, &image, &args.payload, &args.output, progress.as_ref(), &stop)?;
    Ok(ExitCode::SUCCESS)
}
