// SPDX-License-Identifier: MIT OR Apache-2.0

//! The removable-media loader: what it is, told by what stands in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Esp, EspError};

/// systemd-boot has 100 to 300 KiB; of what is longer the rest is not looked at.
const MAX_SIZE: u64 = 4 << 20;

/// What systemd-boot says of itself in its section `.sdmagic` (boot.c, "Magic string for
/// recognizing our own binaries"); `bootctl` looks for it in the same way.
const MAGIC: &[u8] = b"#### LoaderInfo: systemd-boot ";
const MAGIC_END: &[u8] = b" ####";

/// The version of the systemd-boot that a program is; `None` where it is something else.
pub fn systemd_boot_version(program: &[u8]) -> Option<String> {
    let at = program.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let rest = program.get(at.saturating_add(MAGIC.len())..)?;
    let end = rest.windows(MAGIC_END.len()).take(100).position(|window| window == MAGIC_END)?;
    let version = std::str::from_utf8(rest.get(..end)?).ok()?;
    (!version.is_empty() && !version.contains(char::is_control)).then(|| version.to_owned())
}

impl Esp {
    /// The removable-media loader, relative to the ESP.
    pub fn removable_loader_name(&self) -> PathBuf {
        Path::new("EFI/BOOT").join(self.architecture.removable_media_file())
    }

    /// The version of the removable-media loader; `None` where it is missing or no systemd-boot.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn removable_loader_version(&self) -> Result<Option<String>, EspError> {
        let bytes = self.read_program(&self.removable_loader_name())?;
        Ok(bytes.and_then(|bytes| systemd_boot_version(&bytes)))
    }

    /// A program on the ESP; `None` where there is none.
    pub(super) fn read_program(&self, name: &Path) -> Result<Option<Vec<u8>>, EspError> {
        let file = match File::open(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| self.read_error(name, error))?,
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_SIZE).read_to_end(&mut bytes);
        read.map_err(|error| self.read_error(name, error))?;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_boot_is_known_by_its_magic() {
        for (program, expected) in [
            (
                "MZ....#### LoaderInfo: systemd-boot 252.39-1~deb12u2 ####..",
                Some("252.39-1~deb12u2"),
            ),
            ("#### LoaderInfo: systemd-boot 257 ####", Some("257")),
            ("#### LoaderInfo: systemd-stub 252 ####", None),
            ("#### LoaderInfo: systemd-boot 252", None),
            ("#### LoaderInfo: systemd-boot  ####", None),
            ("MZ shim", None),
            ("", None),
        ] {
            let version = systemd_boot_version(program.as_bytes());
            assert_eq!(version.as_deref(), expected, "{program}");
        }
    }
}
