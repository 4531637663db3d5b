// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may keep systemd-boot from going by the order of its entries: a pattern, in its settings or
//! in a firmware variable, that matches one of them (loader.conf(5), boot.c of systemd 260).

use std::path::Path;

use super::{Esp, EspError, Stored};
use crate::host::Slot;
use flipside_image::systemd_boot::{matches, setting, uncounted};

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
