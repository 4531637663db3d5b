// SPDX-License-Identifier: MIT OR Apache-2.0

//! U-Boot with `EFI_RT_VOLATILE_STORE`: its variables are in memory, come from a file on the ESP at
//! power-on, and are what the OS reads of `VarToFile` and has to write to that file (U-Boot,
//! `efi_var_common.c`, `efi_var_file.c`; EBBR, "File format for storing EFI variables").

use std::path::Path;

use super::nvram::Variables;
use super::{Quirk, esp};

/// The file, in the root of the ESP.
pub(super) const FILE: &str = "ubootefi.var";
const VENDOR: &str = "b2ac5fc9-92b7-4acd-aeac-11e818c3130c";
const HEADER: usize = 24;
const ENTRY_HEADER: usize = 32;
/// `EFI_VARIABLE_BOOTSERVICE_ACCESS`, `EFI_VARIABLE_RUNTIME_ACCESS`.
const VOLATILE: [u8; 4] = [6, 0, 0, 0];

fn name(variable: &str) -> String {
    format!("{variable}-{VENDOR}")
}

/// The variables that this firmware has at power-on.
pub(super) fn at_power_on(variables: &mut Variables, remembered: &Variables, directory: &Path) {
    let stored = esp::find(directory, FILE).and_then(|path| std::fs::read(path).ok());
    let offered = |of: &Variables| of.file(&name("VarToFile")).map(<[u8]>::to_vec);
    let (before, now) = (offered(remembered), offered(variables));
    // In a directory nobody answers who reads VarToFile, unless a test does: it stays what it was
    // when the firmware handed over. Whoever made the file hold that has kept the variables.
    let is_kept = now.is_some()
        && now == before
        && now.as_deref().and_then(|bytes| bytes.get(4..)) == stored.as_deref();
    if !is_kept {
        *variables = stored.and_then(|bytes| decode(&bytes)).unwrap_or_default();
    }
    variables.remove_file(&name("VarToFile"));
    variables.remove_file(&name("RTStorageVolatile"));
}

/// What the OS gets to see.
pub(super) fn at_handover(variables: &mut Variables) {
    let mut file_name = VOLATILE.to_vec();
    file_name.extend(FILE.bytes().chain([0]));
    variables.set_file(&name("RTStorageVolatile"), file_name);
    let offered = [&VOLATILE[..], &encode(variables)].concat();
    variables.set_file(&name("VarToFile"), offered);
}

/// What this firmware writes to the file before it starts the OS: it does so where it consumed
/// `BootNext`, and where there is no file.
pub(super) fn stored_at_boot(
    variables: &Variables,
    consumed_next: bool,
    directory: &Path,
    quirks: &[Quirk],
) -> Option<Vec<u8>> {
    let is_due = consumed_next || esp::find(directory, FILE).is_none();
    (quirks.contains(&Quirk::VariablesInFile) && is_due).then(|| encode(variables))
}

/// `VarToFile` as this firmware gives it while the OS runs, attributes and all: after the variable
/// `changed` got these bytes, attributes and data, or was removed. `None` for other firmware.
pub fn var_to_file(directory: &Path, changed: &str, bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut variables = Variables::load(&directory.join(super::machine::VARIABLES)).ok()?;
    variables.file(&name("VarToFile"))?;
    match bytes {
        Some(bytes) => variables.set_file(changed, bytes.to_vec()),
        None => variables.remove_file(changed),
    }
    Some([&VOLATILE[..], &encode(&variables)].concat())
}

/// Where [`var_to_file`] belongs, below the machine's directory.
pub fn var_to_file_path() -> String {
    format!("{}/{}", super::machine::VARIABLES, name("VarToFile"))
}

/// All variables that last, in the file's format.
fn encode(variables: &Variables) -> Vec<u8> {
    let mut entries = Vec::new();
    for (file, value) in variables.files() {
        let Some((attributes, data)) = value.split_first_chunk::<4>() else { continue };
        let Some((name, vendor)) = split(file).filter(|_| attributes[0] & 1 != 0) else { continue };
        let Ok(vendor) = uuid::Uuid::try_parse(vendor) else { continue };
        entries.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        entries.extend(attributes);
        entries.extend([0; 8]);
        entries.extend(vendor.to_bytes_le());
        entries.extend(super::load_option::ucs2(name));
        entries.extend(data);
        entries.resize(entries.len().next_multiple_of(8), 0);
    }
    let length = HEADER.saturating_add(entries.len());
    let mut file = [0; 8].to_vec();
    file.extend(0x0161_5669_6645_6255_u64.to_le_bytes());
    file.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    file.extend(crc32fast::hash(&entries).to_le_bytes());
    file.extend(entries);
    file
}

/// Name and vendor in the name of a file of efivarfs.
fn split(file: &str) -> Option<(&str, &str)> {
    let (name, vendor) = file.split_at_checked(file.len().checked_sub(37)?)?;
    Some((name, vendor.strip_prefix('-')?))
}

/// `efi_var_restore`: all of the file or nothing.
fn decode(file: &[u8]) -> Option<Variables> {
    let (header, mut rest) = file.split_at_checked(HEADER)?;
    let (start, sums) = header.split_at_checked(16)?;
    let mut expected = [0; 8].to_vec();
    expected.extend(b"UbEfiVa\x01");
    let number = |at: usize| Some(u32::from_le_bytes(*sums.get(at..)?.first_chunk()?));
    let is_whole = start == expected
        && usize::try_from(number(0)?).ok()? == file.len()
        && number(4)? == crc32fast::hash(rest);
    if !is_whole {
        return None;
    }
    let mut variables = Variables::default();
    while !rest.is_empty() {
        let (entry, behind) = rest.split_at_checked(ENTRY_HEADER)?;
        let length = u32::from_le_bytes(*entry.first_chunk()?);
        let vendor = uuid::Uuid::from_bytes_le(*entry.get(16..)?.first_chunk()?);
        let units = behind.chunks_exact(2).position(|unit| unit == [0, 0])?;
        let (text, data) = behind.split_at_checked(units.checked_add(1)?.checked_mul(2)?)?;
        let data = data.get(..usize::try_from(length).ok()?)?;
        let value = [entry.get(4..8)?, data].concat();
        let text = super::load_option::from_ucs2(text);
        variables.set_file(&format!("{text}-{vendor}"), value);
        let taken = ENTRY_HEADER.checked_add(units.checked_add(1)?.checked_mul(2)?)?;
        let taken = taken.checked_add(data.len())?.next_multiple_of(8);
        rest = rest.get(taken..)?;
    }
    Some(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_survives_the_way_through_the_file_and_a_damaged_file_holds_nothing() {
        let mut variables = Variables::default();
        variables.set_order(&[3, 0x1f]);
        variables.set("Boot0003", &[1, 2, 3]);
        variables.set_current(3);
        let file = encode(&variables);
        let back = decode(&file).unwrap();
        assert_eq!(back.order(), Some(vec![3, 0x1f]));
        assert_eq!(back.get("Boot0003"), Some(&[1, 2, 3][..]));
        assert_eq!(back.get("BootCurrent"), None);
        assert_eq!(encode(&back), file);
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "{at}");
        }
        assert_eq!(decode(&file[..file.len() - 1]), None);
    }
}
