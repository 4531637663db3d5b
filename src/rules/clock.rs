// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules that go by the clock alone, [`Rule::Hold`] and [`Rule::UpdateWindow`]: asked first,
//! and under the lock again, since hooks may take their time.

use super::evaluation::Evaluation;
use super::{Means, Rule, Verdict, hold, update_window};
use crate::config::window::Windows;
use crate::config::{Config, Initiative, Update};
use crate::system::zone_of;
use flipside_core::refusal::Refusal;

/// Asks both.
pub(super) fn ask(evaluation: &mut Evaluation<'_>) {
    let means = &evaluation.candidate.means;
    let said = Said::now(means, &means.config.update, evaluation.candidate.initiative);
    let (observed, verdict) = said.hold;
    evaluation.put(Rule::Hold, &observed, verdict);
    let (observed, verdict) = said.window;
    evaluation.put(Rule::UpdateWindow, &observed, verdict);
}

/// What each saw and says.
struct Said {
    hold: (String, Verdict),
    window: (String, Verdict),
}

impl Said {
    fn now(means: &Means<'_>, settings: &Update, initiative: Initiative) -> Self {
        let zone = zone_of(means.root);
        // Asked where it matters: it may take a service to tell.
        let has_dates = settings.is_held && settings.hold_until.is_some();
        let asks =
            initiative == Initiative::Automatic && (has_dates || !settings.windows.is_empty());
        let clock = means.clock();
        let now = if asks { clock.now() } else { Some(clock.shows()) };
        let windows = Windows { windows: &settings.windows, host: &zone };
        Self {
            hold: hold::decide(settings.hold().as_ref(), initiative, now, &zone),
            window: update_window::decide(windows, initiative, now),
        }
    }
}

/// `[update]` as the files have it by now: somebody may have held this host meanwhile. Files that
/// cannot be read any more change nothing.
pub fn settings_now(means: &Means<'_>) -> Update {
    Config::load(means.root).map(|config| config.update).unwrap_or_else(|error| {
        tracing::warn!("the settings stay what they were: {error}");
        means.config.update.clone()
    })
}

/// Whether the time still allows what it did when the rules were asked: hooks may take theirs.
///
/// # Errors
/// The refusal.
pub fn time_allows(
    means: &Means<'_>,
    settings: &Update,
    initiative: Initiative,
) -> Result<(), Refusal> {
    let Said { hold: (_, hold), window: (_, window) } = Said::now(means, settings, initiative);
    hold.into_result().and_then(|()| window.into_result())
}

/// The same of a hold alone, for an install that goes on beyond its window.
///
/// # Errors
/// The refusal.
pub fn nobody_holds(
    means: &Means<'_>,
    settings: &Update,
    initiative: Initiative,
) -> Result<(), Refusal> {
    let Said { hold: (_, hold), .. } = Said::now(means, settings, initiative);
    hold.into_result()
}
