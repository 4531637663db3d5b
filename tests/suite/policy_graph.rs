// SPDX-License-Identifier: MIT OR Apache-2.0

//! `track.graph`: a Cincinnati server says what comes next.

use flipside_image::Digest;
use serde_json::{Value, json};

use crate::support::graph_server::{Answer, GraphServer};
use crate::support::images::ImageBuilder;
use crate::support::policy_host::{PolicyHost, document, release};

/// The host has 1, the tag has 3, and 2 is there under a tag of its own.
fn stage() -> (PolicyHost, GraphServer, [Digest; 3]) {
    let host = PolicyHost::new();
    let two = host.publish_aside("2");
    let three = host.publish("3");
    let server = GraphServer::start();
    host.host().set(&format!("track.graph = {:?}\npolicy.wariness = 0.25\n", server.url()));
    let one = host.one;
    (host, server, [one, two, three])
}

fn node(version: &str, digest: &Digest, age: usize) -> Value {
    json!({
        "version": version,
        // Another registry's name for it: the host may know it by a mirror.
        "payload": format!("quay.example/acme/os@{digest}"),
        "metadata": {
            "org.fedoraproject.coreos.scheme": "oci",
            "org.fedoraproject.coreos.releases.age_index": age.to_string(),
        },
    })
}

fn graph(digests: &[Digest; 3], edges: Value) -> Value {
    let nodes: Vec<Value> =
        digests.iter().zip(["1", "2", "3"]).enumerate().map(|(n, (d, v))| node(v, d, n)).collect();
    json!({"nodes": nodes, "edges": edges})
}

fn answer(graph: &Value) -> Answer {
    Answer::Body(200, graph.to_string())
}

#[test]
fn the_way_goes_along_the_edges_of_the_graph() {
    let (host, server, digests) = stage();
    server.says(answer(&graph(&digests, json!([[0, 1], [1, 2]]))));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("/fleet/v1/graph?basearch=x86_64&stream=stable&group="), "{asked}");
    for part in ["&oci=true", "&os_version=1", "&rollout_wariness=0.250000"] {
        assert!(asked.contains(part), "{asked}");
    }
    let checksum = format!("%2Fos%40{}", host.one.to_string().replace(':', "%3A"));
    assert!(asked.contains(&checksum), "{asked}");
    assert!(host.at.says(&["update"]).starts_with("nothing new: 2"));
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");
    assert!(host.at.says(&["update"]).starts_with("3 is installed in slot A"));
    assert_eq!(host.host().boot(), "booted slot A: 3 (promoted)");
    assert_eq!(host.at.says(&["update"]), "up to date: 3");
    assert_eq!(host.explains("policy-document").1, "allow");
}

#[test]
fn the_way_goes_on_from_a_manifest_that_was_adopted() {
    let (host, server, [one, two, _]) = stage();
    let mut again = ImageBuilder::new("1");
    again.version = "1.1".to_owned();
    let again = host.at.publish_as("again", &again).digest;
    server.says(answer(&graph(&[one, again, two], json!([[0, 1], [1, 2]]))));
    // In one run: what runs is adopted, and then something else comes.
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    let asked = server.asked();
    let checksum = format!("%2Fos%40{}", again.to_string().replace(':', "%3A"));
    let is_from_there =
        |asked: &String| asked.contains("&os_version=1.1&") && asked.contains(&checksum);
    assert!(asked.last().is_some_and(is_from_there), "{asked:?}");
    // A graph that leads in a circle leads nowhere.
    server.says(answer(&graph(&[one, again, two], json!([[0, 1], [1, 0]]))));
    assert!(host.at.says(&["update"]).ends_with("2 in slot B does not boot any more"));
    assert_eq!(host.at.says(&["update"]), "up to date: 1.1");
}

#[test]
fn without_an_edge_a_host_stays_whatever_the_tag_names() {
    let (host, server, digests) = stage();
    server.says(answer(&graph(&digests, json!([[1, 2]]))));
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    // A rollout that reaches this host is an edge.
    server.says(answer(&graph(&digests, json!([[0, 2], [0, 99], [2, 0]]))));
    assert!(host.at.says(&["update"]).starts_with("3 is installed"));
}

