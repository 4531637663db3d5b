// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the firmware's variables say about the slot that runs (P1): each a fact, none a
//! verdict.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use uuid::Uuid;

use super::BootNumber;
use super::EfiError;
use super::entries::slot_of;
use super::variables::{GLOBAL_VARIABLE, LOADER_VARIABLE, Variables};
use crate::host::Slot;
use flipside_image::efi::device_path::{self, FilePath, Target};
use flipside_image::efi::load_option::LoadOption;
use flipside_image::efi::text;

/// A fact for people, and the slot that it names; many name none.
pub type Fact = (String, Option<Slot>);

/// The partition that this host was booted from, as the boot loader or else the stub says;
/// on most hosts it is the EFI system partition.
///
/// # Errors
/// [`EfiError::Read`].
pub fn esp_hint(variables: &Variables) -> Result<Option<Uuid>, EfiError> {
    for name in ["LoaderDevicePartUUID", "StubDevicePartUUID"] {
        if let Some(uuid) = partition(variables, name)? {
            return Ok(Some(uuid));
        }
    }
    Ok(None)
}

/// The facts: `StubImageIdentifier`, `LoaderEntrySelected`, `LoaderImageIdentifier`,
/// `BootCurrent`. What is said of another partition than `esp` names no slot; nor does what a
/// loader, or the stub of systemd 252, has left of an attempt that failed, where the firmware then
/// booted the other slot by itself. `esp_directory` is where the partition is mounted.
///
/// # Errors
/// [`EfiError::Read`].
pub fn evidence(
    variables: &Variables,
    esp: Uuid,
    esp_directory: &Path,
) -> Result<Vec<Fact>, EfiError> {
    let mut facts = Vec::new();
    let booted = boot_current(variables, esp)?;
    let booted_slot = booted.as_ref().and_then(|(_, slot)| *slot);
    for (name, partition_name) in [
        ("StubImageIdentifier", "StubDevicePartUUID"),
        ("LoaderEntrySelected", "LoaderDevicePartUUID"),
        ("LoaderImageIdentifier", "LoaderDevicePartUUID"),
    ] {
        let Some(value) = loader_text(variables, name)? else { continue };
        let partition = partition(variables, partition_name)?;
        let (mut fact, slot) = match name {
            "LoaderEntrySelected" => selected_entry(&value, esp_directory),
            _ => (format!("{name} is {value}"), slot_of(&FilePath::new(value))),
        };
        let is_here = partition.is_none_or(|uuid| uuid == esp);
        if !is_here {
            fact.push_str(" on another partition");
        }
        let is_left = name.starts_with("Loader") && booted_slot.is_some_and(|s| Some(s) != slot);
        if is_left && slot.is_some() {
            fact.push_str(", of an attempt before this boot");
        }
        facts.push((fact, slot.filter(|_| is_here && !is_left)));
    }
    facts.extend(booted);
    Ok(facts)
}

/// A variable of the loader's; `None` also where it is empty.
///
/// # Errors
/// [`EfiError::Read`].
pub fn loader_text(variables: &Variables, name: &str) -> Result<Option<String>, EfiError> {
    let variable = variables.read(name, LOADER_VARIABLE)?;
    let text = variable.map(|variable| text::printable(&text::decode(&variable.data)));
    Ok(text.filter(|text| !text.is_empty()))
}

/// What systemd-boot calls the entries that it found when it started this system; none where it did
/// not.
///
/// # Errors
/// [`EfiError::Read`].
pub fn loader_entries(variables: &Variables) -> Result<Vec<String>, EfiError> {
    let variable = variables.read("LoaderEntries", LOADER_VARIABLE)?;
    Ok(variable.map_or_else(Vec::new, |variable| text::list(&variable.data)))
}

fn partition(variables: &Variables, name: &str) -> Result<Option<Uuid>, EfiError> {
    Ok(loader_text(variables, name)?.and_then(|text| Uuid::try_parse(text.trim()).ok()))
}

/// The entry that systemd-boot started, and the boot file that its file names.
fn selected_entry(id: &str, esp_directory: &Path) -> Fact {
    match entry_boot_file(id, esp_directory) {
        Some(file) => {
            let slot = slot_of(&FilePath::new(file.as_str()));
            (format!("LoaderEntrySelected is {id}, which starts {file}"), slot)
        }
        None => (format!("LoaderEntrySelected is {id}"), None),
    }
}

fn entry_boot_file(id: &str, esp_directory: &Path) -> Option<String> {
    // It becomes a file name: no path may leave the directory.
    if id.starts_with('.') || id.contains(['/', '\\']) {
        return None;
    }
    let entries = esp_directory.join("loader/entries");
    // systemd-boot gives the file's name; loaders before 243 left out its suffix. One with a count
    // was renamed since; the slot's own has the same name without it.
    let uncounted = id.split_once('+').map(|(name, _)| format!("{name}.conf"));
    let file = [id.to_owned(), format!("{id}.conf")]
        .into_iter()
        .chain(uncounted)
        .filter(|name| name.ends_with(".conf"))
        .find_map(|name| File::open(entries.join(name)).ok())?;
    let mut entry = Vec::new();
    file.take(64 << 10).read_to_end(&mut entry).ok()?;
    String::from_utf8_lossy(&entry).lines().find_map(|line| {
        let (key, value) = line.trim().split_once([' ', '\t'])?;
        matches!(key, "efi" | "linux").then(|| text::printable(value.trim()))
    })
}

/// The first boot entry of a slot's boot file, whose partition may be gone.
pub fn own_entry(variables: &Variables) -> Option<String> {
    let mut names = variables.names(GLOBAL_VARIABLE).ok()?;
    names.retain(|name| BootNumber::from_variable(name).is_some());
    names.iter().find_map(|name| {
        let entry = variables.read(name, GLOBAL_VARIABLE).ok()??;
        let file = device_path::target(&LoadOption::parse(&entry.data)?.path).file()?;
        slot_of(&file).map(|_| format!("{name} of the firmware boots {file}"))
    })
}

fn boot_current(variables: &Variables, esp: Uuid) -> Result<Option<Fact>, EfiError> {
    let Some(current) = variables.read("BootCurrent", GLOBAL_VARIABLE)? else { return Ok(None) };
    let Some(number) = BootNumber::from_data(&current.data) else {
        return Ok(Some(("BootCurrent is malformed".to_owned(), None)));
    };
    let Some(variable) = variables.read(&number.variable(), GLOBAL_VARIABLE)? else {
        return Ok(Some((format!("BootCurrent is {number}, which does not exist"), None)));
    };
    let Some(option) = LoadOption::parse(&variable.data) else {
        return Ok(Some((format!("BootCurrent is {number}, which is malformed"), None)));
    };
    Ok(Some(match device_path::target(&option.path) {
        Target::Partition { partition, file: Some(file) } if partition.uuid == esp => {
            let fact = format!("BootCurrent is {number}, {}", text::printable(&file.to_string()));
            (fact, slot_of(&file))
        }
        _ => (format!("BootCurrent is {number}, {:?}", text::printable(&option.description)), None),
    }))
}
