// SPDX-License-Identifier: MIT OR Apache-2.0

//! Update graphs, and what follows from them for a host that runs version 1.

#![no_main]

use flipside_image::graph::Graph;
use flipside_image::graph::Running;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = Graph::parse(bytes) else { return };
    let _ = graph.next(&Running { digests: Vec::new(), version: "1".to_owned() });
});
