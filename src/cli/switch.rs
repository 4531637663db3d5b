// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside switch`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::location::parse_image;
use super::output::print_done;
use super::{Failure, Global, hold, print, print_json, session};
use crate::config::Config;
use crate::config::drop_in::{self, DropIn};
use crate::config::form::Address;
use crate::run;
use flipside_source::Location;

/// Follow another tag from now on.
///
/// Checks that the tag exists, and writes the drop-in /etc/flipside/flipside.toml.d/90-switch.toml.
/// If /etc is read-only, it is /var/lib/flipside/settings.d/90-switch.toml. This installs nothing;
/// `flipside update` and the timer do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to follow, as in `track.image`. A tag alone keeps the repository.
    #[arg(value_name = "REF", required_unless_present = "back", conflicts_with = "back")]
    image: Option<String>,
    /// Remove the drop-in, and follow what the other files say.
    #[arg(long)]
    back: bool,
    /// Do not check that the tag exists.
    #[arg(long)]
    offline: bool,
    /// Use plain HTTP, without TLS, for every registry.
    #[arg(long)]
    plain_http: bool,
}

/// Lets this host follow something else.
///
/// # Errors
/// What is no reference, a tag that does not exist, a drop-in that cannot be written or that
/// another file overrides. Then everything is as before.
pub fn run(args: Args, global: &Global) -> super::Result {
    let mut run = session::open(global, args.plain_http)?;
    let Some(named) = args.image else {
        let was_there = DropIn::Switch.remove(&run.root, &run.files())?;
        return done(&mut run, was_there, None, global);
    };
    let image = match run.config.track.image.as_deref() {
        // A directory without a slash could as well be a tag.
        Some(followed) if !named.contains('/') => {
            followed.parse::<Location>()?.with_name(&named)?
        }
        _ => parse_image(&named)?,
    };
    // The timer has another working directory.
    let image = image.absolute();
    hold::refuse_overridden(DropIn::Switch, &run)?;
    run.config.track.image = Some(Address(image.to_string()));
    if !args.offline {
        run.source()?.resolve()?;
    }
    let written = drop_in::switch(&run.root, &run.files(), &image.to_string())?;
    done(&mut run, true, Some(&written), global)
}

fn done(
    run: &mut run::Run,
    has_changed: bool,
    written: Option<&Path>,
    global: &Global,
) -> super::Result {
    run.config = Config::load(&run.root)?;
    run::note_settings(run);
    let image = run.config.track.image.as_deref();
    let text = format!("follows {}", image.unwrap_or("nothing (track.image is not set)"));
    let ends = written.is_some_and(|written| hold::ends_with_boot(run, written));
    match (global.json, has_changed) {
        (true, _) => {
            print_json(&json!({"follows": image, "changed": has_changed, "until_next_boot": ends}))?
        }
        (false, true) => print_done(text)?,
        (false, false) => print(text)?,
    }
    if let (false, Some(written)) = (global.json, written) {
        hold::tell_end(run, written)?;
    }
    Ok::<_, Failure>(ExitCode::SUCCESS)
}
