// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the crates depend on, as `cargo tree` tells it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What a crate may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub package: &'static str,
    /// In no depth.
    pub never: &'static [&'static str],
    /// Directly, if it is limited.
    pub only: Option<&'static [&'static str]>,
}

/// Formats and judgements on bytes need neither network nor settings files.
const OUTER_WORLD: &[&str] = &["tokio", "reqwest", "rustls", "hyper", "zbus", "clap", "toml"];

/// One entry for each crate with limits.
pub const LIMITS: &[Limits] = &[
    Limits { package: "flipside-image", never: OUTER_WORLD, only: None },
    Limits {
        package: "flipside-core",
        never: OUTER_WORLD,
        only: Some(&[
            "crc32fast",
            "crossbeam-channel",
            "flipside-image",
            "jiff",
            "libc",
            "nix",
            "rustix",
            "serde",
            "serde_json",
            "strsim",
            "thiserror",
            "tracing",
            "twox-hash",
            "uuid",
            "zstd",
        ]),
    },
    Limits { package: "flipside-sim", never: &["flipside-core", "flipside-publish"], only: None },
];

/// The direct dependencies in a Cargo.toml, of every kind, without flipside's own crates. Features
/// count as well: what is not built by default needs its row too.
pub fn direct(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_list = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            is_list = section.ends_with("dependencies");
            // A table of its own for one of them.
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if is_list && let Some((name, _)) = line.split_once('=') {
            let name = name.trim().split('.').next().unwrap_or_default();
            names.extend((!name.starts_with('#')).then(|| name.to_owned()));
        }
    }
    names.retain(|name| !name.starts_with("flipside"));
    names
}

/// The direct dependencies of all packages here that docs/dependencies.md has no row for, one sentence
/// each.
pub fn without_row(root: &Path) -> Vec<String> {
    let document = std::fs::read_to_string(root.join("docs/dependencies.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeSet<String> = rows
        .flat_map(|row| row.split(" |").next().unwrap_or_default().split(", "))
        .map(|name| name.trim_matches('`').to_owned())
        .collect();
    let mut manifests = vec!["Cargo.toml".to_owned(), "fuzz/Cargo.toml".to_owned()];
    let folders = std::fs::read_dir(root.join("src")).unwrap();
    manifests.extend(folders.filter_map(|folder| {
        let path = folder.unwrap().path().join("Cargo.toml");
        path.is_file().then(|| path.strip_prefix(root).unwrap().display().to_string())
    }));
    manifests.sort();
    let missing = manifests.iter().flat_map(|path| {
        let names = direct(&std::fs::read_to_string(root.join(path)).unwrap());
        let missing = names.into_iter().filter(|name| !rows.contains(name));
        missing.map(move |name| {
            format!("{path} depends on {name}, which docs/dependencies.md has no row for.")
        })
    });
    missing.collect()
}

/// The names of the packages that a package depends on, itself left out.
pub fn tree(root: &Path, package: &str, arguments: &[&str]) -> Vec<String> {
    names(&output(root, package, &[&["-e", "normal"], arguments].concat()))
}

/// Whether the product is built with what tests alone need of core.
pub fn has_testing(features: &str) -> bool {
    features.lines().any(|line| line.starts_with("flipside-core feature \"testing\""))
}

/// What `cargo tree` says about a package.
pub fn output(root: &Path, package: &str, arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["tree", "--offline", "--prefix", "none", "-p", package])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree -p {package} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names in the output of `cargo tree --prefix none`, without the first one.
pub fn names(output: &str) -> Vec<String> {
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    output.lines().skip(1).filter(|line| !line.is_empty()).filter_map(name).collect()
}

/// What breaks the limits, one sentence each.
pub fn violations(limits: &Limits, all: &[String], direct: &[String]) -> Vec<String> {
    let package = limits.package;
    let forbidden = all.iter().filter(|name| limits.never.contains(&name.as_str()));
    let mut found: Vec<String> =
        forbidden.map(|name| format!("{package} must not depend on {name}.")).collect();
    if let Some(only) = limits.only {
        let others = direct.iter().filter(|name| !only.contains(&name.as_str()));
        found.extend(others.map(|name| {
            format!("{package} depends on {name} directly, which dependencies.rs does not list.")
        }));
    }
    found.sort();
    found.dedup();
    found
}
