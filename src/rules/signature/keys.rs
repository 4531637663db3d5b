// SPDX-License-Identifier: MIT OR Apache-2.0

//! The keys of a host: files in `/etc/flipside/keys` and `/usr/lib/flipside/keys`, merged by
//! name. An image brings the next key in `/usr/lib`, and so keys are rotated.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::DIRECTORY;
use crate::config::overlay;
use crate::error::Error;
use flipside_core::host::{Root, trust};
use flipside_image::signature::{Key, PublicKey};

/// The administrator's wins. Not `/run`: who may write there may not decide this.
const LEVELS: [&str; 2] = ["etc", "usr/lib"];
/// The most bytes of a file; a key has 178.
const LIMIT: u64 = 64 << 10;

/// All keys, by name.
///
/// # Errors
/// [`Error::Unusable`] and [`Error::Key`]: whatever cannot be used as a key is not
/// skipped, since with the last key the requirement would go.
pub(super) fn read(root: &Root) -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    for path in overlay::winners(root, &LEVELS, DIRECTORY, |_| true)? {
        if overlay::is_null(&path)? {
            continue;
        }
        let unusable = |reason| Error::Key { path: root.on_host(&path), reason };
        if !is_key_name(&path) {
            let reason = "its name has to end in .pub; rename it, remove it or mask it";
            return Err(unusable(reason.to_owned()));
        }
        trust::check(root, &path).map_err(|error| unusable(error.to_string()))?;
        let text = content(&path).map_err(unusable)?;
        let public = PublicKey::from_pem(&text).map_err(unusable)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        keys.push(Key { name, public });
    }
    Ok(keys)
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 {
        0 => Err("it is empty; a link to /dev/null would mask it".to_owned()),
        size if size > LIMIT => Err(format!("it has more than {LIMIT} bytes")),
        _ => Ok(text),
    }
}

fn is_key_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".pub") && !name.starts_with(b".")
}
