// SPDX-License-Identifier: MIT OR Apache-2.0

//! P8: what was disarmed before it was tried counts as no trial, also where the state directory,
//! and with it the journal, does not last until the next boot.

use std::path::Path;

use flipside_sim::Power;

use crate::host::boot;
use crate::model::Tree;
use crate::scenario::Scenario;

/// Boots `tree` in `place`, without its state directory.
pub fn check(scenario: &Scenario, tree: &Tree, place: &Path) -> Result<(), String> {
    let state = place.join("var/lib/flipside");
    if state.exists() {
        std::fs::remove_dir_all(state).unwrap();
    }
    let booted = boot(place, false, Power::default());
    let failed = std::fs::read(place.join("efi/EFI/flipside/failed.json")).unwrap_or_default();
    let failed: serde_json::Value = serde_json::from_slice(&failed).unwrap_or_default();
    tree.write(place);
    let has_counted = failed["trials"].as_array().is_some_and(|trials| !trials.is_empty());
    match has_counted || !scenario.may_boot.iter().any(|v| booted.contains(&format!(" {v} "))) {
        true => Err(format!("P8: without the state directory: {booted}; {failed}")),
        false => Ok(()),
    }
}
