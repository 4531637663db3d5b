// SPDX-License-Identifier: MIT OR Apache-2.0

//! One run, from the tag to an armed slot, and the commands beside it.
//!
//! - `update`: the run itself: `look`, `judge`, then `act` under the lock; `outcome`: what came of it
//! - `check`, `offered_hooks`: runs that end after the judgement
//! - `upkeep`: promote, rollback, release, verify and what is armed, all of which core does
//! - `asked_retry`: retries that were asked for while another run held the lock
//! - `health`, `deadline`: a trial is judged, and ended
//! - `status`, `announce`, `observer`, `notify`: what is told, and to whom
//! - `next_check`: when the timer's run is made next
//! - `overdue`: whether a run after a boot has to be made
//! - `retry`: when a run of the timer is made again that failed in a way that time may mend
//! - `trial_due`: whether an update waits for the trial of what kexec started
//! - `withdrawn`: what slots hold although its publisher withdrew it

use std::sync::Arc;

use flipside_core::Access;

use crate::codes;
use crate::config::overlay::Unusable;
use crate::config::{ClockMode, Config};
use crate::error::Error;
use crate::report::progress::Tee;
use crate::report::{LiveStatus, Notify, StatusFile};
use crate::system::Clock;
use flipside_core::cancel::Cancel;
use flipside_core::host::durable::Durable;
use flipside_core::host::{Files, Root};
use flipside_core::progress::Progress;
use flipside_core::refusal::Refusal;
use flipside_source::{self as source, Source};

mod act;
mod announce;
mod asked_retry;
mod check;
pub mod deadline;
mod health;
mod judge;
mod look;
mod next_check;
mod notify;
mod observer;
mod offered_hooks;
mod old_image;
mod outcome;
mod overdue;
mod retry;
mod status;
mod trial_due;
mod update;
mod upkeep;
mod withdrawn;

pub use asked_retry::{AskedRetry, retry_or_note};
pub use check::{Check, check, finish_check};
pub use flipside_core::install::SlotContents;
pub use flipside_core::state::Action;
pub use flipside_core::trial::{Armed, FailedRun, Promotion, Rollback};
pub use health::health;
pub use next_check::next_check;
pub use notify::{notify_promoted, trigger_next_run};
pub use observer::Teller;
pub use offered_hooks::{HooksAsked, HooksPlanned, ask_hooks_about_offer, plan_hooks};
pub use outcome::Outcome;
pub use overdue::is_daily_run_enough;
pub use retry::{NextRetry, forget_ended_retries, next_retry};
pub use status::{finish, finish_command, last_status, note_settings, status};
pub use update::{finish_update, update};
pub use upkeep::{armed, fail_trial, promote, retry, retry_all, rollback, verify};

pub use crate::rules::{Depth, Unasked};

/// What every run of a command has: settings, the way to the disk, whom to tell, when to stop.
pub struct Run {
    /// The host.
    pub root: Root,
    /// Its settings.
    pub config: Config,
    /// The way to the disk and to NVRAM.
    pub durable: Durable,
    /// Whom to tell how far it is.
    pub progress: Arc<dyn Progress>,
    /// The status that others see meanwhile; its file stands in `/run`.
    pub follow: Arc<LiveStatus>,
    /// The wish to stop.
    pub stop: Cancel,
    /// Whether any registry may be spoken to without TLS (`--plain-http`).
    pub plain_http: bool,
}

impl Run {
    /// A run on the host below `root` by these settings.
    pub fn new(
        root: &Root,
        config: Config,
        shown: Arc<dyn Progress>,
        stop: Cancel,
        plain_http: bool,
    ) -> Self {
        let mut status = last_status(root);
        // Somebody may have changed the settings since.
        status.follow(config.track.image.as_deref());
        let follow = Arc::new(LiveStatus::new(StatusFile::of(root), status));
        let progress = Arc::new(Tee(vec![shown, Arc::new(Notify::new()), follow.clone()]));
        let (root, durable) = (root.clone(), Durable::new());
        Self { root, config, durable, progress, follow, stop, plain_http }
    }

    /// The source that `track.image` names.
    ///
    /// # Errors
    /// `nothing-tracked` where it names none; otherwise the source's own.
    pub fn source(&self) -> Result<Box<dyn Source>, Error> {
        let image = self.config.track.image.as_deref().ok_or_else(|| {
            Refusal::block(
                codes::NOTHING_TRACKED,
                "track.image is not set: there is nothing to follow",
            )
        })?;
        let location = image.parse()?;
        Ok(source::open(&location, &self.source_options()?)?)
    }

    /// This host's clock, as far as its settings trust it.
    pub fn clock(&self) -> Clock<'_> {
        Clock::of(&self.root).trusted(self.config.policy.clock == ClockMode::Trusted)
    }

    /// How core reaches the host.
    pub fn access(&self) -> Access {
        Access {
            root: self.root.clone(),
            settings: self.config.core(),
            durable: self.durable.clone(),
            observer: Arc::new(Teller::new(&self.root, self.files())),
            progress: Arc::clone(&self.progress),
            stop: self.stop.clone(),
            trust: crate::rules::secure_boot::ask,
        }
    }

    /// The files of flipside's own.
    pub fn files(&self) -> Files {
        Files::new(&self.root, &self.durable)
    }

    /// How sources are reached.
    ///
    /// # Errors
    /// `file-untrusted`.
    fn source_options(&self) -> Result<source::Options, Error> {
        self.config.track.check_files(&self.root).map_err(Unusable::from)?;
        let mut options = self.config.track.source_options(self.root.clone(), self.stop.clone());
        options.all_plain_http |= self.plain_http;
        Ok(options)
    }
}
