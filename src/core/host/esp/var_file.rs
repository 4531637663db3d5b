// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file in which firmware that keeps no variables by itself finds them at its next start. It
//! is written as boot files are: without its first sector it is no such file, and the firmware
//! starts without variables.

use std::path::{Path, PathBuf};

use super::boot_file::FIRST_SECTOR;
use super::{Esp, EspError, RESERVE, Stored};
use flipside_image::efi::var_file::{MAX_SIZE, has_header};

impl Esp {
    /// Says that flipside writes the file whose name it holds. By it a file without its first sector
    /// is known as one whose writing was cut off.
    fn claim() -> PathBuf {
        Self::own("variables")
    }

    /// Why the file `name` cannot be taken for the firmware's; `None` where it can.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn variable_file_fault(&self, name: &str) -> Result<Option<&'static str>, EspError> {
        let file = Path::new(name);
        match std::fs::symlink_metadata(self.path(file)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some("the file that RTStorageVolatile names is not on this ESP"));
            }
            Err(error) => return Err(self.read_error(file, error)),
            Ok(metadata) if !metadata.is_file() || metadata.len() > MAX_SIZE => {
                return Ok(Some(
                    "what RTStorageVolatile names on this ESP is no file of variables",
                ));
            }
            Ok(_) => {}
        }
        let bytes = self.read_program(file)?.unwrap_or_default();
        let is_cut_off = bytes.iter().take(FIRST_SECTOR).all(|byte| *byte == 0)
            && self.read_small(&Self::claim())? == Stored::Present(claim_of(name));
        Ok(match has_header(&bytes) || is_cut_off {
            true => None,
            false => Some("the file that RTStorageVolatile names on this ESP holds no variables"),
        })
    }

    /// Makes the file `name`, in which [`Self::variable_file_fault`] found nothing, hold `contents`.
    /// A power cut leaves the old contents, the new ones, or a file without its first sector.
    ///
    /// # Errors
    /// Any of [`EspError`]'s. [`EspError::Full`] before anything is written.
    pub fn write_variable_file(&self, name: &str, contents: &[u8]) -> Result<(), EspError> {
        let file = Path::new(name);
        let now = self.read_program(file)?.unwrap_or_default();
        if now == contents {
            return Ok(());
        }
        let needed = (contents.len().saturating_sub(now.len()) as u64).saturating_add(RESERVE);
        let free = self.free_bytes()?;
        if contents.len() > now.len() && free < needed {
            return Err(EspError::Full { file: file.to_owned(), free, needed });
        }
        self.write_small(&Self::claim(), &claim_of(name))?;
        self.write_program(file, contents)
    }
}

fn claim_of(name: &str) -> Vec<u8> {
    format!("{name}\n").into_bytes()
}
