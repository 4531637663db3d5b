// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a host is to get to: what the tag names, or what an update graph says comes next.

use super::policy_document::{place, running};
use super::{Error, Means, Rule, Ruling, Verdict};
use crate::image::Digest;
use crate::image::graph::Next;
use crate::image::rollout::{Place, Wariness};
use crate::source::{Location, Source, SourceError, fetch_graph};
use crate::update::course::{Course, decide, stay, waits_for_trial};
use crate::update::situation::Situation;

/// The goal, and what the graph said that it comes from.
pub struct Goal {
    /// The image, or an index that lists it. Where the host is to stay, what runs, or where that has
    /// no digest, what the tag names.
    pub digest: Digest,
    /// The graph's word; empty where the tag decides.
    pub rulings: Vec<Ruling>,
    aim: Aim,
}

/// What to do about the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// The host goes there.
    Reach,
    /// It stays with what runs, whatever digest that has, and nothing else is to boot next.
    Stay,
    /// The graph refuses to say: nothing changes, nor what boots next.
    Wait,
}

/// Asks the tag or, where `track.graph` is set, the graph.
///
/// # Errors
/// The source's, and the graph server's.
pub fn find(means: &Means<'_>, source: &dyn Source, situation: &Situation) -> Result<Goal, Error> {
    let Some(base) = means.config.track.graph.as_deref() else {
        return Ok(Goal { digest: source.resolve()?, rulings: Vec::new(), aim: Aim::Reach });
    };
    let running = running(situation);
    let parameters = parameters(means, source, situation)?;
    let graph = fetch_graph(base, &parameters, means.options)?;
    let here = running.digests.last().copied();
    let version = &running.version;
    let ruling = |rule, saw: String, decision| Ruling { rule, saw, decision };
    let (aim, digest, ruling) = match graph.next(&running) {
        Next::Step { digest, version } => {
            let saw = format!("{version} comes next in the update graph");
            (Aim::Reach, Some(digest), ruling(Rule::PolicyDocument, saw, Verdict::Allow))
        }
        Next::Stay => {
            let saw = format!("nothing comes after {version} in the update graph");
            (Aim::Stay, here, ruling(Rule::PolicyDocument, saw, Verdict::Allow))
        }
        Next::Unknown => {
            let saw = format!("{version} is not in the update graph");
            let decision = Verdict::defer("graph-node-unknown", saw.clone());
            (Aim::Wait, here, ruling(Rule::PolicyDocument, saw, decision))
        }
        Next::DeadEnd(reason) => {
            let saw = format!("{version} is a dead end of the update graph");
            let why = format!("{version} is a dead end: {reason}");
            (Aim::Wait, here, ruling(Rule::DeadEnd, saw, Verdict::block("dead-end", why)))
        }
    };
    // A host that flipside did not install has no digest to stay with.
    let digest = digest.map_or_else(|| source.resolve(), Ok)?;
    Ok(Goal { digest, rulings: vec![ruling], aim })
}

impl Goal {
    /// What to do about `digest`: the goal, or a step to it.
    pub fn course(&self, situation: &Situation, digest: &Digest) -> Course {
        match self.aim {
            Aim::Reach => decide(situation, digest),
            Aim::Stay => stay(situation),
            Aim::Wait => Course::UpToDate,
        }
    }

    /// Whether `digest`, the goal or a step to it, waits for the trial of what kexec started.
    pub fn waits_for_firmware(&self, situation: &Situation, digest: &Digest) -> bool {
        self.is_to_be_reached() && situation.awaits_firmware() && waits_for_trial(situation, digest)
    }

    /// Whether the host is to go there, and not to stay where it is.
    pub fn is_to_be_reached(&self) -> bool {
        self.aim == Aim::Reach
    }

    /// Whether the tag names something else by now. What a graph named is named by its digest.
    ///
    /// # Errors
    /// The source's.
    pub fn has_moved(&self, source: &dyn Source) -> Result<bool, SourceError> {
        Ok(self.rulings.is_empty() && source.resolve()? != self.digest)
    }
}

/// What Zincati tells a server of its host, as far as it is nobody's secret.
fn parameters(
    means: &Means<'_>,
    source: &dyn Source,
    situation: &Situation,
) -> Result<Vec<(&'static str, String)>, Error> {
    let running = running(situation);
    let stream = match means.config.track.image.as_deref().unwrap_or_default().parse()? {
        Location::Registry(reference) => reference.tag().to_owned(),
        Location::Layout { tag, .. } | Location::Archive { tag, .. } => tag.unwrap_or_default(),
    };
    // One place in all rollouts of a stream: the server is to recognise nobody by it.
    let wariness = match place(means) {
        Place::Hashed(id) => Wariness::hashed(id, &format!("stream {stream}")),
        place => place.wariness(&stream),
    };
    let checksum = running.digests.last().map(|digest| format!("{}@{digest}", source.repository()));
    Ok(vec![
        ("basearch", means.architecture.to_string()),
        ("stream", stream),
        ("group", "default".to_owned()),
        ("platform", "metal".to_owned()),
        ("os_version", running.version),
        ("os_checksum", checksum.unwrap_or_default()),
        ("oci", "true".to_owned()),
        ("rollout_wariness", format!("{:.6}", wariness.share())),
    ])
}
