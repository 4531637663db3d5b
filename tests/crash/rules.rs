// SPDX-License-Identifier: MIT OR Apache-2.0

//! What has to hold in every crash state, told from the bytes and by `sim`, never by
//! flipside's own reading of them.

use std::path::{Path, PathBuf};

use flipside_sim::{Backend, Power};

use crate::model::Tree;
use crate::recorder::Op;
use crate::scenario::{Action, Scenario};
use crate::{loader_rules, unarmed, variable_file};

/// Where systemd-boot has its entries.
pub const ENTRIES: &str = "efi/loader/entries";
pub const VARIABLES: &str = "sys/firmware/efi/efivars";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Checks a crash state behind the first `ops` ops; `scratch` is a directory for it.
pub fn check(scenario: &Scenario, tree: &Tree, ops: usize, scratch: &Path) -> Result<(), String> {
    let begun = |name| scenario.log.iter().take(ops).any(|op| *op == Op::Phase(name));
    check_with(scenario, tree, begun("disarm"), begun("list"), scratch)
}

/// The same, told whether an install has begun to disarm the target, and whether it has come
/// to the boot entries.
pub fn check_with(
    scenario: &Scenario,
    tree: &Tree,
    disarms: bool,
    lists: bool,
    scratch: &Path,
) -> Result<(), String> {
    // P1: the running slot has not changed.
    let (start, length) = scenario.running_region;
    let region = |tree: &Tree| tree.file("disk.img").map(|d| d[start..start + length].to_vec());
    if region(tree) != region(&scenario.base) {
        return Err("P1: the running slot's partition changed".into());
    }
    let boot_file = format!("efi/EFI/flipside/boot-{}.efi", scenario.running);
    if tree.file(&boot_file) != scenario.base.file(&boot_file) {
        return Err("P1: the running slot's boot file changed".into());
    }
    state_file(tree)?;
    loader_entries(tree)?;
    failed_document(scenario, tree)?;
    variable_file::check(scenario, tree)?;
    let target = if scenario.running == 'a' { 'b' } else { 'a' };
    match scenario.backend {
        Backend::Uefi => boot_variables(scenario, tree, disarms, lists, target)?,
        Backend::SystemdBoot => loader_rules::check(scenario, tree, disarms, lists, target)?,
    }

    // P2, P9: whatever happens at the next power-on, the old or the new OS boots, whole.
    tree.write(scratch);
    let loader_is_replaced = loader_is_replaced(scenario, tree)?;
    let has_failed = failed(tree) != failed(&scenario.base);
    for wipe_nvram in [false, true] {
        if wipe_nvram && loader_is_replaced {
            continue;
        }
        let verdict = scenario.judge.judge(scratch, &Power { wipe_nvram, quirks: Vec::new() });
        match verdict.booted {
            Ok(booted)
                if scenario.action == Action::Fail && has_failed && booted.version != "1" =>
            {
                return Err(format!("P7: {} boots, which failed", booted.version));
            }
            Ok(booted) if scenario.may_boot.contains(&booted.version.as_str()) => {}
            Ok(booted) => return Err(format!("P9: {} boots", booted.version)),
            Err(why) => return Err(format!("P9: wiped {wipe_nvram}: {why}: {:?}", verdict.notes)),
        }
    }
    // P4: an entry is listed for a slot that is whole.
    let boot_file = format!("efi/EFI/flipside/boot-{target}.efi");
    if lists && !tree.file(&boot_file).is_some_and(|bytes| bytes.starts_with(b"MZ")) {
        return Err("P4: a boot entry is listed for a boot file that is not whole".into());
    }
    // P2: a boot file with a valid first sector is whole.
    let bytes = tree.file(&boot_file).filter(|bytes| bytes.starts_with(b"MZ"));
    if bytes.is_some_and(|b| {
        [&scenario.base, &scenario.end].into_iter().all(|tree| tree.file(&boot_file) != Some(b))
    }) {
        return Err("P2: the target's boot file could boot and is not whole".into());
    }
    // What boots can be told: its record was durable before.
    let record = tree.file(format!("efi/EFI/flipside/slot-{target}.json"));
    let is_told = record.is_some_and(|r| serde_json::from_slice::<serde_json::Value>(r).is_ok());
    if tree.file(&boot_file).is_some_and(|bytes| bytes.starts_with(b"MZ")) && !is_told {
        return Err("the target could boot and has no record".into());
    }
    // P2: nor does it boot anything damaged where a person picks the target in the menu.
    if let Some((path, bytes)) = picked(scenario, tree, target) {
        std::fs::write(scratch.join(path), bytes).unwrap();
        let verdict = scenario.judge.judge(scratch, &Power::default());
        tree.write(scratch);
        if let Err(why) = verdict.booted {
            return Err(format!("P2: the target boots and is not whole: {why}"));
        }
    }
    if scenario.unarms {
        unarmed::check(scenario, tree, scratch)?;
    }
    Ok(())
}

