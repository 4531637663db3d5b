// SPDX-License-Identifier: MIT OR Apache-2.0

//! Update graphs, as Cincinnati servers for Fedora CoreOS hand them out and Zincati walks them:
//! releases as nodes, permitted updates as edges. The server has worked barriers and rollouts
//! into the edges already. Pure.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Digest;
use crate::bounded;
use crate::printable;
use crate::version;

/// The most bytes of a graph; one of some hundred releases has 200 KiB.
pub const GRAPH_LIMIT: u64 = 4 << 20;

/// The most releases of a graph. Fedora CoreOS's have some hundred.
const NODES: usize = 10_000;
/// The most updates of a graph.
const EDGES: usize = 250_000;

/// What runs on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The digest of its manifest and that of the index which that stood in; none on a host that
    /// flipside did not install.
    pub digests: Vec<Digest>,
    /// Its version.
    pub version: String,
}

/// A graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Node {
    version: String,
    /// `None` where the payload is none that flipside can follow.
    digest: Option<Digest>,
    age: Option<u64>,
    /// Why it is a dead end, where it is one.
    dead_end: Option<String>,
}

#[derive(Deserialize)]
struct RawGraph {
    #[serde(deserialize_with = "bounded::list::<NODES, _, _>")]
    nodes: Vec<Node>,
    #[serde(default, deserialize_with = "bounded::list::<EDGES, _, _>")]
    edges: Vec<(u64, u64)>,
}

#[derive(Deserialize)]
struct RawNode<'a> {
    version: String,
    payload: String,
    #[serde(default, borrow)]
    metadata: Metadata<'a>,
}

/// The metadata that count. What is no text says nothing.
#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow, default, rename = "org.fedoraproject.coreos.scheme")]
    scheme: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "org.fedoraproject.coreos.releases.age_index")]
    age_index: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "org.fedoraproject.coreos.updates.deadend")]
    dead_end: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "org.fedoraproject.coreos.updates.deadend_reason")]
    dead_end_reason: Option<&'a RawValue>,
}

/// What a graph says to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It does not know what runs.
    Unknown,
    /// What runs is not left by itself: why.
    DeadEnd(String),
    /// What runs is the newest that this host may have.
    Stay,
    /// This comes next.
    Step {
        /// The manifest, or the index.
        digest: Digest,
        /// Its version.
        version: String,
    },
}

