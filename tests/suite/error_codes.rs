// SPDX-License-Identifier: MIT OR Apache-2.0

//! `docs/errors.md` lists every stable code that the sources have, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flipside::report::KnownCode;
use flipside_image::code::Severity;

/// Calls whose first argument is a code, and the severity that they give it.
const CONSTRUCTORS: [(&str, &str); 7] = [
    ("Verdict::block(", "block"),
    ("Verdict::defer(", "defer"),
    ("Refusal::block(", "block"),
    ("Refusal::defer(", "defer"),
    ("Failure::block(", "block"),
    ("Failure::defer(", "defer"),
    ("Failure::error(", "error"),
];

/// A code, and with which severities its constructors were called.
type Codes = BTreeMap<String, BTreeSet<&'static str>>;

fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_for_tests =
            name == "example" || name.split('_').any(|word| word.starts_with("test"));
        if is_for_tests {
            continue;
        } else if path.is_dir() {
            sources(&path, found);
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            // Comments and attributes speak of codes too.
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            found.push(code.lines().filter(is_code).collect::<Vec<_>>().join("\n"));
        }
    }
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// The string literals in `text`, as far as they may be codes. None of them has escapes.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2).filter(|literal| is_code(literal))
}

/// The bodies of functions that turn an error into its code.
fn code_functions(text: &str) -> Vec<&str> {
    let mut bodies = Vec::new();
    for name in ["fn code(", "_code("] {
        for (at, _) in text.match_indices(name) {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let head = &text[line..];
            let first = head.lines().next().unwrap();
            if !first.trim_start().starts_with("fn ") || first.ends_with(';') {
                continue;
            }
            let indent = &head[..head.len() - head.trim_start().len()];
            let end = head.find(&format!("\n{indent}}}")).unwrap();
            bodies.push(&head[..end]);
        }
    }
    bodies
}

fn codes_of_sources() -> Codes {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut codes = Codes::new();
    for code in flipside::codes::tables() {
        let severities = code.severities().iter().map(|severity| match severity {
            Severity::Block => "block",
            Severity::Defer => "defer",
            Severity::Error => "error",
        });
        codes.entry(code.name().to_owned()).or_default().extend(severities);
    }
    for text in &files {
        for body in code_functions(text) {
            for code in literals(body) {
                codes.entry(code.to_owned()).or_default();
            }
        }
        for (constructor, severity) in CONSTRUCTORS {
            for code in first_literals(text, constructor) {
                codes.entry(code.to_owned()).or_default().insert(severity);
            }
        }
        for code in first_literals(text, "code: ") {
            codes.entry(code.to_owned()).or_default();
        }
    }
    codes
}

/// The codes that follow `start` directly.
fn first_literals<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).filter_map(move |(at, _)| {
        let rest = text[at + start.len()..].trim_start().strip_prefix('"')?;
        let code = rest.split('"').next()?;
        is_code(code).then_some(code)
    })
}

/// The rows of the areas' tables: area, code, and the cells behind it.
fn documented() -> Vec<(String, String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut area = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            area = title.to_owned();
        } else if let Some(row) = line.strip_prefix("| `").filter(|_| !area.is_empty()) {
            let (code, cells) = row.split_once("` | ").unwrap();
            let cells = cells.trim_end_matches(" |").split(" | ").map(str::to_owned).collect();
            rows.push((area.clone(), code.to_owned(), cells));
        }
    }
    rows
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let codes = codes_of_sources();
    assert!(codes.len() > 100, "the sources are written otherwise: {codes:?}");
    let rows = documented();
    let listed: BTreeSet<&str> = rows.iter().map(|(_, code, _)| code.as_str()).collect();
    let missing: Vec<_> = codes.keys().filter(|code| !listed.contains(code.as_str())).collect();
    let unknown: Vec<_> = listed.iter().filter(|code| !codes.contains_key(**code)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
    assert_eq!(listed.len(), rows.len(), "a code stands twice");
}

#[test]
fn every_row_has_cause_remedy_and_the_severity_of_the_source() {
    let codes = codes_of_sources();
    for (_, code, cells) in documented() {
        let [cause, remedy, severity] = cells.as_slice() else { panic!("{code}: {cells:?}") };
        assert!(!cause.is_empty() && !remedy.is_empty(), "{code}");
        let words: BTreeSet<&str> = severity.split(", ").collect();
        assert!(words.iter().all(|word| ["error", "block", "defer"].contains(word)), "{code}");
        for given in codes.get(&code).into_iter().flatten() {
            assert!(words.contains(given), "{code} is {given}");
        }
    }
}

#[test]
fn codes_are_sorted_inside_their_area() {
    let rows = documented();
    for pair in rows.windows(2) {
        let [(area, code, _), (next_area, next, _)] = pair else { continue };
        assert!(area != next_area || code < next, "{next} stands behind {code}");
    }
}

#[test]
fn every_code_that_is_told_otherwise_is_documented() {
    let rows = documented();
    for (code, known) in KnownCode::ALL {
        assert!(rows.iter().any(|(_, listed, _)| listed == code), "{code}");
        assert_eq!(KnownCode::of(code), known);
    }
    assert_eq!(KnownCode::of("hook-blocked"), KnownCode::Other);
}
