// SPDX-License-Identifier: MIT OR Apache-2.0

//! Circles of imports. On each level of the tree, the children of a module are its files and
//! folders; `x.rs` and the folder `x` are one. No child may reach itself through another one. A
//! module and its own parents may use each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::resolve::{Graph, Reference, Target};
use crate::tree::SourceFile;

/// Imports between two children of one module: the first of each pair, as a sentence.
type Edges = BTreeMap<(String, String), String>;

/// Each circle with the imports that make it.
pub fn circles(graph: &Graph) -> Vec<String> {
    let mut levels: BTreeMap<String, Edges> = BTreeMap::new();
    for (index, file) in graph.files.iter().enumerate() {
        for reference in &graph.references[index] {
            let Some(to) = named(graph, reference).filter(|to| to.krate == file.krate) else {
                continue;
            };
            let shared = file.module.iter().zip(&to.module).take_while(|(a, b)| a == b).count();
            let (Some(a), Some(b)) = (file.module.get(shared), to.module.get(shared)) else {
                continue;
            };
            let level =
                [std::slice::from_ref(&file.krate), &file.module[..shared]].concat().join("::");
            let import = || format!("{}:{} uses {}", file.path, reference.line, to.path);
            let edges = levels.entry(level).or_default();
            edges.entry((a.clone(), b.clone())).or_insert_with(import);
        }
    }
    levels.iter().flat_map(|(level, edges)| in_level(level, edges)).collect()
}

/// The file that a reference names. A crate's root is looked through, other re-exports are not: a
/// module and its parents may use each other.
fn named<'a>(graph: &'a Graph, reference: &Reference) -> Option<&'a SourceFile> {
    let files = reference.targets.iter().filter_map(|target| match target {
        Target::File(index) => Some(&graph.files[*index]),
        Target::Outside(_) => None,
    });
    files.into_iter().find(|file| !file.module.is_empty())
}

fn in_level(level: &str, edges: &Edges) -> Vec<String> {
    let reach = reach(edges);
    let meets = |a: &String, b: &String| reach[a].contains(b) && reach[b].contains(a);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for name in reach.keys() {
        let circle: Vec<&String> = reach.keys().filter(|other| meets(name, other)).collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
        let imports: Vec<&str> = edges
            .iter()
            .filter(|((a, b), _)| circle.contains(&a) && circle.contains(&b))
            .map(|(_, import)| import.as_str())
            .collect();
        found.push(format!(
            "{} in {level} make a circle: {}.",
            names.join(", "),
            imports.join("; ")
        ));
    }
    found
}

/// For each child, what can be reached from it.
fn reach(edges: &Edges) -> BTreeMap<String, BTreeSet<String>> {
    let mut reach: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (a, b) in edges.keys() {
        reach.entry(a.clone()).or_default().insert(b.clone());
        reach.entry(b.clone()).or_default();
    }
    loop {
        let before: usize = reach.values().map(BTreeSet::len).sum();
        for name in reach.keys().cloned().collect::<Vec<_>>() {
            let further: Vec<String> =
                reach[&name].iter().flat_map(|next| reach[next].iter().cloned()).collect();
            reach.get_mut(&name).unwrap().extend(further);
        }
        if reach.values().map(BTreeSet::len).sum::<usize>() == before {
            return reach;
        }
    }
}
