// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each rule turns red for an import that breaks it.

use crate::dependencies::{self, LIMITS};
use crate::example_tree::ExampleTree;
use crate::rules::ROWS;
use crate::{check, document};

#[test]
fn a_tree_that_keeps_the_rules_is_green() {
    let tree = ExampleTree::new();
    let none: [&str; 0] = [];
    assert_eq!(tree.violations(), none);
    assert_eq!(tree.circles(), none);
    assert_eq!(check::folders_and_rows(&tree.root, ROWS), none);
}

/// The file, what is put at its end, what the sentence must say.
const BREAKS: &[(&str, &str, &str)] = &[
    // A crate that may not be used.
    ("sim/lib.rs", "use flipside_core::host;", "flipside_core::host from src/core/host/mod.rs"),
    ("sim/lib.rs", "use ::flipside_core::host;", "flipside_core::host from"),
    ("image/manifest.rs", "fn f() { flipside_core::settings::new() }", "the row `image` allows"),
    ("source/lib.rs", "use flipside_publish::{Image};", "the row `source`"),
    ("run/mod.rs", "use flipside_publish as builder;", "the row `run`"),
    ("run/mod.rs", "extern crate a; fn f(_: &dyn flipside_sim::Boot) {}", "the row `run`"),
    // A part of one that may be used.
    (
        "sim/lib.rs",
        "use flipside_image::efi::LoadOption;",
        "uses flipside_image::efi::LoadOption from src/image/efi/mod.rs, which the row `sim` forbids.",
    ),
    (
        "sim/lib.rs",
        "fn f() { flipside_image::efi::text::decode() }",
        "src/image/efi/text.rs, which",
    ),
    ("sim/lib.rs", "fn f() { efi::text::decode() }", "from src/image/efi/text.rs, which the row"),
    ("sim/lib.rs", "use flipside_image::fat as f;", "from src/image/fat.rs, which the row `sim`"),
    ("sim/lib.rs", "use flipside_image::gpt::*;", "uses flipside_image::gpt::* from src/image/gpt"),
    ("sim/lib.rs", "use efivar::boot::BootEntry;", "uses efivar::boot::BootEntry, which the row"),
    ("sim/lib.rs", "fn f() { ::gpt::GptConfig::new() }", "uses gpt::GptConfig::new, which the row"),
    // A folder.
    (
        "config/mod.rs",
        "use crate::report::Status;",
        "the row `config` allows only image, core, source, codes.",
    ),
    ("config/mod.rs", "pub use crate::{rules::{self, hold::Hold}};", "src/rules/hold.rs"),
    ("config/mod.rs", "use crate::{\n    run,\n};", "src/config/mod.rs:3 uses crate::run"),
    ("rules/hold.rs", "use super::super::report::Status;", "src/rules/hold.rs:2 uses"),
    ("rules/hold.rs", "use super::super::{reboot};", "src/reboot/mod.rs"),
    ("rules/hold.rs", "use crate::report as Box;", "src/report/mod.rs"),
    ("rules/hold.rs", "use crate::health::*;", "crate::health::* from src/health/mod.rs"),
    ("rules/hold.rs", "fn f() { crate::cli::main() }", "crate::cli::main from src/cli/mod.rs"),
    ("rules/hold.rs", "fn f() { use crate::run::run; }", "src/run/mod.rs"),
    ("rules/hold.rs", "mod a { fn f() { super::super::super::run::run() } }", "src/run/mod.rs"),
    ("rules/hold.rs", "fn f() { vec![<crate::run::A as B>::c()] }", "src/run/mod.rs"),
    ("rules/hold.rs", "macro_rules! m { () => { $crate::run::run() } }", "src/run/mod.rs"),
    ("rules/hold.rs", "#[cfg(not(test))] use crate::run::run;", "src/run/mod.rs"),
    ("rules/hold.rs", "#[cfg(feature = \"dbus\")] use crate::run::run;", "src/run/mod.rs"),
    ("hooks/mod.rs", "use crate::rules::Verdict;", "the row `hooks`"),
    ("health/mod.rs", "use crate::run;", "the row `health`"),
    ("report/mod.rs", "use crate::config::Config;", "the row `report`"),
    ("system/mod.rs", "use crate::config::Config;", "the row `system`"),
    ("reboot/mod.rs", "use crate::rules::Verdict;", "the row `reboot`"),
    ("run/mod.rs", "use crate::cli;", "the row `run`"),
    // Inside core, also through what its root re-exports.
    ("core/host/disk.rs", "use crate::state::HostState;", "the row `core/host`"),
    ("core/host/disk.rs", "use crate::Error;", "src/core/error.rs"),
    ("core/settings.rs", "use crate::Disk;", "the row `core's own files`"),
    ("core/state/mod.rs", "use super::install;", "the row `core/state`"),
    ("core/error.rs", "use crate::install::Plan;", "the row `core/error`"),
    ("core/lock.rs", "use crate::state::HostState;", "the row `core/lock`"),
    ("core/opened.rs", "use crate::Lock;", "src/core/lock.rs, but the row `core/opened`"),
    ("core/state/mod.rs", "use crate::lock::Lock;", "the row `core/state`"),
    ("core/install/mod.rs", "use crate::trial::promote;", "the row `core/install`"),
    // What is outside of flipside.
    ("image/manifest.rs", "use std::{fmt as f, fs::{self, read}};", "uses std::fs, which"),
    ("image/manifest.rs", "use std as s; fn f() { s::fs::read(1) }", "uses std::fs::read"),
    ("image/manifest.rs", "fn f() { std::env::var(\"A\"); }", "uses std::env::var"),
    ("image/manifest.rs", "use std::*;", "uses std::*, which the row `image` forbids"),
    ("image/text.rs", "use ::std::net::TcpStream;", "uses std::net::TcpStream"),
    ("image/efi/mod.rs", "fn f() { efivar::system() }", "uses efivar::system, which the row"),
    ("rules/hold.rs", "use std::process::{Command, exit};", "uses std::process::Command, which"),
    ("rules/hold.rs", "use std::process; fn f() { process::Command::new(1) }", "Command::new"),
    ("rules/hold.rs", "fn f() { zbus::block() }", "uses zbus::block"),
    ("core/host/gpt.rs", "use std::net::TcpStream;", "uses std::net::TcpStream"),
    ("core/lock.rs", "fn f() { std::process::Command::new(1) }", "the row `core` forbids"),
    ("source/lib.rs", "use zstd::Decoder;", "uses zstd::Decoder"),
    // Macros.
    ("core/host/gpt.rs", "fn f() { println!(\"a\") }", "uses println!, which the row `core`"),
    ("core/settings.rs", "fn f() { std::eprintln!(\"a\") }", "uses eprintln!"),
    ("core/error.rs", "fn f() { eprint ! (\"a\") }", "uses eprint!"),
    ("core/trial/new.rs", "fn f() { g(|| dbg!(1)); print!(\"a\") }", "uses dbg!"),
    // What this test could not follow.
    ("core/trial/mod.rs", "#[path = \"../../run/mod.rs\"] mod run;", "uses #[path]"),
    ("new.rs", "", "src/new.rs:1 belongs to none of the rows"),
];

