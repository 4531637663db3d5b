// SPDX-License-Identifier: MIT OR Apache-2.0

//! The Rust files below `src`, and which module of which crate each of them is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::tokens::{self, Located};
use crate::without_tests;

/// The name of the root package's library.
pub const PROGRAM: &str = "flipside";
/// `main.rs` is a crate of its own: its `crate::` is not the library's.
pub const MAIN: &str = "main";

/// A file that is part of the product.
#[derive(Debug)]
pub struct SourceFile {
    /// Below the tree's root, such as `src/core/host/disk.rs`.
    pub path: String,
    /// The crate as code names it, such as `flipside_core`.
    pub krate: String,
    /// The module inside the crate. The crate's root has no part.
    pub module: Vec<String>,
    /// Without tests.
    pub tokens: Vec<Located>,
}

impl SourceFile {
    /// The module with its crate's folder, such as `core/host/disk`, as rows name it.
    pub fn place(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        path.strip_suffix("/mod").unwrap_or(path)
    }
}

/// Reads all files below `src` that are not tests, in the order of their paths.
pub fn read(root: &Path) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    find(root, "src", &mut paths);
    paths.sort();

    let (mut files, mut declared) = (Vec::new(), BTreeSet::new());
    for path in &paths {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let product = without_tests::product(&tokens::read(&text));
        for module in &product.test_modules {
            let (folder, own) = path.rsplit_once('/').unwrap();
            if let Some(path) = &module.path {
                declared.insert(format!("{folder}/{path}"));
                continue;
            }
            let below = match own {
                "mod.rs" | "lib.rs" | "main.rs" => folder,
                _ => path.strip_suffix(".rs").unwrap(),
            };
            declared.insert(format!("{below}/{}.rs", module.name));
            declared.insert(format!("{below}/{}/", module.name));
        }
        if !product.is_test && !is_test_name(path) {
            let (krate, module) = module_of(root, path);
            files.push(SourceFile { path: path.clone(), krate, module, tokens: product.tokens });
        }
    }
    files.retain(|file| {
        !declared.iter().any(|test| match test.strip_suffix('/') {
            Some(_) => file.path.starts_with(test),
            None => file.path == *test,
        })
    });
    files
}

/// The crates below `src`: each folder with a `lib.rs`.
pub fn is_crate(root: &Path, folder: &str) -> bool {
    root.join("src").join(folder).join("lib.rs").is_file()
}

/// The folders directly below a folder, without that of tests.
pub fn folders(root: &Path, below: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root.join(below))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "tests")
        .collect();
    names.sort();
    names
}

fn find(root: &Path, folder: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            find(root, &path, paths);
        } else if path.ends_with(".rs") {
            paths.push(path);
        }
    }
}

fn is_test_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "tests.rs" || name.starts_with("test_") || path.contains("/tests/")
}

fn module_of(root: &Path, path: &str) -> (String, Vec<String>) {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let mut krate = PROGRAM.to_owned();
    if parts.len() > 1 && is_crate(root, parts[0]) {
        krate = format!("{PROGRAM}_{}", parts.remove(0));
    } else if parts == ["main.rs"] {
        return (MAIN.to_owned(), Vec::new());
    }
    let last = parts.pop().unwrap().trim_end_matches(".rs");
    let is_root = parts.is_empty() && last == "lib";
    if !is_root && last != "mod" {
        parts.push(last);
    }
    (krate, parts.into_iter().map(str::to_owned).collect())
}
