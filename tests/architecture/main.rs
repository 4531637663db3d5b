// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the architecture: which folder and crate may use which, circles of imports, what the
//! crates depend on, and how long they may be. docs/architecture.md has the table for people,
//! `rules.rs` the same one for this test.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod check;
mod circles;
mod dependencies;
mod document;
mod limits;
mod named_tests;
mod references;
mod resolve;
mod rules;
mod tokens;
mod tree;
mod without_tests;

mod example_tree;
mod test_circles;
mod test_limits;
mod test_reader;
mod test_rules;

use std::path::Path;

/// This repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with all sentences, if there are any.
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn folders_use_only_what_their_row_allows() {
    assert_none(&check::violations(&resolve::graph(root()), rules::ROWS));
}

#[test]
fn imports_make_no_circle() {
    assert_none(&circles::circles(&resolve::graph(root())));
}

#[test]
fn each_folder_has_a_row_and_each_row_a_folder() {
    assert_none(&check::folders_and_rows(root(), rules::ROWS));
}

#[test]
fn the_tests_that_documents_name_exist() {
    assert_none(&named_tests::missing(root()));
}

#[test]
fn each_attack_has_its_row_in_the_document() {
    assert_none(&named_tests::attacks_without_a_row(root()));
}

#[test]
fn the_document_has_the_same_rows() {
    let markdown = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    assert_none(&document::differences(&markdown, rules::ROWS));
}

#[test]
fn crates_depend_on_nothing_that_is_forbidden() {
    let found: Vec<String> = dependencies::LIMITS
        .iter()
        .flat_map(|limits| {
            let all = dependencies::tree(root(), limits.package, &[]);
            let direct = dependencies::tree(root(), limits.package, &["--depth", "1"]);
            dependencies::violations(limits, &all, &direct)
        })
        .collect();
    assert_none(&found);
}

#[test]
fn each_direct_dependency_has_its_row_in_the_document() {
    assert_none(&dependencies::without_row(root()));
}

#[test]
fn the_product_has_nothing_that_tests_alone_need() {
    let features = dependencies::output(root(), "flipside", &["-e", "normal,features"]);
    assert!(!dependencies::has_testing(&features), "flipside enables flipside-core/testing");
}

#[test]
fn files_are_short() {
    assert_none(&limits::long_files(root()));
}

#[test]
fn core_and_its_writers_can_be_read_in_an_evening() {
    assert_none(&limits::long_core(root()));
}

#[test]
fn the_reviewers_page_lists_the_files_that_write() {
    assert_none(&limits::wrong_writers(root()));
}

#[test]
fn the_counter_and_the_reader_leave_out_the_same_tests() {
    let counted: Vec<String> =
        limits::counts(root(), &["--files"]).into_iter().map(|(_, path)| path).collect();
    let read: Vec<String> = tree::read(root()).into_iter().map(|file| file.path).collect();
    assert_eq!(counted, read);
}
