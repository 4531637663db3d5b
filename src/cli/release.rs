// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside release`.

use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Global, print, print_json, session};
use crate::run::{self, Run};
use flipside_image::Digest;

/// Let an image be installed again that failed here or that a rollback left.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// The image's digest, `sha256:…`, as `flipside status --json` shows it.
    #[arg(value_name = "DIGEST")]
    digest: Option<Digest>,
    /// Every image that failed, and the one that is held.
    #[arg(long)]
    all: bool,
}

/// Forgets that a digest failed, or that any did.
///
/// # Errors
/// Whatever stopped it.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open(global, false)?;
    match args.digest {
        Some(digest) => one(&run, digest, global)?,
        None => all(&run, global)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn one(run: &Run, digest: Digest, global: &Global) -> super::Result<()> {
    let result = run::release(run, &digest);
    run::finish(run, result.as_ref().err());
    let known = result?;
    if global.json {
        print_json(&json!({"digest": digest, "released": known}))
    } else if known {
        print_done(format!("{} may be installed again", digest.short()))
    } else {
        print(format!("{} was neither failed nor held", digest.short()))
    }
}

fn all(run: &Run, global: &Global) -> super::Result<()> {
    let result = run::release_all(run);
    run::finish(run, result.as_ref().err());
    let released = result?;
    if global.json {
        return print_json(&json!({"released": released}));
    }
    for digest in &released {
        print_done(format!("{} may be installed again", digest.short()))?;
    }
    if released.is_empty() {
        print("nothing has failed here, and nothing is held")?;
    }
    Ok(())
}
