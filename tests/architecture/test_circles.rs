// SPDX-License-Identifier: MIT OR Apache-2.0

//! Circles of imports are found, and a module with its children is none.

use crate::example_tree::ExampleTree;

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let tree = ExampleTree::new();
    for (path, text) in files {
        tree.append(&format!("src/{path}"), text);
    }
    tree.circles()
}

#[test]
fn a_circle_of_two_files_is_red_and_names_both_imports() {
    let found = circles(&[
        ("rules/hold.rs", "use super::window::Window;"),
        ("rules/mod.rs", "fn f() { hold::f(); window::f() }"),
    ]);
    let expected = "hold, window in flipside::rules make a circle: src/rules/hold.rs:2 uses \
                    src/rules/window.rs; src/rules/window.rs:1 uses src/rules/hold.rs.";
    assert_eq!(found, [expected]);
}

#[test]
fn a_circle_of_three_files_is_red() {
    let found = circles(&[
        ("run/a.rs", "use crate::run::b;"),
        ("run/b.rs", "fn f() { super::c::d() }"),
        ("run/c.rs", "use {super::a::A};"),
        ("run/d.rs", "use super::a;"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("a, b, c in flipside::run make a circle: "), "{found:?}");
}

#[test]
fn a_circle_of_folders_is_red() {
    let found = circles(&[("report/mod.rs", "use crate::run::run;")]);
    assert!(found[0].starts_with("report, run in flipside make a circle: "), "{found:?}");
    let found = circles(&[("core/host/gpt.rs", "use crate::trial::promote;")]);
    let expected =
        "error, host, install, lock, opened, state, trial in flipside_core make a circle: ";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn a_circle_through_the_root_of_a_crate_is_red() {
    let found = circles(&[("core/host/gpt.rs", "use crate::Error;")]);
    let expected = "error, host, state in flipside_core make a circle: ";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn a_folder_belongs_to_the_file_of_its_name() {
    let found = circles(&[
        ("run/a.rs", "mod deep; use super::b;"),
        ("run/a/deep.rs", "use super::A;"),
        ("run/b.rs", "use super::a::deep::D;"),
    ]);
    let expected = "a, b in flipside::run make a circle: src/run/a.rs:2 uses src/run/b.rs; \
                    src/run/b.rs:2 uses src/run/a/deep.rs.";
    assert_eq!(found, [expected]);
}

#[test]
fn a_module_and_its_children_may_use_each_other() {
    let found = circles(&[
        ("run/mod.rs", "mod a; mod b; pub use a::A; fn f() { b::f() }"),
        ("run/a.rs", "use super::B; mod deep; fn f() { deep::f() }"),
        ("run/a/deep.rs", "use super::A; use crate::run::run;"),
        ("run/b.rs", "use crate::run::A; use super::*;"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn an_import_of_a_test_makes_no_circle() {
    let import = "#[cfg(test)]\nmod tests { use super::super::window::Window; }";
    assert_eq!(circles(&[("rules/hold.rs", import)]), [""; 0]);
}
