// SPDX-License-Identifier: MIT OR Apache-2.0

//! The firmware's variables: in memory while it plays, as files in efivarfs' format (4 bytes of
//! attributes, then data) for the OS.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::load_option::{LoadOption, ucs2};

/// `EFI_GLOBAL_VARIABLE` (UEFI 2.10, section 3.3).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The vendor of systemd's boot loader interface.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

const NON_VOLATILE: u32 = 1;
/// `BOOTSERVICE_ACCESS` and `RUNTIME_ACCESS`.
const ACCESS: u32 = 2 | 4;

/// All variables: name and vendor as efivarfs calls the file, attributes and data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Variables(BTreeMap<String, Vec<u8>>);

/// `Boot####` of `number`.
fn entry_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

fn global(name: &str) -> String {
    format!("{name}-{GLOBAL}")
}

fn with_attributes(attributes: u32, data: &[u8]) -> Vec<u8> {
    [&attributes.to_le_bytes(), data].concat()
}

impl Variables {
    /// What `directory` holds; nothing where it does not exist.
    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        let mut all = BTreeMap::new();
        match std::fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry?;
                    if let Ok(name) = entry.file_name().into_string() {
                        all.insert(name, std::fs::read(entry.path())?);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self(all))
    }

    /// Makes `directory` hold exactly these.
    pub(super) fn store(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let old = Self::load(directory)?;
        for name in old.0.keys().filter(|name| !self.0.contains_key(*name)) {
            std::fs::remove_file(directory.join(name))?;
        }
        for (name, value) in self.0.iter().filter(|(name, value)| old.0.get(*name) != Some(value)) {
            std::fs::write(directory.join(name), value)?;
        }
        Ok(())
    }

    /// As the text that `sim.json` keeps.
    pub(super) fn to_hex(&self) -> BTreeMap<String, String> {
        let hex = |value: &Vec<u8>| value.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.iter().map(|(name, value)| (name.clone(), hex(value))).collect()
    }

    /// The inverse of [`Variables::to_hex`]; `None` for other text.
    pub(super) fn from_hex(all: &BTreeMap<String, String>) -> Option<Self> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes = |text: &String| text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<_>>>();
        all.iter()
            .map(|(name, text)| Some((name.clone(), bytes(text)?)))
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Each variable: name and vendor, attributes and data.
    pub(super) fn files(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.0.iter()
    }

    /// Attributes and data of the variable that efivarfs calls `file`.
    pub(super) fn file(&self, file: &str) -> Option<&[u8]> {
        self.0.get(file).map(Vec::as_slice)
    }

    /// Sets it.
    pub(super) fn set_file(&mut self, file: &str, value: Vec<u8>) {
        self.0.insert(file.to_owned(), value);
    }

    /// Removes it.
    pub(super) fn remove_file(&mut self, file: &str) {
        self.0.remove(file);
    }

    /// Forgets what does not survive a reset.
    pub(super) fn reset(&mut self) {
        self.0.retain(|_, value| {
            value.first().is_some_and(|byte| u32::from(*byte) & NON_VOLATILE != 0)
        });
    }

    /// The data of a variable of the firmware's own vendor.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(&global(name))?.get(4..)
    }

    /// Sets a variable of the firmware's own vendor.
    pub(super) fn set(&mut self, name: &str, data: &[u8]) {
        self.0.insert(global(name), with_attributes(NON_VOLATILE | ACCESS, data));
    }

    /// Removes a variable of the firmware's own vendor.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(&global(name));
    }

    /// Sets a text of the boot loader's or the stub's, until the next reset.
    pub(super) fn set_loader_text(&mut self, name: &str, text: &str) {
        self.0.insert(format!("{name}-{LOADER}"), with_attributes(ACCESS, &ucs2(text)));
    }

    /// A text of the boot loader's vendor.
    pub(super) fn loader_text(&self, name: &str) -> Option<String> {
        let data = self.0.get(&format!("{name}-{LOADER}"))?.get(4..)?;
        Some(super::load_option::from_ucs2(data))
    }

    /// Removes a variable of the boot loader's vendor.
    pub(super) fn remove_loader_text(&mut self, name: &str) {
        self.0.remove(&format!("{name}-{LOADER}"));
    }

    /// Says which entry boots, until the next reset.
    pub(super) fn set_current(&mut self, number: u16) {
        self.0.insert(global("BootCurrent"), with_attributes(ACCESS, &number.to_le_bytes()));
    }

    /// A boot entry; `None` where there is none, or none that can be read.
    pub(super) fn entry(&self, number: u16) -> Option<LoadOption> {
        LoadOption::parse(self.get(&entry_name(number))?)
    }

    /// Writes a boot entry.
    pub(super) fn set_entry(&mut self, number: u16, entry: &LoadOption) {
        if let Some(data) = entry.to_bytes() {
            self.set(&entry_name(number), &data);
        }
    }

    /// Removes a boot entry, also from `BootOrder`.
    pub(super) fn remove_entry(&mut self, number: u16) {
        self.remove(&entry_name(number));
        if let Some(mut order) = self.order() {
            order.retain(|n| *n != number);
            self.set_order(&order);
        }
    }

    /// The numbers of all boot entries, readable or not, ascending.
    pub(super) fn entries(&self) -> Vec<u16> {
        let number = |name: &String| {
            let digits = name.strip_prefix("Boot")?.strip_suffix(GLOBAL)?.strip_suffix('-')?;
            (digits.len() == 4).then(|| u16::from_str_radix(digits, 16).ok())?
        };
        self.0.keys().filter_map(number).collect()
    }

    /// The lowest number that no entry has.
    pub(super) fn free_number(&self) -> u16 {
        let taken = self.entries();
        (0..=u16::MAX).find(|n| !taken.contains(n)).unwrap_or(u16::MAX)
    }

    /// `BootOrder`; an odd last byte is passed over.
    pub(super) fn order(&self) -> Option<Vec<u16>> {
        Some(numbers(self.get("BootOrder")?))
    }

    /// Sets `BootOrder`.
    pub(super) fn set_order(&mut self, order: &[u16]) {
        let data: Vec<u8> = order.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.set("BootOrder", &data);
    }

    /// `BootNext`.
    pub(super) fn next(&self) -> Option<u16> {
        numbers(self.get("BootNext")?).first().copied()
    }
}

