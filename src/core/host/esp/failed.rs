// SPDX-License-Identifier: MIT OR Apache-2.0

//! `failed.json` (P7), which must never be lost: it is replaced without a rename.
//!
//! The new contents go to `failed.new`, durably, then into `failed.json`, durably, then
//! `failed.new` is removed. At any time one of the two is whole. JSON shows which: a cut or zeroed
//! document is none. The first document replaces nothing, and goes into `failed.json` at once.

use std::path::PathBuf;

use serde::de::IgnoredAny;

use super::{Esp, EspError, Stored};

fn is_whole(contents: &[u8]) -> Result<(), String> {
    // A number cut short is a number still; a document of ours begins and ends with brackets.
    let is_bracketed = contents.first().is_some_and(|b| b"{[".contains(b));
    if !is_bracketed {
        return Err("it is no JSON document".to_owned());
    }
    serde_json::from_slice::<IgnoredAny>(contents).map(|_| ()).map_err(|e| e.to_string())
}

fn whole(contents: Vec<u8>) -> Result<Vec<u8>, String> {
    is_whole(&contents).map(|()| contents)
}

impl Esp {
    pub(super) fn failed_files() -> [PathBuf; 2] {
        [Self::failed(), Self::failed_new()]
    }

    fn failed() -> PathBuf {
        Self::own("failed.json")
    }

    fn failed_new() -> PathBuf {
        Self::own("failed.new")
    }

    /// The JSON document that was written last.
    ///
    /// # Errors
    /// [`EspError::Read`], [`EspError::Damaged`].
    pub fn read_failed(&self) -> Result<Stored<Vec<u8>>, EspError> {
        match self.read_small(&Self::failed_new())?.and_then(whole) {
            Stored::Present(new) => Ok(Stored::Present(new)),
            Stored::Absent | Stored::Unreadable(_) => {
                Ok(self.read_small(&Self::failed())?.and_then(whole))
            }
        }
    }

    /// Replaces it by `contents`, a JSON object or array. After a power cut the old document is
    /// read or the new one.
    ///
    /// # Errors
    /// Any of [`EspError`]'s.
    pub fn write_failed(&self, contents: &[u8]) -> Result<(), EspError> {
        is_whole(contents)
            .map_err(|why| self.write_error(&Self::failed(), std::io::Error::other(why)))?;
        let beside = self.read_small(&Self::failed_new())?;
        let now = self.read_small(&Self::failed())?;
        let is_there = now.as_present().is_some_and(|now| now == contents);
        if beside.is_absent() && (now.is_absent() || is_there) {
            // Flash wears: what stands there is made durable, not written again, and where there is
            // nothing to lose, one file is written, not two.
            return self.write_small(&Self::failed(), contents);
        }
        // An earlier replacement that was cut off may have left its document in the new file only.
        if let Stored::Present(new) = beside.and_then(whole) {
            self.write_small(&Self::failed_new(), &new)?;
            self.overwrite_failed(&new)?;
        }
        self.write_small(&Self::failed_new(), contents)?;
        self.overwrite_failed(contents)?;
        self.remove_durably(&Self::failed_new())
    }

    /// In its place: as long as the new file is durable, whatever a power cut leaves here is not
    /// read. Where it cannot be written, the new file alone is left.
    fn overwrite_failed(&self, contents: &[u8]) -> Result<(), EspError> {
        let name = Self::failed();
        let failed = |error| self.sized_write_error(&name, contents.len() as u64, error);
        let path = self.path(&name);
        let is_new = !path.exists();
        self.make_room_for(contents.len() as u64);
        let file = self.durable.create(&path).map_err(failed)?;
        let written = self.durable.write_at(&file, 0, contents).and_then(|()| {
            self.durable.sync(&file)?;
            match path.parent().filter(|_| is_new) {
                Some(directory) => self.durable.sync_directory(directory),
                None => Ok(()),
            }
        });
        written.map_err(|error| {
            let error = failed(error);
            self.remove_remains(&name);
            error
        })
    }
}
