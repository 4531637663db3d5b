// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside release DIGEST`.

use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Global, print, print_json, session};
use crate::image::Digest;
use crate::update;

/// Let an image be installed again that failed here or that a rollback left.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image's digest, `sha256:…`, as `flipside status --json` shows it.
    digest: Digest,
}

/// Forgets that a digest failed.
///
/// # Errors
/// Whatever stopped it.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open(global, false)?;
    let known = update::release(&run, &args.digest)?;
    update::finish(&run, None);
    if global.json {
        print_json(&json!({"digest": args.digest, "released": known}))?;
    } else if known {
        print_done(format!("{} may be installed again", args.digest.short()))?;
    } else {
        print(format!("{} was neither failed nor held", args.digest.short()))?;
    }
    Ok(ExitCode::SUCCESS)
}