impl Graph {
    /// Reads a graph. Edges that lead nowhere are left out.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > GRAPH_LIMIT {
            return Err(format!("it has over {GRAPH_LIMIT} bytes"));
        }
        let raw: RawGraph = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let nodes = raw.nodes;
        let place = |number: u64| usize::try_from(number).ok().filter(|at| *at < nodes.len());
        let edges = raw.edges.into_iter().filter_map(|(from, to)| Some((place(from)?, place(to)?)));
        let edges = edges.collect();
        Ok(Self { nodes, edges })
    }

    /// What comes after what runs, which is known by its digest first and by its version second:
    /// of what its edges lead to, that with the highest age index. Nothing older than what runs, so
    /// that a graph with a circle leads nobody around.
    pub fn next(&self, running: &Running) -> Next {
        let Some((here, node)) = self.here(running) else { return Next::Unknown };
        if let Some(reason) = &node.dead_end {
            return Next::DeadEnd(reason.clone());
        }
        let reached = self.edges.iter().filter(|(from, _)| *from == here);
        let newer = reached.filter_map(|(_, to)| self.nodes.get(*to)).filter(|to| {
            to.digest.is_some_and(|digest| !running.digests.contains(&digest))
                && match (node.age, to.age) {
                    (Some(age), Some(to)) => to > age,
                    _ => version::compare(&to.version, &node.version).is_gt(),
                }
        });
        let order = |a: &&Node, b: &&Node| {
            a.age.cmp(&b.age).then_with(|| version::compare(&a.version, &b.version))
        };
        match newer.max_by(order).and_then(|to| Some((to.digest?, to))) {
            Some((digest, to)) => Next::Step { digest, version: to.version.clone() },
            None => Next::Stay,
        }
    }

    fn here(&self, running: &Running) -> Option<(usize, &Node)> {
        let nodes = || self.nodes.iter().enumerate();
        let is_digest = |node: &Node| node.digest.is_some_and(|d| running.digests.contains(&d));
        nodes().find(|(_, node)| is_digest(node)).or_else(|| {
            nodes().find(|(_, node)| version::compare(&node.version, &running.version).is_eq())
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawNode::deserialize(deserializer).map(Self::from)
    }
}

impl From<RawNode<'_>> for Node {
    fn from(raw: RawNode<'_>) -> Self {
        let text = |value: Option<&RawValue>| {
            value.and_then(|value| serde_json::from_str::<String>(value.get()).ok())
        };
        let digest = match text(raw.metadata.scheme).as_deref() {
            // A reference with a digest. The repository is the host's own matter: it may be a mirror's.
            Some("oci") => raw.payload.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok()),
            Some("checksum") => {
                let hex = raw.payload.strip_prefix("sha256:").unwrap_or(&raw.payload);
                format!("sha256:{hex}").parse().ok()
            }
            _ => None,
        };
        let reason = || {
            let given = text(raw.metadata.dead_end_reason);
            printable::line(given.as_deref().unwrap_or("no reason is given"), 300)
        };
        Self {
            digest,
            age: text(raw.metadata.age_index).and_then(|age| age.parse().ok()),
            dead_end: (text(raw.metadata.dead_end).as_deref() == Some("true")).then(reason),
            version: printable::line(&raw.version, 128),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    macro_rules! fixture {
        ($name:literal) => {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/cincinnati/", $name)
        };
    }
    const OCI: &str = include_str!(fixture!("oci.json"));
    const CHECKSUM: &str = include_str!(fixture!("checksum.json"));
    const FIRST: &str = "7c23c4735fb3c541586f0a4d3ca956ef93ef7d76f00a19bccf51460bafa7ee97";

    fn running(version: &str, digest: Option<&str>) -> Running {
        // Of one digit, or whole.
        let digests =
            digest.map(|hex| format!("sha256:{}", hex.repeat(64 / hex.len())).parse().unwrap());
        Running { digests: digests.into_iter().collect(), version: version.to_owned() }
    }

    fn said(graph: &Graph, running: &Running) -> String {
        match graph.next(running) {
            Next::Step { version, .. } => version,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn graphs_of_both_schemes_are_walked_along_their_edges() {
        for (text, version, digest, expected) in [
            // A barrier: the edges lead to it, and only from there on.
            (OCI, "41.20250105.3.0", Some("a"), "41.20250215.3.0"),
            (OCI, "41.20250215.3.0", Some("b"), "42.20250410.3.1"),
            (OCI, "42.20250410.3.1", Some("d"), "Stay"),
            // By its digest it is the barrier, whatever it calls itself.
            (OCI, "41.20250105.3.0", Some("b"), "42.20250410.3.1"),
            (OCI, "41.20250105.3.0", Some("9"), "41.20250215.3.0"),
            (OCI, "41.20250105.3.0", None, "41.20250215.3.0"),
            (OCI, "40.20240101.3.0", Some("9"), "Unknown"),
            (OCI, "41.20250301.3.0", Some("c"), "DeadEnd(\"the root file system cannot grow\")"),
            (CHECKSUM, "32.20200517.1.0", Some(FIRST), "32.20200601.1.1"),
            (CHECKSUM, "?", Some(FIRST), "32.20200601.1.1"),
            (CHECKSUM, "32.20200601.1.1", None, "Stay"),
        ] {
            let graph = Graph::parse(text.as_bytes()).unwrap();
            assert_eq!(said(&graph, &running(version, digest)), expected, "{version} {digest:?}");
        }
    }

    fn node(version: &str, digit: &str, age: Value) -> Value {
        let payload = format!("r.example/os@sha256:{}", digit.repeat(64));
        let metadata = json!({"org.fedoraproject.coreos.scheme": "oci",
            "org.fedoraproject.coreos.releases.age_index": age});
        json!({"version": version, "payload": payload, "metadata": metadata})
    }

    #[test]
    fn strange_edges_do_no_harm() {
        let nodes =
            [node("1", "1", json!("0")), node("2", "2", json!("1")), node("3", "3", json!("2"))];
        for (edges, expected) in [
            (json!([[0, 1], [0, 2]]), "3"),
            (json!([[0, 0]]), "Stay"),
            (json!([[0, 7], [9, 1], [18446744073709551615_u64, 1]]), "Stay"),
            (json!([[0, 1], [1, 0], [1, 2], [2, 0]]), "2"),
        ] {
            let text = json!({"nodes": nodes, "edges": edges}).to_string();
            let graph = Graph::parse(text.as_bytes()).unwrap();
            assert_eq!(said(&graph, &running("1", Some("1"))), expected, "{edges}");
        }
        let circle = json!({"nodes": nodes, "edges": [[2, 0], [2, 1]]}).to_string();
        let graph = Graph::parse(circle.as_bytes()).unwrap();
        assert_eq!(said(&graph, &running("3", Some("3"))), "Stay", "nobody goes back");
    }

    #[test]
    fn what_is_no_graph_is_refused_and_what_cannot_be_followed_is_left_out() {
        for text in ["", "[]", "{}", r#"{"nodes":[],"edges":[[0,-1]]}"#, r#"{"nodes":[{}]}"#] {
            assert!(Graph::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Graph::parse(&vec![b' '; GRAPH_LIMIT as usize + 1]).is_err());
        let mut strange = node("2", "2", json!(7));
        strange["metadata"]["org.fedoraproject.coreos.scheme"] = json!("ostree");
        let nodes = [node("1", "1", json!("0")), strange];
        let text = json!({"nodes": nodes, "edges": [[0, 1]]}).to_string();
        let graph = Graph::parse(text.as_bytes()).unwrap();
        assert_eq!(said(&graph, &running("1", Some("1"))), "Stay");
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = OCI.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(graph) = Graph::parse(&bytes) {
                let _ = graph.next(&running("41.20250105.3.0", Some("a")));
            }
        }
    }
}
