// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is put to the rules, and what they ask with.

use super::target_release::TargetRelease;
use crate::config::{ClockMode, Config, Initiative};
use crate::system::Clock;
use flipside_core::cancel::Cancel;
use flipside_core::host::{Files, Root};
use flipside_core::progress::Progress;
use flipside_core::state::host_state::HostState;
use flipside_image::Architecture;
use flipside_image::signature::Verifier;
use flipside_source::{self as source, Source};

/// What a run has that rules need in order to ask.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The host.
    pub root: &'a Root,
    /// Its settings.
    pub config: &'a Config,
    /// Its architecture.
    pub architecture: Architecture,
    /// How sources are reached.
    pub options: &'a source::Options,
    /// Where policy documents are remembered.
    pub files: &'a Files,
    /// Whom to tell how far it is.
    pub progress: &'a dyn Progress,
    /// The wish to stop.
    pub stop: &'a Cancel,
}

impl<'a> Means<'a> {
    /// This host's clock, as far as its settings trust it.
    pub fn clock(&self) -> Clock<'a> {
        Clock::of(self.root).trusted(self.config.policy.clock == ClockMode::Trusted)
    }
}

/// An update on offer, and the host that it is offered to.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// What rules ask with.
    pub means: Means<'a>,
    /// Who wants the update.
    pub initiative: Initiative,
    /// The facts, a trial that fell back counted.
    pub host_state: &'a HostState,
    /// Where the tag is.
    pub source: &'a dyn Source,
    /// What the tag points to, or what an update graph says in its place.
    pub target_release: &'a TargetRelease,
    /// What signatures are held against.
    pub verifier: &'a Verifier,
    /// What this host calls its own product.
    pub product: Option<&'a str>,
    /// Whether nothing is to change by the question: nothing is remembered, and the status that
    /// others see stays as it is.
    pub is_only_asked: bool,
}
