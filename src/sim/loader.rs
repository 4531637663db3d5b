// SPDX-License-Identifier: MIT OR Apache-2.0

//! systemd-boot, played: which entry of `loader/entries` it starts with nobody at the keyboard.
//!
//! As in systemd 252 to 260 (boot.c): entries of Boot Loader Specification type 1 with an `efi`
//! or `linux` file, their tries counted in their names. Not played, because no flipside host
//! has them: type 2 entries (`EFI/Linux`), and entries that it finds by itself.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::{Quirk, esp, nvram::Variables, version};

const DIRECTORY: &str = "loader/entries";

/// An entry file that systemd-boot renamed in the course of a power-on, relative to the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rename {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
}

/// `+LEFT-DONE` in a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tries {
    left: u64,
    done: u64,
}

/// An entry that systemd-boot lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The file's name in lower case: what `LoaderEntrySelected` says.
    pub(super) id: String,
    /// The program that it starts, with backslashes.
    pub(super) program: String,
    /// As the directory has it.
    file: String,
    tries: Option<Tries>,
    is_linux: bool,
    sort_key: Option<String>,
    machine_id: String,
    version: String,
}

/// The entry that boots; `None` where systemd-boot shows its menu and waits.
pub(super) fn choose(
    esp: &Path,
    variables: &mut Variables,
    renames: &[Rename],
    quirks: &[Quirk],
) -> Option<Entry> {
    let entries = listed(esp, renames, quirks);
    let once = variables.loader_text("LoaderEntryOneShot");
    variables.remove_loader_text("LoaderEntryOneShot");
    // From 260 on: what is preferred outranks the default, and passes over used up entries.
    let preferred = [variables.loader_text("LoaderEntryPreferred"), configured(esp, "preferred")];
    let default = [variables.loader_text("LoaderEntryDefault"), configured(esp, "default")];
    let wishes = std::iter::once((once, false))
        .chain(preferred.map(|pattern| (pattern, true)))
        .chain(default.map(|pattern| (pattern, false)));
    let wished = wishes
        .filter_map(|(pattern, good)| Some((pattern?.to_lowercase(), good)))
        .find_map(|(pattern, good)| {
            let is_it = |entry: &&Entry| {
                matches(pattern.as_bytes(), entry.id.as_bytes()) && !(good && entry.is_used_up())
            };
            entries.iter().find(is_it)
        });
    wished.or(entries.first()).cloned()
}

/// `key` in loader.conf.
fn configured(esp: &Path, key: &str) -> Option<String> {
    let text = read_text(&esp::find(esp, "\\loader\\loader.conf")?)?;
    lines(&text).filter(|(found, _)| *found == key).last().map(|(_, value)| value.to_owned())
}

impl Entry {
    /// Whether it was asked for by a count that is not used up.
    pub(super) fn is_tried(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left > 0)
    }

    /// Whether its tries are used up: what is called a bad entry.
    fn is_used_up(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }

    /// The rename that counts this start of the entry (`boot_entry_bump_counters`). From 258 on
    /// systemd-boot counts none of `efi` entries.
    pub(super) fn count(&self, quirks: &[Quirk]) -> Option<Rename> {
        let tries = self.tries.filter(|_| self.is_linux || !quirks.contains(&Quirk::NewLoader))?;
        if quirks.contains(&Quirk::RenameLost) {
            return None;
        }
        let (prefix, _) = self.file.rsplit_once('+')?;
        let (left, done) = (tries.left.saturating_sub(1), tries.done.saturating_add(1));
        let directory = Path::new(DIRECTORY);
        let to = directory.join(format!("{prefix}+{left}-{done}.conf"));
        Some(Rename { from: directory.join(&self.file), to })
    }
}

impl Rename {
    /// Does it, or what a power cut in it leaves.
    pub(super) fn apply(&self, esp: &Path, quirks: &[Quirk]) -> std::io::Result<()> {
        let (from, to) = (esp.join(&self.from), esp.join(&self.to));
        if quirks.contains(&Quirk::RenameTorn) {
            std::fs::remove_file(from)
        } else if quirks.contains(&Quirk::RenameDoubled) {
            std::fs::copy(from, to).map(|_| ())
        } else {
            std::fs::rename(from, to)
        }
    }
}

/// The count at the end of a name, behind its last `+`; none where anything else stands there.
fn tries(file: &str) -> Option<Tries> {
    let (_, count) = file.rsplit_once('+')?;
    let count = count.get(..count.len().checked_sub(5)?)?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u32>().ok().map(u64::from),
        false => None,
    };
    match count.split_once('-') {
        Some((left, done)) => Some(Tries { left: number(left)?, done: number(done)? }),
        None => Some(Tries { left: number(count)?, done: 0 }),
    }
}

