// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `fsck.vfat -a` makes of clusters that no name leads to, as each boot after a power cut
//! does: files `FSCK0000.REC` in the root (dosfstools, `check.c`). A boot file that was being
//! written comes back so, and with it there is room for no other.

use std::path::PathBuf;

use super::Esp;

impl Esp {
    /// They, and how many bytes they have.
    fn salvaged(&self) -> (Vec<PathBuf>, u64) {
        let (mut names, mut bytes) = (Vec::new(), 0_u64);
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_file = entry.metadata().ok().filter(std::fs::Metadata::is_file);
            if let Some(file) = is_file
                && name.to_str().is_some_and(is_salvaged)
            {
                names.push(PathBuf::from(name));
                bytes = bytes.saturating_add(file.len());
            }
        }
        (names, bytes)
    }

    /// The bytes that [`Esp::remove_salvaged`] would free.
    pub(super) fn salvaged_bytes(&self) -> u64 {
        self.salvaged().1
    }

    /// Removes them; whoever needs their room finds out whether it worked.
    pub(super) fn remove_salvaged(&self) {
        for name in self.salvaged().0 {
            match self.remove_durably(&name) {
                Ok(()) => tracing::info!(
                    "removed {} from the EFI system partition: a remnant that fsck left there",
                    name.display()
                ),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
}

/// `FSCK` and four digits.
fn is_salvaged(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let number = name.strip_prefix("FSCK").and_then(|rest| rest.strip_suffix(".REC"));
    number.is_some_and(|n| n.len() == 4 && n.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_salvaged;

    #[test]
    fn only_what_fsck_makes_is_a_remnant() {
        for (name, expected) in [
            ("FSCK0000.REC", true),
            ("fsck0012.rec", true),
            ("FSCK000.REC", false),
            ("FSCK00000.REC", false),
            ("FSCK0000.REC.bak", false),
            ("XFSCK0000.REC", false),
            ("FSCK-001.REC", false),
            ("EFI", false),
        ] {
            assert_eq!(is_salvaged(name), expected, "{name}");
        }
    }
}
