// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside hold` and `flipside unhold`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::output::print_done;
use super::{Failure, Global, print, print_json, session};
use crate::codes;
use crate::config::drop_in::{self, DropIn};
use crate::config::{Config, Hold as Wish, Place};
use crate::run::{self, Run};
use crate::system::{Clock, zone_of};
use flipside_core::host::is_volatile;
use flipside_image::moment::Moment;
use flipside_image::printable;

/// The most characters that a reason may have.
const REASON: usize = 200;

/// Pause automatic updates of this host.
///
/// The timer no longer installs updates; you still can, with `flipside update`. An update that is
/// already armed still boots at the next reboot. The hold is the drop-in
/// /etc/flipside/flipside.toml.d/90-hold.toml. If /etc is read-only, it is
/// /var/lib/flipside/settings.d/90-hold.toml.
#[derive(Debug, clap::Args)]
pub struct Hold {
    /// Until the start of this day (2026-12-01), or until this time (2026-12-01T18:00+01:00)
    /// [default: until `flipside unhold`].
    #[arg(long, value_name = "DATE")]
    until: Option<Moment>,
    /// The reason, which is shown to people.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Resume automatic updates of this host.
#[derive(Debug, clap::Args)]
pub struct Unhold {}

/// Pauses automatic updates.
///
/// # Errors
/// A time that is over, a drop-in that cannot be written or that another file overrides.
pub fn hold(args: Hold, global: &Global) -> super::Result {
    let mut run = session::open(global, false)?;
    let zone = zone_of(&run.root);
    let reason = args.reason.map(|text| printable::line(&text, REASON));
    let wish = Wish { until: args.until, reason: reason.filter(|text| !text.is_empty()) };
    if !wish.holds(Clock::of(&run.root).shows(), &zone) {
        let until = wish.until.map(|until| until.text(&zone)).unwrap_or_default();
        return Err(Failure::error(codes::HOLD_OVER, format!("{until} is over already")));
    }
    refuse_overridden(DropIn::Hold, &run)?;
    let written = drop_in::hold(&run.root, &run.files(), &wish)?;
    run.config = Config::load(&run.root)?;
    run::note_settings(&run);
    if global.json {
        let until = wish.until.as_ref().map(|until| until.time(&zone));
        let ends = ends_with_boot(&run, &written);
        let hold = json!({"until": until, "reason": wish.reason, "until_next_boot": ends});
        print_json(&json!({"hold": hold}))?;
    } else {
        print_done(wish.text(&zone))?;
        tell_end(&run, &written)?;
        if run::armed(&run)?.is_some() {
            print("what is installed already boots at the next reboot all the same")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets automatic updates go on.
///
/// # Errors
/// A drop-in that cannot be removed, or a hold that stands in another file.
pub fn unhold(_: Unhold, global: &Global) -> super::Result {
    let mut run = session::open(global, false)?;
    let was_held = DropIn::Hold.remove(&run.root, &run.files())?;
    run.config = Config::load(&run.root)?;
    run::note_settings(&run);
    if run.config.update.is_held
        && let Some(place) = Config::place_of(&run.root, DropIn::Hold.key())?
    {
        return Err(set_elsewhere(DropIn::Hold, &place));
    }
    match (global.json, was_held) {
        (true, _) => print_json(&json!({"hold": null, "removed": was_held}))?,
        (false, true) => print_done("automatic updates go on")?,
        (false, false) => print("there was no hold")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether `written` is gone with this boot.
pub(super) fn ends_with_boot(run: &Run, written: &Path) -> bool {
    is_volatile(&run.root, &run.root.on_host(written))
}

/// Says that `written` is gone with this boot, where it is.
pub(super) fn tell_end(run: &Run, written: &Path) -> Result<(), Failure> {
    if ends_with_boot(run, written) {
        let file = run.root.on_host(written);
        print(format_args!(
            "this holds until the next boot: {} is kept in memory",
            file.display()
        ))?;
    }
    Ok(())
}

/// Refuses to write what would have no effect, because of a file that counts more.
pub(super) fn refuse_overridden(drop_in: DropIn, run: &Run) -> Result<(), Failure> {
    match drop_in.overridden(&run.root)? {
        Some(place) => Err(set_elsewhere(drop_in, &place)),
        None => Ok(()),
    }
}

fn set_elsewhere(drop_in: DropIn, place: &Place) -> Failure {
    let key = drop_in.key();
    Failure::error(codes::SETTING_OVERRIDDEN, format!("{key} is set in {place}: change it there"))
}
