// SPDX-License-Identifier: MIT OR Apache-2.0

//! `docs/errors.md` is made from the tables of codes, below what a person wrote there. After a
//! change of a table: `UPDATE_DOCS=1 cargo test --test suite error_codes`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use flipside::codes::tables;
use flipside_image::code::table::Area;
use flipside_image::code::{Code, Severity};

fn severities(code: Code) -> String {
    let words = code.severities().iter().map(|severity| match severity {
        Severity::Block => "block",
        Severity::Defer => "defer",
        Severity::Error => "error",
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "warning".to_owned() } else { words.join(", ") }
}

fn sections() -> String {
    let mut codes = tables();
    codes.sort_by_key(|code| code.name());
    let mut text = String::new();
    for area in Area::ALL {
        write!(text, "\n## {}\n\n", area.title()).unwrap();
        text.push_str("| code | what happened | what to do | severity |\n");
        text.push_str("| --- | --- | --- | --- |\n");
        for code in codes.iter().filter(|code| code.area() == area) {
            let (cause, remedy) = (code.cause(), code.remedy());
            let severities = severities(*code);
            assert!(!format!("{cause}{remedy}").contains('|'), "{code} would end its cell");
            writeln!(text, "| `{code}` | {cause} | {remedy} | {severities} |").unwrap();
        }
    }
    text
}

#[test]
fn the_page_lists_every_code_as_its_row_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let found = std::fs::read_to_string(&path).unwrap();
    let (head, _) = found.split_once("\n## ").unwrap();
    let expected = format!("{head}{}", sections());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else if let Some((found, expected)) =
        found.lines().zip(expected.lines()).find(|(found, expected)| found != expected)
    {
        panic!("run UPDATE_DOCS=1 cargo test --test suite error_codes\n{found}\n{expected}");
    } else {
        assert_eq!(found.len(), expected.len(), "the page is too short or too long");
    }
}

#[test]
fn a_code_has_one_row_in_all_crates() {
    let mut names = BTreeSet::new();
    for code in tables() {
        assert!(names.insert(code.name()), "{code} has two rows: use the lower crate's");
    }
    assert!(names.len() > 100, "{names:?}");
}

#[test]
fn rows_are_sorted_inside_their_area() {
    for pair in tables().windows(2) {
        let [first, second] = pair else { continue };
        let is_sorted = first.area() != second.area() || first.name() < second.name();
        assert!(is_sorted, "{second} belongs before {first}");
    }
}

#[test]
fn causes_and_remedies_are_sentences() {
    for code in tables() {
        for text in [code.cause(), code.remedy()] {
            assert!(text.ends_with('.'), "{code}: {text}");
        }
    }
}
