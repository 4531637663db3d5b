// SPDX-License-Identifier: MIT OR Apache-2.0

//! systemd-boot, played: which entry of `loader/entries` it starts with nobody at the keyboard.
//!
//! As in systemd 252 to 257 (boot.c): entries of Boot Loader Specification type 1 with an `efi`
//! or `linux` file. Not played, because no flipside host has them: type 2 entries
//! (`EFI/Linux`), boot counting, and entries that it finds by itself.

use std::cmp::Ordering;
use std::path::Path;

use super::{esp, nvram::Variables, version};

/// An entry that systemd-boot lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The file's name in lower case: what `LoaderEntrySelected` says.
    pub(super) id: String,
    /// The program that it starts, with backslashes.
    pub(super) program: String,
    sort_key: Option<String>,
    machine_id: String,
    version: String,
}

/// The entry that boots; `None` where systemd-boot shows its menu and waits.
pub(super) fn choose(esp: &Path, variables: &mut Variables) -> Option<Entry> {
    let entries = listed(esp);
    let once = variables.loader_text("LoaderEntryOneShot");
    variables.remove_loader_text("LoaderEntryOneShot");
    let wishes = [once, variables.loader_text("LoaderEntryDefault"), configured_default(esp)];
    let wished = wishes.into_iter().flatten().find_map(|pattern| {
        let pattern = pattern.to_lowercase();
        entries.iter().find(|entry| matches(pattern.as_bytes(), entry.id.as_bytes()))
    });
    wished.or(entries.first()).cloned()
}

/// `default` in loader.conf.
fn configured_default(esp: &Path) -> Option<String> {
    let text = read_text(&esp::find(esp, "\\loader\\loader.conf")?)?;
    lines(&text).filter(|(key, _)| *key == "default").last().map(|(_, value)| value.to_owned())
}

/// The entries in the order of the menu.
pub(super) fn listed(esp: &Path) -> Vec<Entry> {
    let Ok(files) = std::fs::read_dir(esp.join("loader/entries")) else { return Vec::new() };
    let mut entries: Vec<_> = files
        .filter_map(|file| {
            let path = file.ok()?.path();
            let id = path.file_name()?.to_str()?.to_lowercase();
            let named = id.ends_with(".conf") && !id.starts_with('.') && !id.starts_with("auto-");
            if !named {
                return None;
            }
            let entry = parse(id, &read_text(&path)?)?;
            // Its file has to be there; whether it is a program shows when it is started.
            esp::find(esp, &entry.program)?;
            Some(entry)
        })
        .collect();
    entries.sort_by(order);
    entries
}

/// `None` where it names nothing to start.
fn parse(id: String, text: &str) -> Option<Entry> {
    let mut entry = Entry { id, ..Entry::default() };
    for (key, value) in lines(text) {
        match key {
            "efi" | "linux" => entry.program = value.replace('/', "\\"),
            "sort-key" => entry.sort_key = Some(value.to_owned()),
            "machine-id" => entry.machine_id = value.to_owned(),
            "version" => entry.version = value.to_owned(),
            _ => {}
        }
    }
    (!entry.program.is_empty()).then_some(entry)
}

/// `config_entry_compare` of boot.c.
fn order(a: &Entry, b: &Entry) -> Ordering {
    let by_key = match (&a.sort_key, &b.sort_key) {
        (Some(key_a), Some(key_b)) => key_a
            .cmp(key_b)
            .then_with(|| a.machine_id.cmp(&b.machine_id))
            .then_with(|| version::compare(&b.version, &a.version)),
        (a, b) => a.is_none().cmp(&b.is_none()),
    };
    by_key.then_with(|| version::compare(&b.id, &a.id))
}

fn read_text(path: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(path).ok()?).ok()
}

/// Key and value of each line, as `line_get_key_value` of boot.c splits them.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.starts_with('#') {
            return None;
        }
        let (key, value) = line.split_once([' ', '\t'])?;
        let value = value.trim_matches([' ', '\t']);
        let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        Some((key, unquoted.unwrap_or(value)))
    })
}

/// `fnmatch` with `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, text),
        (Some((b'*', rest)), Some((_, behind))) => matches(rest, text) || matches(pattern, behind),
        (Some((b'?', rest)), Some((_, behind))) => matches(rest, behind),
        (Some((p, rest)), Some((t, behind))) => p == t && matches(rest, behind),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn esp_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    fn chosen(files: &[(&str, &str)]) -> Option<String> {
        let directory = esp_with(files);
        choose(directory.path(), &mut Variables::default()).map(|entry| entry.id)
    }

    const A: (&str, &str) = ("EFI/flipside/boot-a.efi", "");
    const B: (&str, &str) = ("EFI/flipside/boot-b.efi", "");

    fn entry_a(key: &str) -> (&str, &str) {
        ("loader/entries/flipside-a.conf", key)
    }

    fn entry_b(key: &str) -> (&str, &str) {
        ("loader/entries/flipside-b.conf", key)
    }

    #[test]
    fn the_lowest_sort_key_boots() {
        let (a0, a1) = (
            "title x\nsort-key flipside-0\nefi /EFI/flipside/boot-a.efi\n",
            "sort-key flipside-1\nefi /EFI/flipside/boot-a.efi\n",
        );
        let (b0, b1) = (
            "sort-key   flipside-0\nefi\t/EFI/flipside/boot-b.efi",
            "sort-key flipside-1\nefi /EFI/flipside/boot-b.efi\n",
        );
        let none = "efi /EFI/flipside/boot-b.efi\n";
        let missing = "sort-key 0\nefi /EFI/flipside/boot-c.efi\n";
        for (a, b, expected) in [
            (a0, b1, "flipside-a.conf"),
            (a1, b0, "flipside-b.conf"),
            // Nothing else tells them apart: the higher name is first.
            (a0, b0, "flipside-b.conf"),
            (a1, none, "flipside-a.conf"),
            (a1, missing, "flipside-a.conf"),
            (a1, "", "flipside-a.conf"),
            (a1, "#efi /EFI/flipside/boot-a.efi\n", "flipside-a.conf"),
        ] {
            assert_eq!(chosen(&[A, B, entry_a(a), entry_b(b)]).as_deref(), Some(expected), "{b}");
        }
        assert_eq!(chosen(&[A, B]), None);
    }

    #[test]
    fn a_wished_entry_comes_before_the_order() {
        let a = entry_a("sort-key 0\nefi /EFI/flipside/boot-a.efi");
        let b = entry_b("sort-key 1\nefi /EFI/flipside/boot-b.efi");
        let files = [A, B, a, b];
        let with = |default| {
            chosen(&[files.as_slice(), &[("loader/loader.conf", default)]].concat()).unwrap()
        };
        assert_eq!(with("timeout 0\n"), "flipside-a.conf");
        assert_eq!(with("default flipside-b*\n"), "flipside-b.conf");
        assert_eq!(with("default other-*\n"), "flipside-a.conf");
        let directory = esp_with(&files);
        let mut variables = Variables::default();
        variables.set_loader_text("LoaderEntryOneShot", "flipside-b.conf");
        assert_eq!(choose(directory.path(), &mut variables).unwrap().id, "flipside-b.conf");
        assert_eq!(choose(directory.path(), &mut variables).unwrap().id, "flipside-a.conf");
    }
}
