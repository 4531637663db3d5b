// SPDX-License-Identifier: MIT OR Apache-2.0

//! A payload as a file that can be read anywhere, every chunk of which was verified.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flipside_core::install;
use flipside_core::progress::Event;
use flipside_image::{Compression, Layer};

use super::super::PublishError;
use super::super::extract::{Output, extract};
use super::opened::OpenedImage;
use super::run::Run;

/// A payload of an image.
#[derive(Debug)]
pub(super) struct PayloadFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl PayloadFile {
    /// The payload of `layer` in `image`: where it is if it stands there as it is, otherwise
    /// extracted to a file in `directory` that has no name any more.
    pub(super) fn of(
        image: &OpenedImage,
        layer: &Layer<'_>,
        directory: &Path,
        run: &Run<'_>,
    ) -> Result<Self, PublishError> {
        let name = layer.payload.name.as_str();
        let (title, size) = (format!("{name} of {}", image.image.version()), layer.payload.size);
        if let Some(file) = Self::in_place(image, layer, run)? {
            return Ok(file);
        }
        let fetch = layer.descriptor.size;
        run.progress.event(Event::Payload { name: title, size, kept: 0, fetch });
        let path = directory.join(name);
        extract(image.source.as_ref(), &image.image, name, &path, run.progress, run.stop)?;
        let file = File::open(&path).map_err(PublishError::file("open", &path))?;
        fs::remove_file(&path).map_err(PublishError::file("remove", &path))?;
        Ok(Self { path, file, size })
    }

    /// The blob of an uncompressed layer. `None` where it is no file of its own or is damaged, which
    /// who extracts it is told.
    fn in_place(
        image: &OpenedImage,
        layer: &Layer<'_>,
        run: &Run<'_>,
    ) -> Result<Option<Self>, PublishError> {
        let Some(layout) = &image.layout else { return Ok(None) };
        if layer.compression != Compression::None {
            return Ok(None);
        }
        let path = layout.join("blobs/sha256").join(layer.descriptor.digest.hex());
        let Ok(file) = File::open(&path) else { return Ok(None) };
        let size = layer.payload.size;
        let metadata = file.metadata().map_err(PublishError::file("read", &path))?;
        if !metadata.is_file() || metadata.len() != size {
            return Ok(None);
        }
        let storage = Output { path: &path, file: &file, size };
        let damaged = install::verify(&storage, layer.payload, run.progress, run.stop)?;
        Ok(damaged.is_empty().then_some(Self { path, file, size }))
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The `length` bytes at `offset`, which have to be inside; a few MiB at most.
    pub(super) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, PublishError> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.map_err(PublishError::file("read", &self.path))?;
        Ok(bytes)
    }
}
