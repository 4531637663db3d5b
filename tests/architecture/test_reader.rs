// SPDX-License-Identifier: MIT OR Apache-2.0

//! The reader finds every path that code names, and nothing else.

use crate::references::{self, Import};
use crate::tokens;
use crate::without_tests;

fn read(text: &str) -> references::References {
    references::read(&without_tests::product(&tokens::read(text)).tokens)
}

fn paths(text: &str) -> Vec<String> {
    let mentions = read(text).mentions;
    mentions.iter().map(|mention| mention.parts.join("::")).collect()
}

#[test]
fn imports_are_read_in_every_form() {
    let cases: &[(&str, &[&str])] = &[
        ("use a::b;", &["a::b"]),
        ("pub(crate) use a::b as c;", &["a::b"]),
        ("use {a::b, c};", &["a::b", "c"]),
        ("use a::{self, b::{c, d as e, *}, f};", &["a", "a::b::c", "a::b::d", "a::b", "a::f"]),
        ("use ::a::b;", &["::a::b"]),
        ("use self::a; use super::super::b;", &["self::a", "super::super::b"]),
        ("use a::\n    r#type::{\n    b,\n    // c,\n};", &["a::type::b"]),
        ("use a::Trait as _;", &["a::Trait"]),
    ];
    for (text, expected) in cases {
        assert_eq!(paths(text), *expected, "{text}");
    }
}

#[test]
fn an_import_has_the_line_of_its_name() {
    let found = read("use a::{\n    b,\n    c as d,\n};\nuse e::*;\n").mentions;
    let lines: Vec<usize> = found.iter().map(|mention| mention.line).collect();
    assert_eq!(lines, [2, 3, 5]);
    assert_eq!(found[1].import, Some(Import::Name("d".to_owned())));
    assert_eq!(found[2].import, Some(Import::All));
}

#[test]
fn inline_paths_are_read() {
    let cases: &[(&str, &[&str])] = &[
        ("fn f(a: crate::b::C) -> super::D {}", &["crate::b::C", "super::D"]),
        ("a::b::<c::D>::e()", &["a::b", "c::D"]),
        ("<a::B as c::D>::e()", &["a::B", "c::D"]),
        ("f(::a::b)", &["::a::b"]),
        ("a.b::<u8>()", &[]),
        ("#[derive(a::B)] struct C;", &["a::B"]),
        ("pub(in crate::a) fn f() {}", &[]),
        ("let a: &'static b::C = 0..c::D;", &["b::C", "c::D"]),
        ("match 'a' { '\\u{7f}' => a::b, _ => 1.0e5 }", &["a::b"]),
        ("concat!(\"a::b\", r##\"c::\"#d\"##, b\"e::f\", c\"g::h\", br\"\\\")", &[]),
        ("// a::b\n/* c::d /* e */ f::g */ h::i", &["h::i"]),
        ("/// a::b\n#[doc = \"c::d\"] fn f() {}", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(paths(text), *expected, "{text}");
    }
}

#[test]
fn macros_are_read() {
    let found = read("fn f() { println!(\"a\"); std::dbg!(1); let print = 1; print != 2; }");
    let names: Vec<&str> = found.macros.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["println", "dbg"]);
}

#[test]
fn inline_modules_end_where_their_brace_does() {
    let found = read("mod a { mod b { use c::d; } fn f() { if 1 { e::f } } } use g::h;");
    let inside: Vec<String> = found.mentions.iter().map(|all| all.inside.join("::")).collect();
    assert_eq!(inside, ["a::b", "a", ""]);
}

#[test]
fn items_behind_a_test_attribute_are_left_out() {
    let cases = [
        "#[cfg(test)] mod tests { use a::b; }",
        "#[cfg(test)] #[allow(a)] pub(super) fn f<A, B>(c: [u8; 2]) -> a::B where A: B { a::b() }",
        "#[cfg(test)] use a::{b, c};",
        "#[cfg(test)] const A: a::B = a::B { c };",
        "#[cfg(test)] impl a::B for C { fn d() {} }",
        "#[cfg(test)] struct A(a::B);",
        "#[cfg(any(test, feature = \"testing\"))] pub const fn f() { a::b() }",
        "#[cfg(all(test, feature = \"c\"))] static A: B = a::b;",
        "struct A { #[cfg(test)] b: a::B, c: u8 }",
        "fn f() { #[cfg(test)] a::b(c, d); }",
        "fn f() { #[cfg(test)] { a::b } }",
    ];
    for text in cases {
        assert_eq!(paths(&format!("{text} use kept::K;")), ["kept::K"], "{text}");
    }
    let kept = "#[cfg(not(test))] use a::b; #[cfg(feature = \"test\")] use c::d;";
    assert_eq!(paths(kept), ["a::b", "c::d"]);
    assert!(without_tests::product(&tokens::read("#![cfg(test)] use a::b;")).is_test);
}
