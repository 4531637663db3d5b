// SPDX-License-Identifier: MIT OR Apache-2.0

//! One payload of an image becomes a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flipside_core::cancel::Cancel;
use flipside_core::host::storage::Storage;
use flipside_core::install::{self, Options};
use flipside_core::progress::Progress;
use flipside_image::Image;
use flipside_source::Source;

use super::PublishError;
use super::layout::temporary_in;

/// The file to be, as the thing an install writes to.
pub(super) struct Output<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a File,
    pub(super) size: u64,
}

impl Storage for Output<'_> {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn capacity(&self) -> u64 {
        self.size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Not made durable: who needs that of a file, asks for it (`sync FILE`).
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

/// Writes the payload called `name` to the file `output`, a regular file that is replaced
/// or none. Every chunk is verified before it is written, and the file gets its name when
/// it is whole: after an error there is none, or the one that was there before.
///
/// # Errors
/// [`PublishError`]: `argument-invalid`, `output-exists` where `output` is no regular file,
/// and the codes of an install, such as `chunk-damaged`.
pub fn extract(
    source: &dyn Source,
    image: &Image,
    name: &str,
    output: &Path,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<(), PublishError> {
    let layer = image.layer(name).ok_or_else(|| PublishError::PayloadUnknown {
        name: name.chars().take(100).collect(),
        present: image.layers().map(|layer| layer.payload.name.as_str().to_owned()).collect(),
    })?;
    // Renaming over a device node would replace the node.
    if fs::metadata(output).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(PublishError::OutputExists {
            path: output.to_owned(),
            what: "it is no regular file",
        });
    }
    let file = temporary_in(&directory_of(output))?;
    let size = layer.payload.size;
    file.as_file().set_len(size).map_err(PublishError::file("write", output))?;
    let storage = Output { path: output, file: file.as_file(), size };
    // Nobody cuts the power between writing a file and using it here.
    let options = Options { read_back: false, ..Options::default() };
    install::write_payload(source, &layer, &storage, &options, progress, stop)?;
    file.persist(output).map_err(|error| PublishError::file("write", output)(error.error))?;
    Ok(())
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
