// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image delta`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::super::location::{parse_image, parse_layout};
use super::super::signals::stop_on_signals;
use super::super::{Failure, Global, print, print_json, progress};
use super::connection::{Connection, parse_architecture};
use crate::codes;
use flipside_image::{Architecture, Digest};
use flipside_publish::delta::{
    DEFAULT_DELTA_LEVEL, DeltaSettings, DeltaTarget, MadeDelta, OpenedImage, publish,
};
use flipside_publish::disk::Size;
use flipside_source::Location;

/// Make a delta, so that hosts fetch less of a new image.
///
/// The delta is put beside the new image: into its repository, or into its OCI layout. Nothing is
/// published if hosts would still fetch more than 60 % of the new image. Both images need room for
/// their largest payload in TMPDIR or /var/tmp.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image that hosts run, a registry reference, `[oci:]DIR[:TAG]` or
    /// `oci-archive:FILE[:TAG]`.
    #[arg(value_parser = parse_image)]
    from: Location,
    /// The new image.
    #[arg(value_parser = parse_image)]
    to: Location,
    #[command(flatten)]
    making: Making,
    /// Write the delta to this OCI layout directory; it is made, or the delta is added to it.
    #[arg(short, long, value_name = "[oci:]DIR", value_parser = parse_layout)]
    output: Option<(PathBuf, Option<String>)>,
    /// Select the images for this machine type, if there are several: x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", value_parser = parse_architecture)]
    architecture: Option<Architecture>,
    #[command(flatten)]
    connection: Connection,
}

/// How deltas are made.
#[derive(Debug, clap::Args)]
struct Making {
    /// Compress patches at this zstd level, 1 to 22.
    #[arg(
        long, value_name = "N", default_value_t = DEFAULT_DELTA_LEVEL,
        value_parser = clap::value_parser!(i32).range(1..=22)
    )]
    level: i32,
    /// Work with N threads; the delta is the same for any N [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// Makes a delta.
///
/// # Errors
/// Those of [`publish`].
pub fn run(args: Args, global: &Global) -> super::super::Result {
    let options = args.connection.options(&stop_on_signals()?);
    let target = match (&args.output, &args.to) {
        (Some((_, Some(tag))), _) => {
            return Err(usage(format!("--output has the tag {tag}; a delta has no tag")));
        }
        (Some((directory, None)), _) | (None, Location::Layout { directory, .. }) => {
            DeltaTarget::Layout(directory)
        }
        (None, Location::Registry(reference)) => DeltaTarget::Registry(reference),
        (None, Location::Archive { .. }) => {
            return Err(usage("an archive is not written to: name a layout with --output"));
        }
    };
    let to = OpenedImage::open(&args.to, args.architecture, &options)?;
    let architecture = to.image().config.product_info.architecture();
    let from = OpenedImage::open(&args.from, architecture, &options)?;
    let settings = DeltaSettings { level: args.making.level, workers: args.making.jobs };
    let progress = progress::of(global);
    let made = publish(&from, &to, target, settings, &options, progress.as_ref())?;
    if global.json {
        print_json(&DeltaDocument::of(&made))?;
    } else {
        let line = DeltaLine(&made);
        print(match target {
            DeltaTarget::Registry(reference) => format!("pushed {reference} {line}"),
            DeltaTarget::Layout(directory) => format!("wrote oci:{} {line}", directory.display()),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::error(codes::ARGUMENT_INVALID, message)
}

/// A delta for people: `delta from 2.1: 14.5 MiB instead of 184.0 MiB (sha256:...)`.
pub(super) struct DeltaLine<'a>(pub &'a MadeDelta);

impl fmt::Display for DeltaLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MadeDelta { from_version, fetch, full, manifest, .. } = self.0;
        let (fetch, full, digest) = (Size(*fetch), Size(*full), manifest.digest);
        write!(f, "delta from {from_version}: {fetch} instead of {full} ({digest})")
    }
}

/// A delta for programs.
#[derive(Serialize)]
pub(super) struct DeltaDocument<'a> {
    digest: Digest,
    from: FromImage<'a>,
    to: ToImage<'a>,
    size: u64,
    fetch: u64,
    full: u64,
}

#[derive(Serialize)]
struct FromImage<'a> {
    config: Digest,
    version: &'a str,
}

#[derive(Serialize)]
struct ToImage<'a> {
    digest: Digest,
    version: &'a str,
}

impl<'a> DeltaDocument<'a> {
    pub(super) fn of(made: &'a MadeDelta) -> Self {
        Self {
            digest: made.manifest.digest,
            from: FromImage { config: made.from, version: &made.from_version },
            to: ToImage { digest: made.to, version: &made.to_version },
            size: made.size,
            fetch: made.fetch,
            full: made.full,
        }
    }
}
