// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may keep systemd-boot from going by the order of its entries: a pattern, in its settings or
//! in a firmware variable, that matches one of them (loader.conf(5), boot.c of systemd 260).

use std::path::Path;

use super::{Esp, EspError, Stored};
use crate::host::Slot;

/// Entries that systemd-boot may find by itself, wherever it looks for them.
const FOUND_BY_ITSELF: [&str; 4] =
    ["auto-osx", "auto-poweroff", "auto-reboot", "auto-reboot-to-firmware-setup"];

/// Directories with entries, and how the names of entries in them end.
const DIRECTORIES: [(&str, &str); 2] = [("loader/entries", ".conf"), ("EFI/Linux", ".efi")];

impl Esp {
    /// What `loader/loader.conf` gives to `key`.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn loader_setting(&self, key: &str) -> Result<Option<String>, EspError> {
        let Stored::Present(text) = self.read_small(Path::new("loader/loader.conf"))? else {
            return Ok(None);
        };
        Ok(setting(&String::from_utf8_lossy(&text), key))
    }

    /// Whether `pattern` matches an entry that systemd-boot has, or that flipside may make.
    /// `reported` are those that systemd-boot itself told of, which may stand elsewhere.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn is_loader_entry(&self, pattern: &str, reported: &[String]) -> Result<bool, EspError> {
        let pattern = pattern.to_lowercase();
        // The entry that was booted last, whichever that is.
        if pattern == "@saved" {
            return Ok(true);
        }
        let mut ids: Vec<String> = reported.to_vec();
        ids.extend(FOUND_BY_ITSELF.map(str::to_owned));
        for (file, id) in
            [("EFI/Microsoft/Boot/bootmgfw.efi", "auto-windows"), (self.shell(), "auto-efi-shell")]
        {
            ids.extend(self.path(Path::new(file)).exists().then(|| id.to_owned()));
        }
        for slot in Slot::BOTH.map(Slot::letter) {
            ids.extend(["", "+1", "+0-1"].map(|count| format!("flipside-{slot}{count}.conf")));
        }
        for (directory, suffix) in DIRECTORIES {
            let ours = self.names_in(Path::new(directory))?.into_iter().map(|n| n.to_lowercase());
            ids.extend(ours.filter(|name| name.ends_with(suffix)));
        }
        let is_it = |id: &String| matches(&pattern, id) || matches(&pattern, &uncounted(id));
        Ok(ids.iter().any(is_it))
    }

    fn names_in(&self, directory: &Path) -> Result<Vec<String>, EspError> {
        let failed = |error| self.read_error(directory, error);
        let files = match std::fs::read_dir(self.path(directory)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut names = Vec::new();
        for file in files {
            names.extend(file.map_err(failed)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    const fn shell(&self) -> &'static str {
        match self.architecture {
            flipside_image::Architecture::X86_64 => "shellx64.efi",
            flipside_image::Architecture::Aarch64 => "shellaa64.efi",
        }
    }
}

/// The last value of `key`, as `config_defaults_load_from_file` of boot.c takes it: of the values
/// that begin with `@` it knows one.
fn setting(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(|line| line.trim_matches([' ', '\t', '\r']));
    let pairs = lines.filter_map(|line| line.split_once([' ', '\t']));
    let values = pairs.filter(|(found, _)| *found == key).map(|(_, value)| {
        let value = value.trim_matches([' ', '\t']);
        value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
    });
    let is_known = |value: &&str| !value.starts_with('@') || value.eq_ignore_ascii_case("@saved");
    values.filter(|value| !value.is_empty()).rfind(is_known).map(str::to_owned)
}

/// What an entry is called since systemd 258: without its count.
fn uncounted(id: &str) -> String {
    match (id.rsplit_once('+'), id.rsplit_once('.')) {
        (Some((name, _)), Some((_, suffix))) => format!("{name}.{suffix}"),
        _ => id.to_owned(),
    }
}

/// What a pattern asks of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`: any number of characters.
    Some,
    /// `?`, and a set of characters: matching too much refuses, matching too little boots.
    One,
    Literal(char),
}

/// `efi_fnmatch`, by whose patterns systemd-boot finds entries. Takes no more than the product of
/// both lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let tokens = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut place) = (0, 0);
    // The last `*`, and how far it reaches: one character further each time what follows fails.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(place) {
        match tokens.get(at) {
            Some(Token::Some) => {
                star = Some((at, place));
                at = at.saturating_add(1);
            }
            Some(token) if *token == Token::One || *token == Token::Literal(*c) => {
                (at, place) = (at.saturating_add(1), place.saturating_add(1));
            }
            _ => {
                let Some((star_at, reach)) = star else { return false };
                star = Some((star_at, reach.saturating_add(1)));
                (at, place) = (star_at.saturating_add(1), reach.saturating_add(1));
            }
        }
    }
    tokens.iter().skip(at).all(|token| *token == Token::Some)
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Some,
            '?' => Token::One,
            '[' if rest.as_str().contains(']') => {
                rest.by_ref().find(|c| *c == ']');
                Token::One
            }
            '\\' => rest.next().map_or(Token::Literal('\\'), Token::Literal),
            c => Token::Literal(c),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_systemd_boot_has_them_match() {
        for (pattern, text, expected) in [
            ("flipside-a.conf", "flipside-a.conf", true),
            ("flipside-*", "flipside-b+1.conf", true),
            ("*", "", true),
            ("*-?.conf", "flipside-a.conf", true),
            ("a*b*c", "abxbxc", true),
            ("a*b*c", "abxbx", false),
            ("flipside-[ab].conf", "flipside-b.conf", true),
            ("flipside-[ab", "flipside-[ab", true),
            ("flipside-\\*", "flipside-*", true),
            ("flipside-\\*", "flipside-a", false),
            ("fedora.conf", "flipside-a.conf", false),
            ("flipside-a", "flipside-a.conf", false),
            ("?", "", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_last_value_that_systemd_boot_knows_counts() {
        for (text, expected) in [
            ("timeout 0\n", None),
            ("preferred a.conf\npreferred\tb.conf\r\n", Some("b.conf")),
            ("  preferred   \"a b.conf\"  \n", Some("a b.conf")),
            ("#preferred a.conf\ndefault b.conf\npreferred\n", None),
            ("preferred @SAVED\n", Some("@SAVED")),
            ("preferred a.conf\npreferred @other\n", Some("a.conf")),
        ] {
            assert_eq!(setting(text, "preferred").as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_takes_for_ever(pattern in "[a*?\\[\\]]{0,200}", text in "a{0,200}") {
            matches(&pattern, &text);
        }

        #[test]
        fn a_name_matches_itself(name in "[a-z0-9.+-]{1,40}") {
            prop_assert!(matches(&name, &name) && matches("*", &name));
        }
    }
}
