// SPDX-License-Identifier: MIT OR Apache-2.0

//! What has to hold where the firmware has its variables kept in a file on the ESP: what is told
//! it lasts only once that file holds it.

use std::path::PathBuf;

use crate::model::{Every, Model, Tree};
use crate::recorder::Op;
use crate::scenario::Scenario;

/// The file.
pub const FILE: &str = "efi/ubootefi.var";
/// By it a file without its first sector is known as one whose writing was cut off.
const CLAIM: &str = "efi/EFI/flipside/variables";

/// The file is the old one, or what the firmware gave after one of the changes, or it has no first
/// sector and holds none: never a mixture.
pub fn check(scenario: &Scenario, tree: &Tree) -> Result<(), String> {
    let Some(now) = tree.file(FILE) else {
        return match scenario.base.file(FILE) {
            None => Ok(()),
            Some(_) => Err("the file of the firmware's variables is gone".into()),
        };
    };
    let given = PathBuf::from(flipside_sim::var_to_file_path());
    let is_given = |op: &Op| matches!(op, Op::SetVariable(path, bytes) if *path == given && bytes[4..] == *now);
    let is_whole = scenario.base.file(FILE) == Some(now)
        || scenario.base.file(&given).is_some_and(|bytes| bytes[4..] == *now)
        || scenario.log.iter().any(is_given);
    if is_whole {
        return Ok(());
    }
    if now.iter().take(512).any(|byte| *byte != 0) {
        return Err("P4: the file of the firmware's variables is a mixture".into());
    }
    // P9: otherwise the next run takes it for a file of others, and refuses to write it.
    match tree.file(CLAIM) == Some(b"ubootefi.var\n") {
        true => Ok(()),
        false => Err("P9: nothing says whose the cut-off file of variables is".into()),
    }
}

/// P4: where a phase ends behind the first `end` ops, the file holds durably what the firmware gave
/// after the last change.
pub fn is_durable(log: &[Op], model: &Model, end: usize) -> Result<(), String> {
    let given = PathBuf::from(flipside_sim::var_to_file_path());
    let is_change = |op: &Op| matches!(op, Op::SetVariable(path, _) if *path == given);
    if !log[..end].iter().any(is_change) {
        return Ok(());
    }
    let durable = model.cut(end, &mut Every(false));
    match durable.file(&given).map(|bytes| &bytes[4..]) == durable.file(FILE) {
        true => Ok(()),
        false => Err("P4: the file lacks a variable when the next step begins".into()),
    }
}
