// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside retry`.

use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Global, print, print_json, session};
use crate::report::named;
use crate::run::{self, AskedRetry, Run};
use flipside_image::Digest;

/// When a retry that has to wait is allowed.
const NOTED: &str = "once the run that is at work has ended";

/// Allow an image again that failed here or that a rollback left.
///
/// If another flipside is running, the retry is noted, and allowed when that one ends.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// The image: its version, or at least the first 8 digits of its digest.
    #[arg(value_name = "VERSION|DIGEST")]
    image: Option<String>,
    /// All images that failed, and the one that a rollback left.
    #[arg(long)]
    all: bool,
}

/// Forgets that a digest failed, or that any did.
///
/// # Errors
/// Whatever stopped it.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open(global, false)?;
    match args.image {
        Some(name) => {
            // A digest need not be known here.
            let digest = name.parse().or_else(|_| named::find(&name, &run::status(&run)))?;
            one(&run, digest, global)?;
        }
        None => all(&run, global)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends what was done or failed; the status of a run that is at work is that run's.
fn ended<T>(run: &Run, result: Result<Option<T>, crate::error::Error>) -> super::Result<Option<T>> {
    if !matches!(result, Ok(None)) {
        run::finish_command(run, "retry", result.as_ref().err());
    }
    Ok(result?)
}

fn one(run: &Run, digest: Digest, global: &Global) -> super::Result<()> {
    let asked = AskedRetry::Digest(digest);
    let result = run::retry_or_note(run, asked, |run| run::retry(run, &digest));
    let Some(known) = ended(run, result)? else {
        return match global.json {
            true => print_json(&json!({"digest": digest, "noted": true})),
            false => print(format!("{} may be installed again {NOTED}", digest.short())),
        };
    };
    if global.json {
        print_json(&json!({"digest": digest, "retry_allowed": known}))
    } else if known {
        print_done(format!("{} may be installed again", digest.short()))
    } else {
        let why = "it has not failed, and no rollback left it";
        print(format!("nothing is noted against {} itself: {why}", digest.short()))
    }
}

fn all(run: &Run, global: &Global) -> super::Result<()> {
    let result = run::retry_or_note(run, AskedRetry::All, run::retry_all);
    let Some(allowed) = ended(run, result)? else {
        return match global.json {
            true => print_json(&json!({"noted": true})),
            false => print(format!(
                "what failed or was left by a rollback may be installed again {NOTED}"
            )),
        };
    };
    if global.json {
        return print_json(&json!({"retry_allowed": allowed}));
    }
    for digest in &allowed {
        print_done(format!("{} may be installed again", digest.short()))?;
    }
    if allowed.is_empty() {
        print("nothing has failed here, and no rollback left anything")?;
    }
    Ok(())
}