#[test]
fn a_host_that_flipside_did_not_install_stays_as_well() {
    let (host, server, digests) = stage();
    // What was recorded is lost, and recorded again by what the system says of itself.
    std::fs::remove_file(host.host().file("efi/EFI/flipside/slot-a.json")).unwrap();
    assert_eq!(host.host().boot(), "booted slot A: 1 (promoted)");
    server.says(answer(&graph(&digests, json!([[1, 2]]))));
    let before = host.host().snapshot();
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    host.put(&document(1, &[release("3", &digests[2], json!({}))]));
    assert_eq!(host.at.says(&["check"]), "up to date");
    host.host().assert_unchanged_since(&before, "stay");
    let mut other = graph(&digests, json!([[0, 1]]));
    other["nodes"][0]["version"] = json!("0.9");
    server.says(answer(&other));
    host.refuses(75, "graph-node-unknown");
    host.put(&document(0, &[release("2", &digests[1], json!({}))]));
    server.says(answer(&graph(&digests, json!([[0, 1]]))));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
}

#[test]
fn what_is_armed_stays_armed_where_the_graph_says_nothing_and_not_where_its_edge_is_gone() {
    let (host, server, digests) = stage();
    let edge = graph(&digests, json!([[0, 1]]));
    server.says(answer(&edge));
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    let mut unknown = edge.clone();
    unknown["nodes"][0] = node("0.9", &Digest::of(b"other"), 0);
    let mut dead = edge.clone();
    dead["nodes"][0]["metadata"]["org.fedoraproject.coreos.updates.deadend"] = json!("true");
    for (said, status, code) in [(unknown, 75, "graph-node-unknown"), (dead, 1, "dead-end")] {
        server.says(answer(&said));
        host.host().refuses(status, code);
        assert_eq!(host.at.status()["state"], "armed");
    }
    server.says(answer(&graph(&digests, json!([]))));
    assert!(host.at.says(&["update"]).ends_with("2 in slot B does not boot any more"));
    assert_eq!(host.host().boot(), "booted slot A: 1 (promoted)");
}

#[test]
fn a_dead_end_shows_in_status_and_login_message() {
    let (host, server, digests) = stage();
    let mut dead = graph(&digests, json!([]));
    dead["nodes"][0]["metadata"]["org.fedoraproject.coreos.updates.deadend"] = json!("true");
    dead["nodes"][0]["metadata"]["org.fedoraproject.coreos.updates.deadend_reason"] =
        json!("see \u{1b}[1mthe notes");
    server.says(answer(&dead));
    let sentence = host.host().refuses(1, "dead-end");
    assert_eq!(sentence, "1 is a dead end: see [1mthe notes");
    assert_eq!(host.at.status()["blocked"]["code"], "dead-end");
    let message = std::fs::read_to_string(host.host().file("run/motd.d/flipside")).unwrap();
    assert!(message.contains("takes no more updates by itself: 1 is a dead end"), "{message}");
    assert_eq!(host.explains("dead-end").1, "dead-end");
}

#[test]
fn a_graph_that_does_not_know_what_runs_says_nothing() {
    let (host, server, digests) = stage();
    let mut other = graph(&digests, json!([[0, 1]]));
    other["nodes"][0] = node("0.9", &Digest::of(b"other"), 0);
    server.says(answer(&other));
    host.host().refuses(75, "graph-node-unknown");
    assert_eq!(host.explains("policy-document").1, "graph-node-unknown");
    // By its version it is known also where it was built again.
    other["nodes"][0] = node("1", &Digest::of(b"other"), 0);
    server.says(answer(&other));
    assert!(host.at.says(&["update"]).starts_with("2 is installed"));
}

