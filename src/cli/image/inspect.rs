// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image inspect`.

use std::process::ExitCode;

use super::super::location::parse_image;
use super::super::signals::stop_on_signals;
use super::super::{Global, print, print_json};
use super::connection::{Connection, parse_architecture};
use flipside_image::code::{Coded as _, sentence};
use flipside_image::{Architecture, Image};
use flipside_publish::find_image;
use flipside_publish::inspect::{Inspection, inspect, inspect_companion, inspect_signatures};
use flipside_source::{Location, Source};

/// Show what is in an image, in a policy document, or in a signature.
///
/// The signatures of an image are listed with what they say of themselves. None of them is verified.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, a registry reference, `[oci:]DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
    #[arg(value_parser = parse_image)]
    image: Location,
    /// Select the image for this machine type, if there are several: x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", value_parser = parse_architecture)]
    architecture: Option<Architecture>,
    #[command(flatten)]
    connection: Connection,
}

/// Shows what is in an image.
///
/// # Errors
/// The source's, and anything that is no OS image.
pub fn run(args: Args, global: &Global) -> super::super::Result {
    let source = args.connection.open(&args.image, &stop_on_signals()?)?;
    match find_image(source.as_ref(), args.architecture) {
        Ok(image) if global.json => print_json(&with_signatures(source.as_ref(), &image))?,
        Ok(image) => print(with_signatures(source.as_ref(), &image))?,
        Err(error) if error.code().name() != "not-an-os-image" => return Err(error.into()),
        Err(error) => match inspect_companion(source.as_ref())? {
            Some(companion) if global.json => print_json(&companion)?,
            Some(companion) => print(companion)?,
            None => return Err(error.into()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// A registry that says nothing about signatures keeps nobody from looking at the image.
fn with_signatures(source: &dyn Source, image: &Image) -> Inspection {
    let signatures = match inspect_signatures(source, &image.digest) {
        Ok(signatures) => Some(signatures),
        Err(error) => {
            tracing::warn!("cannot look for signatures: {}", sentence(&error));
            None
        }
    };
    Inspection { signatures, ..inspect(image) }
}
