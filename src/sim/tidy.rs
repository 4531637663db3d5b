// SPDX-License-Identifier: MIT OR Apache-2.0

//! What firmware does to its variables at power-on, before it boots anything, and when it hands
//! over: its own entry for the disk, and the faults that meddle with entries and order.

use std::collections::HashSet;

use uuid::Uuid;

use super::load_option::{ACTIVE, LoadOption, Node};
use super::machine::Machine;
use super::nvram::Variables;
use super::{Quirk, esp, var_file};

/// Marks the entries that EDK2 made by itself (`mAutoCreateBootOptionGuid`), in the optional data.
const MADE_BY_FIRMWARE: [u8; 16] = [
    0x4e, 0xac, 0x08, 0x81, 0x11, 0x9f, 0x59, 0x4d, 0x85, 0x0e, 0xe2, 0x1a, 0x52, 0x2c, 0x59, 0xb2,
];
/// Numbers that no entry has, for a `BootOrder` that lists too many.
const DANGLING: [u16; 2] = [0x0abc, 0x0abd];

/// The whole disk, as OVMF calls a virtio one: `PciRoot(0x0)/Pci(0x2,0x0)`.
fn disk_path() -> Vec<Node> {
    vec![
        Node::Other(2, 1, vec![0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0]),
        Node::Other(1, 1, vec![0x00, 0x02]),
    ]
}

/// Whether an entry means the disk as a whole, so that its removable-media loader starts.
pub(super) fn is_whole_disk(entry: &LoadOption) -> bool {
    entry.path == disk_path()
}

/// The firmware's own entry for the disk.
pub(super) fn disk_entry() -> LoadOption {
    LoadOption {
        attributes: ACTIVE,
        description: "UEFI Misc Device".to_owned(),
        path: disk_path(),
        optional: MADE_BY_FIRMWARE.to_vec(),
    }
}

