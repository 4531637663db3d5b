// SPDX-License-Identifier: MIT OR Apache-2.0

//! What has to hold where the loader's entries are what boots, told from the files alone.

use std::path::Path;

use crate::model::Tree;
use crate::rules::{ENTRIES, VARIABLES, journal_says_armed};
use crate::scenario::{Action, Scenario};

pub fn check(
    scenario: &Scenario,
    tree: &Tree,
    disarms: bool,
    lists: bool,
    target: char,
) -> Result<(), String> {
    let variables = |tree: &Tree| tree.flat(|path| !path.starts_with(VARIABLES));
    if variables(tree) != variables(&scenario.base) {
        return Err("NVRAM was written".into());
    }
    // P5: from before an install begins.
    if scenario.action != Action::Promote && disarms {
        let first = key(tree, scenario.running).ok_or("P5: the running slot has no entry")?;
        if key(tree, target).is_some_and(|key| key < first) {
            return Err("P5: the target comes before the running slot".into());
        }
    }
    let is_armed = |tree: &Tree| tree.below(ENTRIES).any(|name| waits(tree, name, target));
    if is_armed(tree) {
        journal_says_armed(tree, lists, is_armed(&scenario.base))?;
    }
    Ok(())
}

/// The sort-key of a slot's own entry; `None` where it starts nothing.
fn key(tree: &Tree, slot: char) -> Option<String> {
    let bytes = tree.file(format!("{ENTRIES}/flipside-{slot}.conf"))?;
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.lines().find(|line| line.starts_with("efi "))?;
    text.lines().find_map(|line| line.strip_prefix("sort-key ")).map(|key| key.trim().to_owned())
}

/// Whether an entry with tries left starts the slot.
fn waits(tree: &Tree, name: &Path, slot: char) -> bool {
    let file = name.file_name().unwrap().to_string_lossy().into_owned();
    let has_tries = file.contains('+') && !file.contains("+0");
    let started = format!("boot-{slot}.efi");
    let bytes = tree.file(name).unwrap_or_default();
    has_tries && bytes.windows(started.len()).any(|w| w == started.as_bytes())
}
