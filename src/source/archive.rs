// SPDX-License-Identifier: MIT OR Apache-2.0

//! An OCI archive as a source: an OCI layout in a tar file, as `skopeo` and `podman save
//! --format oci-archive` write it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flipside_core::blob_source::{BlobSource, FetchError, Sink};
use flipside_image::{Descriptor, Digest};

use super::choice::Choice;
use super::local::{self, Extent, Files};
use super::tar::{Member, members};
use super::{LocalError, Source, SourceError};

/// One image of an OCI archive. The file is opened once and its members are found once, so
/// nothing changes when another file takes its name.
#[derive(Debug, Clone)]
pub struct ArchiveSource {
    path: PathBuf,
    choice: Choice,
    index: Extent,
    blobs: BTreeMap<Digest, Extent>,
}

/// The members of a layout that count.
#[derive(Default)]
struct Layout {
    marker: Option<Extent>,
    index: Option<Extent>,
    blobs: BTreeMap<Digest, Extent>,
}

impl ArchiveSource {
    /// The image with this tag or digest (`sha256:...`), or the only one that is listed.
    ///
    /// # Errors
    /// `source-unreadable` and `layout-invalid`. Whether the tag exists shows
    /// [`super::Source::resolve`].
    pub fn open(path: &Path, tag: Option<&str>) -> Result<Self, SourceError> {
        let failed = |source| LocalError::File { path: path.to_owned(), source };
        let invalid = |what| LocalError::ArchiveInvalid { place: place(path), what };
        let Extent { file, size, .. } = Extent::open(path).map_err(failed)?;
        check_uncompressed(&file).map_err(invalid)?;
        let mut layout = Layout::default();
        members(&file, size, &mut |member| layout.add(&file, path, &member)).map_err(invalid)?;
        let missing = |name| invalid(format!("it has no file {name}"));
        let marker = layout.marker.ok_or_else(|| missing("oci-layout"))?;
        local::check_marker(&marker).map_err(invalid)?;
        let index = layout.index.ok_or_else(|| missing("index.json"))?;
        let choice = Choice::new(tag);
        Ok(Self { path: path.to_owned(), choice, index, blobs: layout.blobs })
    }
}

impl Layout {
    /// Takes note of a member that belongs to a layout. Names are compared, never followed.
    fn add(&mut self, file: &Arc<File>, path: &Path, member: &Member) -> Result<(), String> {
        let mut name = member.name.as_str();
        while let Some(rest) = name.strip_prefix("./") {
            name = rest;
        }
        let extent = || Extent {
            file: Arc::clone(file),
            path: path.to_owned(),
            offset: member.offset,
            size: member.size,
        };
        let old = match name {
            "oci-layout" => self.marker.replace(extent()),
            "index.json" => self.index.replace(extent()),
            other => {
                let hex = other.strip_prefix("blobs/sha256/");
                match hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
                    Some(digest) => self.blobs.insert(digest, extent()),
                    None => None,
                }
            }
        };
        match old {
            // Which one counts, tools do not agree on.
            Some(_) => Err(format!("it has two files {name}")),
            None => Ok(()),
        }
    }
}

fn place(path: &Path) -> String {
    format!("oci-archive:{}", path.display())
}

fn check_uncompressed(file: &File) -> Result<(), String> {
    let mut magic = [0; 6];
    let read = file.read_at(&mut magic, 0).map_err(|e| format!("it cannot be read: {e}"))?;
    let magic = magic.get(..read).unwrap_or_default();
    for (start, tool) in [
        (&[0x1f, 0x8b][..], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
    ] {
        if magic.starts_with(start) {
            return Err(format!("it is compressed, decompress it with {tool} first"));
        }
    }
    Ok(())
}

impl BlobSource for ArchiveSource {
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        local::stream(self, blob, range, sink)
    }
}

impl Files for ArchiveSource {
    fn place(&self) -> String {
        place(&self.path)
    }

    fn choice(&self) -> &Choice {
        &self.choice
    }

    fn index_file(&self) -> Result<Extent, LocalError> {
        Ok(self.index.clone())
    }

    fn blob_file(&self, digest: &Digest) -> Result<Option<Extent>, LocalError> {
        Ok(self.blobs.get(digest).cloned())
    }

    fn choosing(&self, choice: Choice) -> Box<dyn Source> {
        Box::new(Self { choice, ..self.clone() })
    }
}

impl fmt::Display for ArchiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place(), self.choice.suffix())
    }
}