/// An entry for the network, where nothing answers: `PciRoot(0x0)/Pci(0x3,0x0)/MAC()/IPv4()`.
pub(super) fn network_entry() -> LoadOption {
    let mut mac = vec![0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
    mac.resize(33, 0);
    LoadOption {
        attributes: ACTIVE,
        description: "UEFI PXEv4 (MAC:525400123456)".to_owned(),
        path: vec![
            Node::Other(2, 1, vec![0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0]),
            Node::Other(1, 1, vec![0x00, 0x03]),
            Node::Other(3, 11, mac),
            Node::Other(3, 12, vec![0; 23]),
        ],
        optional: MADE_BY_FIRMWARE.to_vec(),
    }
}

/// An entry for a file on the machine's ESP; `None` where the disk has none.
pub(super) fn file_entry(
    machine: &Machine<'_>,
    description: &str,
    file: &str,
) -> Option<LoadOption> {
    let esp = machine.disk.esp()?;
    let sector = machine.disk.sector;
    let drive = Node::HardDrive {
        number: esp.number,
        start: esp.start.checked_div(sector)?,
        size: esp.size.checked_div(sector)?,
        guid: esp.guid,
    };
    Some(LoadOption {
        attributes: ACTIVE,
        description: description.to_owned(),
        path: vec![drive, Node::File(file.to_owned())],
        optional: Vec::new(),
    })
}

/// Everything that happens to the variables before the first entry is tried. `remembered` is what
/// the firmware had when it last handed over.
pub(super) fn at_power_on(
    variables: &mut Variables,
    remembered: &Variables,
    machine: &Machine<'_>,
    quirks: &[Quirk],
) {
    let has = |quirk| quirks.contains(&quirk);
    if has(Quirk::VolatileWrites) {
        variables.clone_from(remembered);
    }
    if has(Quirk::VariablesInFile) {
        var_file::at_power_on(variables, remembered, &machine.esp);
    }
    if has(Quirk::LoseNvram) {
        *variables = Variables::default();
    }
    variables.reset();
    if has(Quirk::BootOrderLock)
        && let Some(order) = remembered.order()
    {
        variables.set_order(&order);
    }
    if has(Quirk::LoseEntries) {
        for number in variables.entries() {
            if variables.entry(number).is_some_and(|entry| entry.target().is_some()) {
                variables.remove(&format!("Boot{number:04X}"));
            }
        }
    }
    if has(Quirk::OtherLoaderFirst)
        && let Some(entry) =
            file_entry(machine, "Windows Boot Manager", "\\EFI\\Microsoft\\Boot\\bootmgfw.efi")
    {
        variables.set_entry(0, &entry);
        put_first(variables, 0);
    }
    if has(Quirk::StaleEntry) {
        put_stale_entry_first(variables, machine);
    }
    if has(Quirk::CutDescriptions) {
        cut_descriptions(variables);
    }
    remove_entries(variables, machine, quirks);
    if has(Quirk::MissingBootOrder) {
        variables.remove("BootOrder");
        return;
    }
    if has(Quirk::FirmwareEntry)
        && let Some(entry) = file_entry(machine, "UEFI OS", &machine.removable_path())
    {
        let number = number_of(variables, |other| other.path == entry.path)
            .unwrap_or_else(|| variables.free_number());
        variables.set_entry(number, &entry);
        put_first(variables, number);
    }
    let own = own_entry_listed(variables);
    if has(Quirk::RestoreOrder) {
        let rest = variables.entries().into_iter().filter(|number| *number != own);
        let order: Vec<_> = std::iter::once(own).chain(rest).collect();
        variables.set_order(&order);
    }
}

/// Descriptions end at their first space.
fn cut_descriptions(variables: &mut Variables) {
    for number in variables.entries() {
        let Some(mut entry) = variables.entry(number) else { continue };
        if let Some((first, _)) = entry.description.split_once(' ') {
            entry.description = first.to_owned();
            variables.set_entry(number, &entry);
        }
    }
}

/// The faults by which entries disappear.
fn remove_entries(variables: &mut Variables, machine: &Machine<'_>, quirks: &[Quirk]) {
    let has = |quirk| quirks.contains(&quirk);
    let listed = variables.order().unwrap_or_default();
    let (mut paths, mut descriptions) = (Vec::new(), HashSet::new());
    for number in variables.entries() {
        let unlisted = !listed.contains(&number);
        if unlisted && has(Quirk::OverwriteUnlisted) {
            variables.set_entry(number, &network_entry());
            continue;
        }
        let entry = variables.entry(number);
        let path = entry.as_ref().map(|entry| entry.path.clone());
        let description = entry.as_ref().map(|entry| entry.description.clone());
        let duplicate = path.is_some() && paths.contains(&path);
        paths.push(path);
        let equal = description.is_some_and(|text| !descriptions.insert(text));
        let invalid = entry.is_some_and(|entry| leads_nowhere(&entry, machine));
        if unlisted && has(Quirk::DropUnlisted)
            || duplicate && has(Quirk::DropDuplicates)
            || equal && has(Quirk::DropEqualDescriptions)
            || invalid && has(Quirk::DropInvalidPaths)
        {
            variables.remove_entry(number);
        }
    }
}

/// Whether an entry names a partition or a file that is not there now.
fn leads_nowhere(entry: &LoadOption, machine: &Machine<'_>) -> bool {
    match entry.target() {
        Some((guid, file)) => {
            let file = file.unwrap_or_else(|| machine.removable_path());
            !machine.is_esp(guid) || esp::find(&machine.esp, &file).is_none()
        }
        None => false,
    }
}

/// An entry like one of this machine's, left over from a disk that had another ESP.
fn put_stale_entry_first(variables: &mut Variables, machine: &Machine<'_>) {
    let Some(mut entry) = file_entry(machine, "Acme OS A", "\\EFI\\flipside\\boot-a.efi") else {
        return;
    };
    let ours = number_of(variables, |other| other.path == entry.path);
    if let Some(like) = ours.and_then(|number| variables.entry(number)) {
        entry = like;
    }
    for node in &mut entry.path {
        if let Node::HardDrive { guid, .. } = node {
            *guid = Uuid::from_u128(0x5741_1e00_0000_4000_8000_0000_0000_0001);
        }
    }
    let number = number_of(variables, |other| other.path == entry.path)
        .unwrap_or_else(|| variables.free_number());
    variables.set_entry(number, &entry);
    put_first(variables, number);
}

/// The firmware's own entry for the disk, which is added to the end of `BootOrder` where it does
/// not stand in it (EDK2, `EfiBootManagerRefreshAllBootOption`).
fn own_entry_listed(variables: &mut Variables) -> u16 {
    let number = number_of(variables, is_whole_disk).unwrap_or_else(|| {
        let number = variables.free_number();
        variables.set_entry(number, &disk_entry());
        number
    });
    let mut order = variables.order().unwrap_or_default();
    if !order.contains(&number) {
        order.push(number);
        variables.set_order(&order);
    }
    number
}

fn number_of(variables: &Variables, wanted: impl Fn(&LoadOption) -> bool) -> Option<u16> {
    variables.entries().into_iter().find(|n| variables.entry(*n).is_some_and(|e| wanted(&e)))
}

fn put_first(variables: &mut Variables, number: u16) {
    let mut order = variables.order().unwrap_or_default();
    order.retain(|other| *other != number);
    order.insert(0, number);
    variables.set_order(&order);
}

/// What the OS gets to see of the variables.
pub(super) fn at_handover(variables: &mut Variables, quirks: &[Quirk]) {
    let has = |quirk| quirks.contains(&quirk);
    let order = variables.order();
    if has(Quirk::WrongBootCurrent)
        && let Some(first) = order.as_ref().and_then(|order| order.first())
    {
        variables.set_current(*first);
    }
    if has(Quirk::NoBootCurrent) {
        variables.remove("BootCurrent");
    }
    damage_order(variables, order, quirks);
    if has(Quirk::VariablesInFile) {
        var_file::at_handover(variables);
    }
}

/// The faults of `BootOrder` that the OS gets to see.
fn damage_order(variables: &mut Variables, order: Option<Vec<u16>>, quirks: &[Quirk]) {
    let has = |quirk| quirks.contains(&quirk);
    let Some(mut order) = order else { return };
    if has(Quirk::DanglingBootOrder) {
        let [front, back] = DANGLING;
        order.retain(|number| !DANGLING.contains(number));
        order.insert(0, front);
        order.push(back);
        variables.set_order(&order);
    }
    if has(Quirk::OddBootOrder) {
        let mut data: Vec<u8> = order.iter().flat_map(|number| number.to_le_bytes()).collect();
        data.push(0);
        variables.set("BootOrder", &data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_for_the_disk_is_the_one_that_ovmf_makes() {
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/efivars-ovmf/Boot0002-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        );
        let variable = std::fs::read(fixture).unwrap();
        assert_eq!(LoadOption::parse(&variable[4..]).unwrap(), disk_entry());
        assert!(is_whole_disk(&disk_entry()) && !is_whole_disk(&network_entry()));
    }
}