/// The variable with which a person picks the target, in the firmware's menu or the loader's.
fn picked(scenario: &Scenario, tree: &Tree, target: char) -> Option<(PathBuf, Vec<u8>)> {
    match scenario.backend {
        Backend::Uefi => {
            let mut bytes = vec![7, 0, 0, 0];
            bytes.extend(entry_of(tree, target)?.to_le_bytes());
            Some((PathBuf::from(format!("{VARIABLES}/BootNext-{GLOBAL}")), bytes))
        }
        Backend::SystemdBoot => {
            tree.file(format!("{ENTRIES}/flipside-{target}.conf"))?;
            Some(one_shot(&target.to_string()))
        }
    }
}

/// `LoaderEntryOneShot` for the entry of a slot.
pub fn one_shot(slot: &str) -> (PathBuf, Vec<u8>) {
    let name = format!("{VARIABLES}/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
    let entry = format!("flipside-{}.conf\0", slot.to_lowercase());
    let text = entry.encode_utf16().flat_map(u16::to_le_bytes);
    (PathBuf::from(name), [7, 0, 0, 0].into_iter().chain(text).collect())
}

/// Whether the removable-media loader is being rewritten, and cannot boot meanwhile: the one case
/// in which NVRAM may not be lost at the same time. The copy then has to be whole.
pub fn loader_is_replaced(scenario: &Scenario, tree: &Tree) -> Result<bool, String> {
    let loader = |tree: &Tree| tree.file("efi/EFI/BOOT/BOOTX64.EFI").map(<[u8]>::to_vec);
    let copy = tree.file("efi/EFI/flipside/loader.efi").map(<[u8]>::to_vec);
    let could_start = |program: &Option<Vec<u8>>| {
        program.as_ref().is_some_and(|program| program.starts_with(b"MZ"))
    };
    if could_start(&copy) && copy != loader(&scenario.end) {
        return Err("the copy of the loader could start and is not whole".into());
    }
    let now = loader(tree);
    if now == loader(&scenario.base) || now == loader(&scenario.end) {
        return Ok(false);
    }
    if could_start(&now) {
        return Err("the removable-media loader could start and is not whole".into());
    }
    match copy == loader(&scenario.end) {
        true => Ok(true),
        false => Err("the removable-media loader is damaged, and its copy is not whole".into()),
    }
}

/// P7: the failed digests are the old ones or the new ones, never forgotten.
fn failed_document(scenario: &Scenario, tree: &Tree) -> Result<(), String> {
    let now = failed(tree);
    if now == failed(&scenario.base) || now == failed(&scenario.end) {
        return Ok(());
    }
    Err(format!("P7: the failed digests are {now:?}"))
}

fn failed(tree: &Tree) -> Option<serde_json::Value> {
    ["failed.new", "failed.json"].iter().find_map(|name| {
        let bytes = tree.file(format!("efi/EFI/flipside/{name}"))?;
        serde_json::from_slice(bytes).ok()
    })
}

/// Whether NVRAM was lost once already before an armed trial could start.
pub fn has_forgotten_trial(tree: &Tree) -> bool {
    failed(tree).is_some_and(|failed| failed["forgotten"]["count"] == 1)
}

/// The journal is the old one or the new one, never torn.
fn state_file(tree: &Tree) -> Result<(), String> {
    match tree.file("var/lib/flipside/state.json") {
        Some(bytes) if serde_json::from_slice::<serde_json::Value>(bytes).is_err() => {
            Err("state.json is torn".into())
        }
        _ => Ok(()),
    }
}

/// An entry whose file is no PE ends systemd-boot: none may be there.
fn loader_entries(tree: &Tree) -> Result<(), String> {
    for name in tree.below(ENTRIES) {
        for slot in ['a', 'b'] {
            let started = format!("/EFI/flipside/boot-{slot}.efi");
            let entry = tree.file(name).unwrap_or_default();
            let starts_slot = entry.windows(started.len()).any(|w| w == started.as_bytes());
            let boot_file = tree.file(format!("efi{started}"));
            if starts_slot && !boot_file.is_some_and(|bytes| bytes.starts_with(b"MZ")) {
                return Err(format!("{} starts a boot file that is not there", name.display()));
            }
        }
    }
    Ok(())
}

fn boot_variables(
    scenario: &Scenario,
    tree: &Tree,
    disarms: bool,
    lists: bool,
    target: char,
) -> Result<(), String> {
    let order = order(tree);
    let place = |slot| entry_of(tree, slot).and_then(|n| order.iter().position(|o| *o == n));
    let (running, other) = (place(scenario.running), place(target));
    // P5: from before an install begins.
    if scenario.action != Action::Promote && disarms {
        let first = running.ok_or("P5: the running slot is not in BootOrder")?;
        if other.is_some_and(|other| other < first) {
            return Err("P5: the target comes before the running slot".into());
        }
    }
    let Some(next) = variable(tree, "BootNext") else { return Ok(()) };
    if entry_of(tree, target).map(u16::to_le_bytes).map(Vec::from) != Some(next) {
        return Ok(());
    }
    if other.is_none() {
        return Err("BootNext names an entry that BootOrder does not list".into());
    }
    let was_armed = variable(&scenario.base, "BootNext").is_some();
    journal_says_armed(tree, lists, was_armed)
}

/// P4: the journal says so before the next boot is reserved.
pub fn journal_says_armed(tree: &Tree, lists: bool, was_armed: bool) -> Result<(), String> {
    let journal = tree.file("var/lib/flipside/state.json").unwrap_or_default();
    let journal: serde_json::Value = serde_json::from_slice(journal).unwrap_or_default();
    let says_so =
        ["arming", "armed", "returning", "rolling-back"].iter().any(|s| journal["state"] == *s);
    if !says_so && (lists || !was_armed) {
        return Err(format!("P4: the target is armed and the journal says {}", journal["state"]));
    }
    Ok(())
}

/// The data of a global variable.
fn variable(tree: &Tree, name: &str) -> Option<Vec<u8>> {
    tree.file(format!("{VARIABLES}/{name}-{GLOBAL}")).map(|bytes| bytes[4..].to_vec())
}

fn order(tree: &Tree) -> Vec<u16> {
    let bytes = variable(tree, "BootOrder").unwrap_or_default();
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

/// The number of the entry that names the slot's boot file.
fn entry_of(tree: &Tree, slot: char) -> Option<u16> {
    let path: Vec<u8> =
        format!("boot-{slot}.efi").encode_utf16().flat_map(u16::to_le_bytes).collect();
    tree.below(VARIABLES).find_map(|name| {
        let text = name.file_name()?.to_str()?;
        let number = u16::from_str_radix(text.strip_prefix("Boot")?.get(..4)?, 16).ok()?;
        let is_it = tree.file(name)?.windows(path.len()).any(|w| w == path);
        is_it.then_some(number)
    })
}

/// P4: every step of the log is durable before the next phase begins, but for what may be
/// lost: the history, and configs, which are fetched again.
pub fn steps_are_durable(log: &[Op], model: &crate::model::Model) -> Result<(), String> {
    let ends =
        log.iter().enumerate().filter(|(_, op)| matches!(op, Op::Phase(_))).map(|(at, _)| at);
    for end in ends.chain([log.len()]) {
        if let Some(op) = model.pending(end).map(|at| &log[at]).find(|op| !may_be_lost(op)) {
            return Err(format!("P4: not durable when the next step begins: {}", shown(op)));
        }
        variable_file::is_durable(log, model, end)?;
    }
    Ok(())
}

pub fn path_may_be_lost(path: &Path) -> bool {
    path.starts_with("var/lib/flipside/history.jsonl")
        || path.starts_with("var/lib/flipside/configs")
}

fn may_be_lost(op: &Op) -> bool {
    match op {
        Op::Create(p) | Op::SetLength(p, _) | Op::Write(p, ..) | Op::Unlink(p) => {
            path_may_be_lost(p)
        }
        _ => false,
    }
}

pub fn shown(op: &Op) -> String {
    match op {
        Op::Write(path, at, bytes) => format!("Write({path:?}, {at}, {} bytes)", bytes.len()),
        Op::SetVariable(path, bytes) => format!("SetVariable({path:?}, {} bytes)", bytes.len()),
        other => format!("{other:?}"),
    }
}
