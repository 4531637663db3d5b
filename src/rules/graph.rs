// SPDX-License-Identifier: MIT OR Apache-2.0

//! Asks for the target release: the tag, or an update graph in its place. A graph's word stands
//! under [`Rule::PolicyDocument`] and [`Rule::DeadEnd`].

use super::policy_document::rollout::place;
use super::running::running;
use super::target_release::{Aim, TargetRelease};
use super::{Error, Means, Rule, RuleResult, Verdict};
use crate::codes;
use flipside_core::state::host_state::HostState;
use flipside_image::graph::Next;
use flipside_image::rollout::{Place, Wariness};
use flipside_source::{Location, Source, fetch_graph};

/// Asks the tag or, where `track.graph` is set, the graph.
///
/// # Errors
/// The source's, and the graph server's.
pub fn find(
    means: &Means<'_>,
    source: &dyn Source,
    host_state: &HostState,
) -> Result<TargetRelease, Error> {
    let Some(base) = means.config.track.graph.as_deref() else {
        let tagged = source.tagged()?;
        return Ok(TargetRelease {
            digest: tagged.digest,
            mirror: tagged.mirror,
            results: Vec::new(),
            aim: Aim::Reach,
        });
    };
    let running = running(host_state);
    let parameters = parameters(means, source, host_state)?;
    let graph = fetch_graph(base, &parameters, means.options)?;
    let here = running.digests.last().copied();
    let version = &running.version;
    let (aim, digest, result) = match graph.next(&running) {
        Next::Step { digest, version } => {
            let observed = format!("{version} comes next in the update graph");
            (
                Aim::Reach,
                Some(digest),
                RuleResult::new(Rule::PolicyDocument, observed, Verdict::Allow),
            )
        }
        Next::Stay => {
            let observed = format!("nothing comes after {version} in the update graph");
            (Aim::Stay, here, RuleResult::new(Rule::PolicyDocument, observed, Verdict::Allow))
        }
        Next::Unknown => {
            let observed = format!("{version} is not in the update graph");
            let verdict = Verdict::defer(codes::GRAPH_NODE_UNKNOWN, observed.clone());
            (Aim::Wait, here, RuleResult::new(Rule::PolicyDocument, observed, verdict))
        }
        Next::DeadEnd(reason) => {
            let observed = format!("{version} is a dead end of the update graph");
            let why = format!("{version} is a dead end: {reason}");
            (
                Aim::Wait,
                here,
                RuleResult::new(Rule::DeadEnd, observed, Verdict::block(codes::DEAD_END, why)),
            )
        }
    };
    // A host that flipside did not install has no digest to stay with.
    let digest = digest.map_or_else(|| source.resolve(), Ok)?;
    Ok(TargetRelease { digest, results: vec![result], mirror: None, aim })
}

/// What Zincati tells a server of its host, as far as it is nobody's secret.
fn parameters(
    means: &Means<'_>,
    source: &dyn Source,
    host_state: &HostState,
) -> Result<Vec<(&'static str, String)>, Error> {
    let running = running(host_state);
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