fn numbers(data: &[u8]) -> Vec<u16> {
    data.chunks_exact(2).filter_map(|p| p.try_into().ok().map(u16::from_le_bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_survive_the_way_through_files_and_through_text() {
        let directory = tempfile::tempdir().unwrap();
        let mut variables = Variables::default();
        variables.set_order(&[3, 0x1f]);
        variables.set_loader_text("LoaderInfo", "x");
        variables.store(directory.path()).unwrap();
        assert_eq!(Variables::load(directory.path()).unwrap(), variables);
        assert_eq!(Variables::from_hex(&variables.to_hex()).unwrap(), variables);
        variables.remove("BootOrder");
        variables.store(directory.path()).unwrap();
        assert_eq!(Variables::load(directory.path()).unwrap(), variables);
    }

    #[test]
    fn a_reset_forgets_what_is_volatile() {
        let mut variables = Variables::default();
        variables.set_order(&[1]);
        variables.set_current(1);
        variables.set_loader_text("LoaderInfo", "x");
        variables.reset();
        assert_eq!(variables.order(), Some(vec![1]));
        assert_eq!(variables.get("BootCurrent"), None);
        assert_eq!(variables.loader_text("LoaderInfo"), None);
    }

    #[test]
    fn only_entries_with_four_digits_are_entries() {
        let mut variables = Variables::default();
        for name in ["Boot0000", "Boot001F", "BootOrder", "BootNext", "BootCurrent", "Boot12"] {
            variables.set(name, &[0]);
        }
        assert_eq!(variables.entries(), [0, 0x1f]);
        assert_eq!(variables.free_number(), 1);
        assert_eq!(variables.entry(0), None, "unreadable");
    }
}