/// The entries in the order of the menu. Files stand under the names that `renames` gave them.
pub(super) fn listed(esp: &Path, renames: &[Rename], quirks: &[Quirk]) -> Vec<Entry> {
    let Ok(files) = std::fs::read_dir(esp.join(DIRECTORY)) else { return Vec::new() };
    let mut entries: Vec<_> = files
        .filter_map(|file| {
            let path = file.ok()?.path();
            let mut name = PathBuf::from(DIRECTORY).join(path.file_name()?);
            for rename in renames.iter().filter(|_| !quirks.contains(&Quirk::RenameTorn)) {
                if rename.from == name {
                    name.clone_from(&rename.to);
                }
            }
            let file = name.file_name()?.to_str()?.to_owned();
            let mut id = file.to_lowercase();
            let named = id.ends_with(".conf") && !id.starts_with('.') && !id.starts_with("auto-");
            if !named {
                return None;
            }
            let tries = tries(&file);
            if tries.is_some() && quirks.contains(&Quirk::NewLoader) {
                // Since systemd#38897 an entry is called what it is without a count.
                id = format!("{}.conf", id.rsplit_once('+')?.0);
            }
            let entry = Entry { file, tries, ..parse(id, &read_text(&path)?)? };
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
            "efi" | "linux" => {
                entry.program = value.replace('/', "\\");
                entry.is_linux = key == "linux";
            }
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
    let by_tries = a.is_used_up().cmp(&b.is_used_up());
    let by_key = match (&a.sort_key, &b.sort_key) {
        (Some(key_a), Some(key_b)) => key_a
            .cmp(key_b)
            .then_with(|| a.machine_id.cmp(&b.machine_id))
            .then_with(|| version::compare(&b.version, &a.version)),
        (a, b) => a.is_none().cmp(&b.is_none()),
    };
    let more = |entry: &Entry| entry.tries.map_or((0, 0), |t| (u64::MAX - t.left, t.done));
    by_tries
        .then(by_key)
        .then_with(|| version::compare(&b.id, &a.id))
        .then_with(|| more(a).cmp(&more(b)))
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
        choose(directory.path(), &mut Variables::default(), &[], &[]).map(|entry| entry.id)
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
        assert_eq!(
            choose(directory.path(), &mut variables, &[], &[]).unwrap().id,
            "flipside-b.conf"
        );
        assert_eq!(
            choose(directory.path(), &mut variables, &[], &[]).unwrap().id,
            "flipside-a.conf"
        );
    }

    #[test]
    fn a_preferred_entry_comes_before_the_default_unless_it_is_used_up() {
        let a = entry_a("sort-key 0\nefi /EFI/flipside/boot-a.efi");
        let b = entry_b("sort-key 1\nefi /EFI/flipside/boot-b.efi");
        let used_up = ("loader/entries/other+0-1.conf", "efi /EFI/flipside/boot-b.efi");
        let files = [A, B, a, b, used_up];
        for (variable, text, expected) in [
            ("", "preferred flipside-b*\ndefault flipside-a*\n", "flipside-b.conf"),
            ("flipside-b.conf", "preferred flipside-a*\n", "flipside-b.conf"),
            ("gone-*", "preferred flipside-b.conf\n", "flipside-b.conf"),
            ("gone-*", "preferred gone-*\n", "flipside-a.conf"),
            ("other*", "", "flipside-a.conf"),
            ("other*", "default other*\n", "other+0-1.conf"),
        ] {
            let files = [files.as_slice(), &[("loader/loader.conf", text)]].concat();
            let directory = esp_with(&files);
            let mut variables = Variables::default();
            variables.set_loader_text("LoaderEntryPreferred", variable);
            let chosen = choose(directory.path(), &mut variables, &[], &[]).unwrap();
            assert_eq!(chosen.id, expected, "{variable} {text}");
        }
    }

    #[test]
    fn an_entry_with_tries_left_boots_by_its_key_and_a_used_up_one_comes_last() {
        let trial = "sort-key flipside\nlinux /EFI/flipside/boot-b.efi\n";
        let a = entry_a("sort-key flipside-0\nefi /EFI/flipside/boot-a.efi\n");
        let b = entry_b("sort-key flipside-1\nefi /EFI/flipside/boot-b.efi\n");
        for (name, expected, next) in [
            ("flipside-b+1.conf", "flipside-b+1.conf", Some("flipside-b+0-1.conf")),
            ("flipside-b+2-3.conf", "flipside-b+2-3.conf", Some("flipside-b+1-4.conf")),
            ("flipside-b+0-1.conf", "flipside-a.conf", None),
            ("flipside-b+0.conf", "flipside-a.conf", None),
            // No count: an entry like others, and the first by its key.
            ("flipside-b+x.conf", "flipside-b+x.conf", None),
        ] {
            let path = format!("loader/entries/{name}");
            let directory = esp_with(&[A, B, a, b, (&path, trial)]);
            let esp = directory.path();
            let chosen = choose(esp, &mut Variables::default(), &[], &[]).unwrap();
            assert_eq!(chosen.id, expected);
            let rename = chosen.count(&[]);
            let to = rename.as_ref().map(|rename| rename.to.file_name().unwrap().to_str().unwrap());
            assert_eq!(to, next, "{name}");
            let Some(rename) = rename else { continue };
            let renamed = listed(esp, std::slice::from_ref(&rename), &[]);
            assert!(renamed.iter().any(|entry| Some(entry.file.as_str()) == next));
            rename.apply(esp, &[]).unwrap();
            assert_eq!(listed(esp, &[], &[]), renamed);
            assert_eq!(chosen.count(&[Quirk::RenameLost]), None);
        }
    }

    #[test]
    fn a_new_systemd_boot_counts_no_efi_entries_and_leaves_counts_out_of_names() {
        for (key, counted) in [("linux", true), ("efi", false)] {
            let text = format!("sort-key flipside\n{key} /EFI/flipside/boot-b.efi\n");
            let directory = esp_with(&[B, ("loader/entries/flipside-b+1.conf", &text)]);
            let quirks = [Quirk::NewLoader];
            let entry = choose(directory.path(), &mut Variables::default(), &[], &quirks).unwrap();
            assert_eq!(entry.id, "flipside-b.conf");
            assert_eq!(entry.count(&quirks).is_some(), counted, "{key}");
            assert!(entry.count(&[]).is_some(), "{key}");
        }
    }
}
