// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside release`.

use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Global, print, print_json, session};
use crate::run::{self, AskedRelease, Run};
use flipside_image::Digest;

/// When a release is done that has to wait.
const NOTED: &str = "once the run that is at work has ended";

/// Let an image be installed again that failed here or that a rollback left.
///
/// Where another run is at work, this is noted, and done at the end of that run.
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

/// Ends what was done or failed; the status of a run that is at work is that run's.
fn ended<T>(run: &Run, result: Result<Option<T>, run::Error>) -> super::Result<Option<T>> {
    if !matches!(result, Ok(None)) {
        run::finish(run, result.as_ref().err());
    }
    Ok(result?)
}

fn one(run: &Run, digest: Digest, global: &Global) -> super::Result<()> {
    let asked = AskedRelease::Digest(digest);
    let result = run::release_or_note(run, asked, |run| run::release(run, &digest));
    let Some(known) = ended(run, result)? else {
        return match global.json {
            true => print_json(&json!({"digest": digest, "noted": true})),
            false => print(format!("{} may be installed again {NOTED}", digest.short())),
        };
    };
    if global.json {
        print_json(&json!({"digest": digest, "released": known}))
    } else if known {
        print_done(format!("{} may be installed again", digest.short()))
    } else {
        print(format!("{} was neither failed nor held", digest.short()))
    }
}

fn all(run: &Run, global: &Global) -> super::Result<()> {
    let result = run::release_or_note(run, AskedRelease::All, run::release_all);
    let Some(released) = ended(run, result)? else {
        return match global.json {
            true => print_json(&json!({"noted": true})),
            false => print(format!("what failed or is held may be installed again {NOTED}")),
        };
    };
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
