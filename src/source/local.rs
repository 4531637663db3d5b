// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a layout directory and an archive of one have in common: an index that lists
//! images by tag, and blobs by digest (OCI image spec v1.1, "Image Layout").

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flipside_core::blob_source::{BlobSource, FetchError, Sink};
use flipside_image::delta::Delta;
use flipside_image::reference::{check_tag, is_ref_name};
use flipside_image::{Descriptor, Digest, Image, ImageError, Index, MANIFEST_LIMIT};
use nix::fcntl::OFlag;
use serde::Deserialize;

use super::choice::Choice;
use super::signatures::Judge;
use super::{LocalError, Source, SourceError};

mod deltas;
mod referrers;
mod signatures;

/// How much is read at a time, in bytes.
const PIECE: usize = 256 << 10;

/// The most bytes that the file `oci-layout` may have.
const MARKER_LIMIT: u64 = 4096;

/// Bytes of an open file: a whole one, or a member of an archive.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Extent {
    /// A whole regular file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Opening a FIFO would wait for a writer.
        let file =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self { file: Arc::new(file), path: path.to_owned(), offset: 0, size: metadata.len() })
    }

    /// Hands over `range`, which has to lie within the size.
    fn stream(&self, range: Range<u64>, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        let mut at = range.start;
        let mut buffer = vec![0; PIECE.min(length(range.end.saturating_sub(at)))];
        while at < range.end {
            let wanted = length(range.end - at).min(buffer.len());
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            self.read(at, piece)?;
            sink(piece)?;
            at += wanted as u64;
        }
        Ok(())
    }

    /// Everything, where that is at most `limit` bytes.
    pub(super) fn read_all(
        &self,
        object: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError> {
        if self.size > limit {
            return Err(ImageError::TooLarge { object, size: self.size, limit }.into());
        }
        let mut bytes = vec![0; length(self.size)];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), LocalError> {
        let read = match self.offset.checked_add(at) {
            Some(offset) => self.file.read_exact_at(bytes, offset),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        read.map_err(|source| LocalError::File { path: self.path.clone(), source })
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The files of a layout, wherever they are. What has them, and says which image is meant, is a
/// [`Source`]; it displays as its place and the choice.
pub(super) trait Files: Send + Sync {
    /// The layout's name for people, without the tag.
    fn place(&self) -> String;
    /// Which of its images is meant.
    fn choice(&self) -> &Choice;
    /// The file `index.json`.
    fn index_file(&self) -> Result<Extent, LocalError>;
    /// A blob's file; `None` where there is none of this name.
    fn blob_file(&self, digest: &Digest) -> Result<Option<Extent>, LocalError>;
    /// The same files, with another of its images meant.
    fn choosing(&self, choice: Choice) -> Box<dyn Source>;
}

impl<F: Files + BlobSource + fmt::Display> Source for F {
    fn resolve(&self) -> Result<Digest, SourceError> {
        let digest = match self.choice() {
            Choice::Digest(digest) => *digest,
            choice => choice.find(&index(self)?, &self.place())?,
        };
        // Better now than after the hooks were asked.
        find(self, &digest)?;
        Ok(digest)
    }

    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, SourceError> {
        let bytes = find(self, digest)?.read_all("manifest", MANIFEST_LIMIT)?;
        digest.check("manifest", &bytes)?;
        Ok(bytes)
    }

    fn blob(
        &self,
        object: &'static str,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError> {
        read(self, object, blob, limit)
    }

    fn repository(&self) -> String {
        self.place()
    }

    fn sibling(&self, name: &str) -> Result<Box<dyn Source>, SourceError> {
        if name.parse::<Digest>().is_err() && !is_ref_name(name) {
            check_tag(name)?;
        }
        Ok(self.choosing(Choice::new(Some(name))))
    }

    fn signatures(&self, subject: &Digest, judge: &mut Judge<'_>) -> Result<(), SourceError> {
        signatures::find(self, subject, judge)
    }

    fn delta(&self, image: &Image, from: &Digest) -> Result<Option<Delta>, SourceError> {
        deltas::find(self, image, from)
    }
}

/// Hands over `range` of a blob, as [`BlobSource::stream`] does.
pub(super) fn stream(
    files: &dyn Files,
    blob: &Descriptor,
    range: Range<u64>,
    sink: &mut Sink<'_>,
) -> Result<(), FetchError> {
    let extent = find_sized(files, blob).map_err(FetchError::failed)?;
    if range.end > extent.size {
        let error = wrong_size(files, &blob.digest, range.end, extent.size);
        return Err(FetchError::failed(error));
    }
    Ok(extent.stream(range, sink)?)
}

fn find(files: &dyn Files, digest: &Digest) -> Result<Extent, LocalError> {
    let missing = || LocalError::BlobNotFound { place: files.place(), digest: *digest };
    files.blob_file(digest)?.ok_or_else(missing)
}

fn find_sized(files: &dyn Files, blob: &Descriptor) -> Result<Extent, LocalError> {
    let extent = find(files, &blob.digest)?;
    if extent.size != blob.size {
        return Err(wrong_size(files, &blob.digest, blob.size, extent.size));
    }
    Ok(extent)
}

/// What the layout lists.
fn index(files: &dyn Files) -> Result<Index, SourceError> {
    let bytes = files.index_file()?.read_all("index", MANIFEST_LIMIT)?;
    Ok(Index::parse(&bytes)?)
}

/// A whole blob, hash checked. One of more than `limit` bytes is not read.
fn read(
    files: &dyn Files,
    object: &'static str,
    blob: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, SourceError> {
    blob.check_size(object, limit)?;
    let bytes = find_sized(files, blob)?.read_all(object, limit)?;
    blob.digest.check(object, &bytes)?;
    Ok(bytes)
}

fn wrong_size(files: &dyn Files, digest: &Digest, expected: u64, actual: u64) -> LocalError {
    LocalError::BlobWrongSize { place: files.place(), digest: *digest, expected, actual }
}

/// Checks the file `oci-layout`; the error is what is wrong with it.
pub(super) fn check_marker(marker: &Extent) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let bytes = marker.read_all("file oci-layout", MARKER_LIMIT).map_err(|e| e.to_string())?;
    let marker: Marker = serde_json::from_slice(&bytes)
        .map_err(|error| format!("its file oci-layout cannot be read: {error}"))?;
    match marker.image_layout_version.as_str() {
        "1.0.0" => Ok(()),
        other => Err(format!(
            "it has version {:?}, flipside knows only \"1.0.0\"",
            other.chars().take(40).collect::<String>()
        )),
    }
}
