// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tables of docs/architecture.md.

use crate::rules::{LEAF, Row};

/// Names in the first column of tables of folders or crates, with their lines.
pub fn folders(markdown: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut is_inside = false;
    let mut was_table = false;
    for (index, line) in markdown.lines().enumerate() {
        let Some(row) = line.trim().strip_prefix('|') else {
            was_table = false;
            continue;
        };
        let first = row.split('|').next().unwrap_or_default();
        if !was_table {
            is_inside = first.contains("folder") || first.contains("crate");
            was_table = true;
        } else if is_inside {
            let quoted = first.split('`').skip(1).step_by(2);
            names.extend(quoted.map(|name| (index + 1, place(name).to_owned())));
        }
    }
    names
}

/// `src/core/host/` and `flipside-core` as rows name them.
fn place(name: &str) -> &str {
    let name = name.trim_end_matches('/').trim_end_matches(".rs");
    let name = name.strip_prefix("src/").unwrap_or(name);
    name.strip_prefix("flipside-").unwrap_or(name)
}

/// Where the document and the table of rules differ. Inside core, `host` means `core/host`.
pub fn differences(markdown: &str, rows: &[Row]) -> Vec<String> {
    let documented = folders(markdown);
    let is_same =
        |place: &str, name: &str| place == name || place.strip_prefix("core/") == Some(name);
    let needs_row = |row: &&Row| ![LEAF, "main", "lib"].contains(&row.place);
    let mut found = Vec::new();
    for row in rows.iter().filter(needs_row) {
        if !documented.iter().any(|(_, name)| is_same(row.place, name)) {
            found
                .push(format!("The table in docs/architecture.md has no row for `{}`.", row.place));
        }
    }
    for (line, name) in &documented {
        let is_file = name.contains('.') || !name.contains('/') && name == "flipside";
        if !is_file && !rows.iter().any(|row| is_same(row.place, name)) {
            found.push(format!(
                "docs/architecture.md:{line} has a row for `{name}`, but \
                 tests/architecture/rules.rs has none."
            ));
        }
    }
    found
}