#[test]
fn an_import_that_breaks_a_row_is_red_however_it_is_written() {
    let tree = ExampleTree::new();
    for (path, text, says) in BREAKS {
        let found = tree.violations_with(path, text);
        let is_named = found.iter().any(|sentence| sentence.contains(says));
        assert!(is_named, "{path}: {text}: {found:?}");
    }
}

#[test]
fn an_import_that_a_row_allows_is_green() {
    let cases = [
        ("image/manifest.rs", "fn f() { std::env::consts::ARCH }"),
        ("image/manifest.rs", "mod fs { pub fn read() {} } fn f() { fs::read() }"),
        ("core/host/disk.rs", "use crate::{Disk, settings}; pub(in crate::state) fn f() {}"),
        ("core/host/disk.rs", "fn f(a: impl Fn() -> u8 + use<'_>) { let print = 1; print != 2 }"),
        ("rules/hold.rs", "#[cfg(test)] fn f() { crate::run::run() } use crate::config::Config;"),
        ("source/lib.rs", "fn f() { self.zstd::<u8>(); x.zbus() }"),
    ];
    let tree = ExampleTree::new();
    for (path, text) in cases {
        assert_eq!(tree.violations_with(path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn a_sentence_names_the_file_the_line_the_import_and_the_row() {
    let tree = ExampleTree::new();
    tree.put(
        "src/config/units.rs",
        "\n\nuse crate::report::Status;\nfn f(_: Status) { Status::new() }\n",
    );
    let expected = "src/config/units.rs:3 uses crate::report::Status from src/report/mod.rs, but \
                    the row `config` allows only image, core, source, codes.";
    assert_eq!(tree.violations(), [expected]);
}

#[test]
fn a_folder_without_a_row_and_a_row_without_a_folder_are_red() {
    let tree = ExampleTree::new();
    tree.put("src/core/extra/mod.rs", "");
    tree.put("src/extra/mod.rs", "");
    std::fs::remove_dir_all(tree.root.join("src/health")).unwrap();
    std::fs::remove_file(tree.root.join("src/image/fat.rs")).unwrap();
    let expected = [
        "src/extra has no row in tests/architecture/rules.rs.",
        "src/core/extra has no row in tests/architecture/rules.rs.",
        "The row `sim` names `image/fat`, which src does not have.",
        "tests/architecture/rules.rs has a row `health`, but src has no such folder.",
    ];
    assert_eq!(check::folders_and_rows(&tree.root, ROWS), expected);
}

#[test]
fn a_document_that_differs_from_the_rows_is_red() {
    let rows: Vec<_> = ROWS.iter().copied().filter(|row| row.place.starts_with("core")).collect();
    let table =
        |rows: &str| format!("# A\n\n| crate | b |\n| --- | --- |\n{rows}\n\n| file |\n| `x` |");
    let all = "| `flipside-core` |\n| `host/`, `src/core/state/` |\n| `core/install` |\n\
               | `error`, `lock.rs`, `src/core/opened.rs` |\n| `trial` |";
    assert_eq!(document::differences(&table(all), &rows), [""; 0]);
    let expected = [
        "The table in docs/architecture.md has no row for `core/trial`.",
        "docs/architecture.md:9 has a row for `policy`, but tests/architecture/rules.rs has none.",
    ];
    assert_eq!(document::differences(&table(&all.replace("trial", "policy/")), &rows), expected);
}

#[test]
fn a_feature_for_tests_is_seen() {
    let features = "flipside v0.1.0 (/src)\nflipside-core feature \"default\"\n";
    assert!(!dependencies::has_testing(features));
    let features = format!("{features}flipside-core feature \"testing\" (command-line)\n");
    assert!(dependencies::has_testing(&features));
}

#[test]
fn a_forbidden_dependency_is_red() {
    let output = "flipside-core v0.1.0 (/src/core)\nflipside-image v0.1.0 (/src/image)\n\
                  rustls-pki-types v1.0.0\nzstd v0.13.3\nrustls v0.23.0 (*)\nrustls v0.23.0\n";
    let all = dependencies::names(output);
    assert_eq!(all[0], "flipside-image");
    let limits = LIMITS.iter().find(|limits| limits.package == "flipside-core").unwrap();
    let direct = ["zstd".to_owned(), "tempfile".to_owned()];
    let expected = [
        "flipside-core depends on tempfile directly, which dependencies.rs does not list.",
        "flipside-core must not depend on rustls.",
    ];
    assert_eq!(dependencies::violations(limits, &all, &direct), expected);
    let sim = LIMITS.iter().find(|limits| limits.package == "flipside-sim").unwrap();
    let found = dependencies::violations(sim, &["flipside-core".to_owned()], &[]);
    assert_eq!(found, ["flipside-sim must not depend on flipside-core."]);
}

#[test]
fn a_dependency_without_a_row_is_red_however_it_is_written() {
    let tree = ExampleTree::new();
    tree.put("docs/dependencies.md", "| crate | what for |\n| `serde`, `serde_json` | `toml` |\n");
    tree.put("Cargo.toml", "[workspace.dependencies]\nserde = \"1\" # a = b\ntoml = \"1\"\n");
    tree.put(
        "fuzz/Cargo.toml",
        "[package]\nversion = \"1\"\n[dependencies.fuzzer]\nversion = \"1\"\n",
    );
    tree.put(
        "src/core/Cargo.toml",
        "[target.'cfg(unix)'.dependencies]\nnix.workspace = true\nflipside-image = \"1\"\n\
         [dev-dependencies]\nserde_json = { version = \"1\" }\n# gpt = \"4\"\nfatfs=\"0\"\n",
    );
    let names = ["toml", "fuzzer", "fatfs", "nix"];
    let paths = ["Cargo.toml", "fuzz/Cargo.toml", "src/core/Cargo.toml", "src/core/Cargo.toml"];
    let expected: Vec<String> = paths
        .iter()
        .zip(names)
        .map(|(path, name)| {
            format!("{path} depends on {name}, which docs/dependencies.md has no row for.")
        })
        .collect();
    assert_eq!(dependencies::without_row(&tree.root), expected);
}