#[test]
fn what_a_server_says_wrong_leaves_the_host_as_it_was() {
    let (host, server, _) = stage();
    let refusal = json!({"kind": "invalid_params", "value": "unknown stream \u{1b}[2J"});
    for (answer, code, part) in [
        (
            Answer::Body(400, refusal.to_string()),
            "graph-refused",
            "(invalid_params: unknown stream [2J)",
        ),
        (Answer::Body(404, "<html>".to_owned()), "graph-refused", "404"),
        (Answer::Body(200, "<html>".to_owned()), "graph-malformed", "is no update graph"),
        (
            Answer::Body(200, r#"{"nodes":[],"edges":[[0,-1]]}"#.to_owned()),
            "graph-malformed",
            "is no update graph",
        ),
        (Answer::Endless, "image-over-limit", "update graph"),
    ] {
        server.says(answer);
        let sentence = host.host().refuses(1, code);
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_graph_server_that_is_down_puts_the_update_off() {
    let (host, server, _) = stage();
    for status in [500, 503, 522] {
        server.says(Answer::Body(status, "down".to_owned()));
        let sentence = host.host().refuses(75, "graph-unreachable");
        assert!(sentence.contains(&status.to_string()), "{sentence}");
    }
    host.host().set("track.graph = \"http://127.0.0.1:9\"\n");
    let sentence = host.host().refuses(75, "graph-unreachable");
    assert!(sentence.starts_with("cannot ask the update graph server 127.0.0.1:9: "), "{sentence}");
    let check = host.host().program(["check"]);
    assert_eq!(check.status.code(), Some(75), "{check:?}");
    // For the timer it is no failure.
    host.at.waits("graph-unreachable");
    host.host().set("track.graph = \"http://127.0.0.1:9\"\nupdate.automatic = \"check\"\n");
    host.at.waits("graph-unreachable");
}

#[test]
fn a_document_beside_the_tag_has_its_word_on_what_a_graph_names() {
    let (host, server, digests) = stage();
    server.says(answer(&graph(&digests, json!([[0, 1]]))));
    let because = json!({"withdrawn": {"reason": "eats data"}});
    host.put(&document(1, &[release("2", &digests[1], because)]));
    host.refuses(1, "release-withdrawn");
}

#[test]
fn without_a_document_a_graph_leads_to_nothing_older_than_what_runs() {
    let (host, server, digests) = stage();
    host.host().set(&format!("track.graph = {:?}\nupdate.allow_downgrade = true\n", server.url()));
    let old = host.publish_aside("0.9");
    let mut down = graph(&[digests[0], old, digests[2]], json!([[0, 1]]));
    down["nodes"][1]["version"] = json!("9");
    server.says(answer(&down));
    let sentence = host.refuses(1, "version-too-old");
    assert!(sentence.starts_with("0.9 would be a downgrade from 1"), "{sentence}");
    // A document's word on it: it is the target, and this host may go down.
    host.put(&document(2, &[release("1", &digests[0], json!({}))]));
    host.refuses(75, "release-not-listed");
    host.put(&document(1, &[release("0.9", &old, json!({}))]));
    assert!(host.at.says(&["update"]).starts_with("0.9 is installed"));
}

#[test]
fn what_a_graph_lets_stay_is_known_to_the_document_by_its_index() {
    let host = PolicyHost::new();
    let image = host.at.publish(&ImageBuilder::new("2"));
    let size = std::fs::metadata(image.blob(&image.digest)).unwrap().len();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest,
            "size": size,
            "platform": {"architecture": "amd64", "os": "linux"},
        }],
    });
    let index = host.repository().manifest(Some("stable"), &index).digest;
    assert!(host.at.says(&["update"]).starts_with("2 is installed in slot B"));
    assert_eq!(host.host().boot(), "booted slot B: 2 (promoted)");
    let server = GraphServer::start();
    server.says(answer(&json!({"nodes": [node("2", &index, 0)], "edges": []})));
    host.host().set(&format!("track.graph = {:?}\n", server.url()));
    host.put(&document(1, &[release("2", &index, json!({}))]));
    assert_eq!(host.at.says(&["update"]), "up to date: 2");
}
