// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long files and crates may be. `tests/lines` counts.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Lines of a file in src, without its tests.
pub const FILE: usize = 400;
/// Lines of core that are neither blank, comment nor test. Of these, 300 are for what an update takes
/// from the running slot.
pub const CORE: usize = 10_300;
/// The same, of the files of core that write.
pub const WRITERS: usize = 6_500;

/// What `tests/lines` counts in a tree.
pub fn counts(root: &Path, arguments: &[&str]) -> Vec<(usize, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lines");
    let output = Command::new(script).env("ROOT", root).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "tests/lines failed: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let (count, name) = line.trim_start().split_once(' ').unwrap();
            (count.parse().unwrap(), name.to_owned())
        })
        .collect()
}

/// The one count of this name.
pub fn count_of(counts: &[(usize, String)], wanted: &str) -> usize {
    let found = counts.iter().find(|(_, name)| name == wanted);
    found.unwrap_or_else(|| panic!("tests/lines does not count {wanted}")).0
}

/// Files that are too long, one sentence each.
pub fn long_files(root: &Path) -> Vec<String> {
    let lengths = counts(root, &["--length"]);
    let long = lengths.into_iter().filter(|(lines, _)| *lines > FILE);
    long.map(|(lines, path)| {
        format!("{path} has {lines} lines without its tests; {FILE} are allowed.")
    })
    .collect()
}

/// Whether core and its files that write are short enough, one sentence each if not.
pub fn long_core(root: &Path) -> Vec<String> {
    let core = count_of(&counts(root, &[]), "src/core");
    let writers = count_of(&counts(root, &["--writes"]), "total");
    let mut found = Vec::new();
    if core > CORE {
        found.push(format!("src/core has {core} lines of code; {CORE} are allowed."));
    }
    if writers > WRITERS {
        found.push(format!(
            "The files of src/core that write have {writers} lines of code; {WRITERS} are allowed."
        ));
    }
    found
}

/// The files that core's README lists as writers and the ones that write, one sentence for each
/// difference.
pub fn wrong_writers(root: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(root.join("src/core/README.md")).unwrap();
    let (_, section) = text.split_once("## The files that write\n").unwrap();
    let table = section.split("\n## ").next().unwrap_or_default();
    let listed: BTreeSet<String> = table
        .split('`')
        .filter(|word| word.ends_with(".rs"))
        .map(|path| format!("src/core/{path}"))
        .collect();
    let counted = counts(root, &["--writes"]).into_iter().map(|(_, path)| path);
    let writers: BTreeSet<String> = counted.filter(|path| path != "total").collect();
    let hidden = writers.difference(&listed);
    let gone = listed.difference(&writers);
    hidden
        .map(|path| format!("{path} writes, and src/core/README.md does not list it."))
        .chain(gone.map(|path| format!("src/core/README.md lists {path}, which does not write.")))
        .collect()
}
