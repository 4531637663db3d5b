// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `fsck.vfat -a` makes of clusters that no name leads to, as each boot after a power cut
//! does: files `FSCK0000.REC` in the root (dosfstools, `check.c`). A boot file that was being
//! written comes back so, and with it there is room for no other.

use std::path::{Path, PathBuf};

use super::{Esp, EspError, RESERVE};

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

    /// Whether `needed` bytes for `file` are free, or would be once they are removed.
    ///
    /// # Errors
    /// [`EspError::Full`], [`EspError::Read`].
    pub(super) fn check_free(&self, file: &Path, needed: u64) -> Result<(), EspError> {
        let free = self.free_bytes()?;
        match free < needed && free.saturating_add(self.salvaged().1) < needed {
            true => Err(EspError::Full { file: file.to_owned(), free, needed }),
            false => Ok(()),
        }
    }

    /// Removes them before a file of `size` bytes is written that may not have room otherwise.
    pub(super) fn make_room_for(&self, size: u64) {
        let needed = size.saturating_add(RESERVE);
        if self.free_bytes().is_ok_and(|free| free < needed) {
            self.remove_salvaged();
        }
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
