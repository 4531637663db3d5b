// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests that documents name: each one exists.

use std::collections::BTreeSet;
use std::path::Path;

/// The tests in the tables of `docs` below `root` whose last column is headed `test`, and that no
/// source file defines, neither as a function nor as a name in a table of cases.
pub fn missing(root: &Path) -> Vec<String> {
    let sources = sources(root);
    let mut missing = Vec::new();
    let mut rows = 0;
    for document in files(&root.join("docs"), "md") {
        let text = std::fs::read_to_string(&document).unwrap();
        for name in named(&text) {
            rows += 1;
            let function = format!("fn {name}(");
            let case = format!("\"{name}\"");
            if !sources.iter().any(|text| text.contains(&function) || text.contains(&case)) {
                missing.push(format!("{}: no test is called {name}", document.display()));
            }
        }
    }
    assert!(rows > 0, "no document has a table of tests");
    missing
}

/// The attacks of `tests/suite/attacks.rs` that docs/security.md does not name.
pub fn attacks_without_a_row(root: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(root.join("tests/suite/attacks.rs")).unwrap();
    let document = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows: BTreeSet<String> = named(&document).into_iter().collect();
    let attacks = table.lines().filter_map(|line| {
        line.trim().strip_prefix("name: \"")?.strip_suffix("\",").map(str::to_owned)
    });
    let missing: Vec<_> = attacks.filter(|attack| !rows.contains(attack)).collect();
    missing.into_iter().map(|attack| format!("docs/security.md: {attack} has no row")).collect()
}

/// What stands between backticks in the last cell of each row of a table that is headed `test`.
pub fn named(markdown: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_of_tests = false;
    for line in markdown.lines() {
        let Some(row) = line.strip_prefix('|') else {
            is_of_tests = false;
            continue;
        };
        let last = row.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        match last.trim() {
            "test" => is_of_tests = true,
            cell if is_of_tests => {
                names.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
            }
            _ => {}
        }
    }
    names
}

/// Every source file below `src`, `tests` and the crates of the workspace.
fn sources(root: &Path) -> Vec<String> {
    let folders = ["src", "tests"].map(|folder| files(&root.join(folder), "rs"));
    folders.into_iter().flatten().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|has| has == extension) {
            found.push(path);
        }
    }
    found
}

#[test]
fn only_the_last_cell_of_a_table_of_tests_names_tests() {
    let markdown = "\
| attack | test |
| --- | --- |
| `not-this` | `first`, `second` |

| key | value |
| `no` | `neither` |
";
    assert_eq!(named(markdown), ["first", "second"]);
}
