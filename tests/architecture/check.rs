// SPDX-License-Identifier: MIT OR Apache-2.0

//! Holds a tree against the table of rules.

use std::collections::BTreeSet;
use std::path::Path;

use crate::resolve::{Graph, Reference, Target};
use crate::rules::{ALL, HARMLESS, LEAF, Row, names, row_of};
use crate::tree;

/// What breaks the table, one sentence each.
pub fn violations(graph: &Graph, rows: &[Row]) -> Vec<String> {
    let (mut found, mut homeless) = (Vec::new(), BTreeSet::new());
    for (index, file) in graph.files.iter().enumerate() {
        let Some(row) = row_of(rows, file.place()) else {
            let top = file.place().split('/').next().unwrap_or_default();
            if homeless.insert(top.to_owned()) {
                found.push(format!(
                    "{}:1 belongs to none of the rows in tests/architecture/rules.rs.",
                    file.path
                ));
            }
            continue;
        };
        let mut reported = BTreeSet::new();
        for reference in &graph.references[index] {
            // One sentence for each import: not one more wherever its name is used.
            let wrong = not_allowed(graph, index, row, reference);
            found.extend(wrong.filter(|(to, _)| reported.insert(*to)).map(|(_, why)| why));
            found.extend(forbidden_path(graph, index, rows, reference));
        }
        for (line, name) in &graph.macros[index] {
            let name = format!("{name}!");
            if let Some(row) = forbids(rows, file.place(), |never| never == name) {
                found.push(format!(
                    "{}:{line} uses {name}, which the row `{}` forbids.",
                    file.path, row.place
                ));
            }
        }
    }
    for (index, line) in &graph.path_attributes {
        let path = &graph.files[*index].path;
        found.push(format!("{path}:{line} uses #[path], which this test cannot follow."));
    }
    found.dedup();
    found
}

/// The row that forbids something to a place.
fn forbids<'a>(rows: &'a [Row], place: &str, is_it: impl Fn(&str) -> bool) -> Option<&'a Row> {
    rows.iter().find(|row| names(row.place, place) && row.never.iter().any(|never| is_it(never)))
}

fn not_allowed(
    graph: &Graph,
    from: usize,
    row: &Row,
    reference: &Reference,
) -> Option<(usize, String)> {
    let file = &graph.files[from];
    let wrong = reference.targets.iter().find_map(|target| {
        let Target::File(index) = target else { return None };
        let to = &graph.files[*index];
        // Every file of a crate may name its root: what the root re-exports is a target as well.
        let is_own_root = to.module.is_empty() && to.krate == file.krate;
        let is_allowed = row.may.iter().chain([&row.place]).any(|may| names(may, to.place()));
        (!is_own_root && !is_allowed).then_some(*index)
    })?;
    let allowed = match row.may {
        [] => "nothing else of flipside".to_owned(),
        may => format!("only {}", may.join(", ")),
    };
    let to = &graph.files[wrong].path;
    let why = format!(
        "{}:{} uses {} from {}, but the row `{}` allows {allowed}.",
        file.path, reference.line, reference.text, to, row.place
    );
    Some((wrong, why))
}

fn forbidden_path(
    graph: &Graph,
    from: usize,
    rows: &[Row],
    reference: &Reference,
) -> Option<String> {
    let file = &graph.files[from];
    let (what, row) = reference.targets.iter().find_map(|target| {
        let parts = match target {
            Target::Outside(parts) => parts,
            Target::File(index) => {
                let to = &graph.files[*index];
                let row = forbids(rows, file.place(), |never| names(never, to.place()))?;
                return Some((format!("{} from {}", reference.text, to.path), row));
            }
        };
        let path = parts.join("::");
        let is_harmless = HARMLESS.iter().any(|harmless| is_inside(&path, harmless));
        let row = forbids(rows, file.place(), |never| {
            is_inside(&path, never) && !is_harmless || reference.is_glob && is_inside(never, &path)
        })?;
        let glob = if reference.is_glob { "::*" } else { "" };
        Some((format!("{path}{glob}"), row))
    })?;
    Some(format!(
        "{}:{} uses {what}, which the row `{}` forbids.",
        file.path, reference.line, row.place
    ))
}

fn is_inside(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Folders without a row of their own, and rows without a folder.
pub fn folders_and_rows(root: &Path, rows: &[Row]) -> Vec<String> {
    let mut folders = tree::folders(root, "src");
    let core = tree::folders(root, "src/core").into_iter().map(|name| format!("core/{name}"));
    folders.extend(core);

    let mut found = Vec::new();
    for folder in &folders {
        if !rows.iter().any(|row| row.place == folder) {
            found.push(format!("src/{folder} has no row in tests/architecture/rules.rs."));
        }
    }
    let is_file = |place: &str| root.join("src").join(format!("{place}.rs")).is_file();
    for row in rows {
        let place = row.place;
        let is_there = folders.iter().any(|folder| folder == place) || is_file(place);
        if place != LEAF && !is_there {
            found.push(format!(
                "tests/architecture/rules.rs has a row `{place}`, but src has no such folder."
            ));
        }
        for never in row.never.iter().filter(|never| never.contains('/')) {
            if !is_file(never) && !root.join("src").join(never).is_dir() {
                found.push(format!("The row `{place}` names `{never}`, which src does not have."));
            }
        }
        for may in row.may {
            if *may != ALL && !rows.iter().any(|row| row.place == *may) {
                found.push(format!("The row `{place}` names `{may}`, which has no row."));
            }
        }
    }
    found
}
