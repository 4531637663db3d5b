// SPDX-License-Identifier: MIT OR Apache-2.0

//! An OCI layout directory as a source.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use flipside_core::blob_source::{BlobSource, FetchError, Sink};
use flipside_image::{Descriptor, Digest};

use super::choice::Choice;
use super::local::{self, Extent, Files};
use super::{LocalError, Source, SourceError};

/// One image of an OCI layout directory (OCI image spec v1.1, "Image Layout").
///
/// The index is read anew for each [`super::Source::resolve`]: tags move.
#[derive(Debug, Clone)]
pub struct LayoutSource {
    directory: PathBuf,
    choice: Choice,
}

impl LayoutSource {
    /// The image with this tag or digest (`sha256:...`), or the only one that is listed.
    ///
    /// # Errors
    /// `source-unreadable` and `layout-invalid`. Whether the tag exists shows
    /// [`super::Source::resolve`].
    pub fn open(directory: &Path, tag: Option<&str>) -> Result<Self, SourceError> {
        let source = Self { directory: directory.to_owned(), choice: Choice::new(tag) };
        let invalid = |what| LocalError::LayoutInvalid { place: source.place(), what };
        let marker = match source.file("oci-layout")? {
            Some(marker) => marker,
            None => {
                // A directory that does not exist is said to be that.
                let path = || directory.to_owned();
                fs::metadata(directory)
                    .map_err(|source| LocalError::File { path: path(), source })?;
                return Err(invalid("it has no file oci-layout".to_owned()).into());
            }
        };
        local::check_marker(&marker).map_err(invalid)?;
        Ok(source)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn file(&self, name: &str) -> Result<Option<Extent>, LocalError> {
        let path = self.directory.join(name);
        match Extent::open(&path) {
            Ok(extent) => Ok(Some(extent)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LocalError::File { path, source }),
        }
    }
}

impl BlobSource for LayoutSource {
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        local::stream(self, blob, range, sink)
    }
}

impl Files for LayoutSource {
    fn place(&self) -> String {
        format!("oci:{}", self.directory.display())
    }

    fn choice(&self) -> &Choice {
        &self.choice
    }

    fn index_file(&self) -> Result<Extent, LocalError> {
        let what = "it has no file index.json".to_owned();
        let missing = LocalError::LayoutInvalid { place: self.place(), what };
        self.file("index.json")?.ok_or(missing)
    }

    fn blob_file(&self, digest: &Digest) -> Result<Option<Extent>, LocalError> {
        self.file(&format!("blobs/sha256/{}", digest.hex()))
    }

    fn choosing(&self, choice: Choice) -> Box<dyn Source> {
        Box::new(Self { directory: self.directory.clone(), choice })
    }
}

impl fmt::Display for LayoutSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place(), self.choice.suffix())
    }
}
