// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the crates depend on, as `cargo tree` tells it.

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
            "thiserror",
            "tracing",
            "uuid",
            "zstd",
        ]),
    },
    Limits { package: "flipside-sim", never: &["flipside-core", "flipside-publish"], only: None },
];

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
