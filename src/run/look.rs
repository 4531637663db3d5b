// SPDX-License-Identifier: MIT OR Apache-2.0

//! The first step of a run: this host as it is, and what it follows. No lock is held, and
//! nothing outside `/run` is written.

use flipside_core::host::Files;
use flipside_core::progress::{Event, Phase};
use flipside_core::state::{Action, HostState};
use flipside_core::{Host, architecture};
use flipside_image::Architecture;
use flipside_image::signature::Verifier;
use flipside_source::{Options, Source};

use super::{Error, Run};
use crate::config::Initiative;
use crate::rules::signature::open as open_verifier;
use crate::rules::{Candidate, Means, TargetRelease, find_target_release};

/// What there is to see.
pub(super) enum Looked {
    /// Nothing to follow, or no host: why.
    Nothing(&'static str),
    /// A host, and what is on offer to it.
    At(Box<Snapshot>),
}

/// A host, and what is on offer to it.
pub(super) struct Snapshot {
    /// The host, opened.
    pub host: Host,
    /// The host as it is.
    pub facts: HostState,
    /// The same once a trial that fell back has been counted.
    pub host_state: HostState,
    /// Where the tag is.
    pub source: Box<dyn Source>,
    /// What the tag names, or an update graph in its place.
    pub target_release: TargetRelease,
    /// What is fetched for this host.
    pub architecture: Architecture,
    verifier: Verifier,
    product: Option<String>,
    options: Options,
    files: Files,
}

/// Looks at the host, and asks what the tag names.
///
/// # Errors
/// [`Error`]: the host or the source cannot be asked.
pub(super) fn look(run: &Run) -> Result<Looked, Error> {
    if run.config.track.image.is_none() {
        return Ok(Looked::Nothing("track.image is not set"));
    }
    let Some(host) = Host::open(&run.access())? else {
        return Ok(Looked::Nothing("no slots are recognised on this host"));
    };
    let verifier = open_verifier(&run.root, &run.config)?;
    let product = product(run, &host);
    let mut facts = host.host_state()?;
    let source = run.source()?;
    run.progress.event(Event::Phase(Phase::Checking));
    let (architecture, options) = (architecture()?, run.source_options()?);
    let files = run.files();
    let means = means(run, architecture, &options, &files);
    let target_release = find_target_release(&means, source.as_ref(), &facts)?;
    // Before anybody is asked about it. Where nothing would be installed, nothing is looked for.
    let failed = facts.counted(run.config.trial.attempts);
    let mut host_state = HostState { failed, ..facts.clone() };
    let would = target_release.action(&host_state, &target_release.digest, None);
    if matches!(would, Action::Install | Action::Arm) {
        host.look_for_obstacles(&mut facts, &run.stop)?;
        host_state.obstacles = facts.obstacles.clone();
    }
    Ok(Looked::At(Box::new(Snapshot {
        host,
        facts,
        host_state,
        source,
        target_release,
        verifier,
        product,
        architecture,
        options,
        files,
    })))
}

impl Snapshot {
    /// What is on offer, and to whom.
    pub fn candidate<'a>(&'a self, run: &'a Run, initiative: Initiative) -> Candidate<'a> {
        Candidate {
            means: means(run, self.architecture, &self.options, &self.files),
            initiative,
            host_state: &self.host_state,
            source: self.source.as_ref(),
            target_release: &self.target_release,
            verifier: &self.verifier,
            product: self.product.as_deref(),
            is_only_asked: false,
        }
    }
}

/// What rules ask with.
fn means<'a>(
    run: &'a Run,
    architecture: Architecture,
    options: &'a Options,
    files: &'a Files,
) -> Means<'a> {
    Means {
        root: &run.root,
        config: &run.config,
        architecture,
        options,
        files,
        progress: run.progress.as_ref(),
        stop: &run.stop,
    }
}

/// What this host calls its own product.
fn product(run: &Run, host: &Host) -> Option<String> {
    let configured = run.config.policy.signature.product.as_deref();
    configured.or(host.os_id()).map(str::to_owned)
}
